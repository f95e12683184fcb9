"""How long a crash is felt, and the plan by which parts are crashed."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.crashing import PARTS, plan
from benchmarks.recovery import Kill, Look, Recovery
from spendstream.adapters.kafka import TopicPartition
from spendstream.topics import DEAD_LETTERS, USAGE_TOKENS

P0, P1 = (TopicPartition(USAGE_TOKENS.name, number) for number in (0, 1))
LETTERS = TopicPartition(DEAD_LETTERS.name, 0)
START = 100.0


def look(
    at: float, committed: dict[TopicPartition, int] | None, landed: dict[TopicPartition, int] | None = None
) -> Look:
    """Return what was seen `at` seconds after the restart; all that is committed has landed by default."""
    if landed is None and committed is not None:
        landed = {place: offset - 1 for place, offset in committed.items()}
    return Look(at=START + at, rows=7, landed=landed, committed=committed)


def recovery(part: str = "worker-1", **ends: int) -> Recovery:
    """Follow a kill at which both partitions had landed up to offset 10."""
    places = {"p0": P0, "p1": P1, "letters": LETTERS}
    return Recovery(
        part, look(0, {P0: 10, P1: 10, LETTERS: 10}), {places[name]: end for name, end in ends.items()}
    )


def test_a_crash_at_which_nothing_waited_is_over_at_once() -> None:
    kill = recovery(p0=10, p1=10)
    assert kill.over
    assert kill.kill == Kill(part="worker-1", rows=7, resumed=None, caught_up=None)


def test_all_goes_on_when_every_partition_that_waited_has_landed_something_new() -> None:
    kill = recovery(p0=20, p1=20)
    kill.see(look(2, {P0: 15, P1: 10}))
    assert kill.kill.resumed is None
    kill.see(look(5, {P0: 20, P1: 11}))
    assert kill.kill.resumed == 5
    assert not kill.over


def test_all_is_caught_up_when_what_was_there_at_the_restart_has_landed() -> None:
    kill = recovery(p0=20, p1=10)
    kill.see(look(4, {P0: 20, P1: 10}))
    assert kill.kill == Kill(part="worker-1", rows=7, resumed=4, caught_up=4)
    assert kill.over


def test_what_is_seen_later_changes_nothing() -> None:
    kill = recovery(p0=20)
    kill.see(look(4, {P0: 20}))
    kill.see(look(9, {P0: 30}))
    assert kill.kill.caught_up == 4


def test_rows_that_are_not_committed_and_commits_without_new_rows_are_no_sign_of_life() -> None:
    kill = recovery(p0=20)
    kill.see(look(1, {P0: 10}, landed={P0: 15}))
    kill.see(look(2, {P0: 12}, landed={P0: 9}))
    assert kill.kill.resumed is None


def test_a_partition_whose_rest_is_no_events_goes_on_when_that_is_committed() -> None:
    kill = recovery(p0=20)
    kill.see(look(3, {P0: 20}, landed={P0: 9}))
    assert kill.kill.caught_up == 3


def test_nothing_is_concluded_while_nobody_answers() -> None:
    kill = recovery(p0=20)
    kill.see(look(1, None))
    kill.see(Look(at=START + 2, rows=-1, landed=None, committed={P0: 20}))
    assert not kill.over


def test_a_killed_sink_is_measured_by_the_letters_alone() -> None:
    kill = recovery("sink", p0=20, letters=12)
    kill.see(look(1, {P0: 20, LETTERS: 10}))
    assert kill.kill.resumed is None
    kill.see(look(2, {P0: 10, LETTERS: 12}))
    assert kill.kill == Kill(part="sink", rows=7, resumed=2, caught_up=2)


@given(seed=st.text(max_size=5), events=st.integers(1000, 10**7), kills=st.integers(0, 60))
def test_a_plan_is_the_same_for_the_same_seed_in_order_and_ends_before_the_events_do(
    seed: str, events: int, kills: int
) -> None:
    crashes = plan(seed, events, kills)
    assert crashes == plan(seed, events, kills)
    assert len(crashes) == kills
    rows = [crash.rows for crash in crashes]
    assert rows == sorted(rows)
    assert all(0 < moment < events for moment in rows)
    for crash in crashes:
        assert len(set(crash.parts)) == len(crash.parts) <= 2
        assert set(crash.parts) <= set(PARTS)


def test_a_long_plan_kills_every_part_alone_and_together_with_others() -> None:
    crashes = plan("seed", 10**6, 400)
    alone = Counter(crash.parts[0] for crash in crashes if len(crash.parts) == 1)
    assert set(alone) == set(PARTS)
    assert 0.15 < sum(len(crash.parts) == 2 for crash in crashes) / 400 < 0.35


def test_other_seeds_make_other_plans() -> None:
    assert plan("one", 10**6, 10) != plan("two", 10**6, 10)
