"""Windows: adding up in any order and any grouping gives the same, and a fine window lies in a coarse one."""

from __future__ import annotations

import random
import uuid

from hypothesis import given
from hypothesis import strategies as st

from spendstream.events import PodUsage, TokenUsage
from spendstream.windows import (
    DAY,
    HOUR,
    MINUTE,
    WINDOW_SIZES,
    Dimensions,
    Entry,
    Measures,
    WindowKey,
    by_minute,
    newest_starts,
)

COUNT = st.integers(0, 2**53)
PICO = st.integers(0, 2**63 - 1)
calls = st.builds(
    TokenUsage,
    id=st.uuids(),
    event_time=st.integers(0, 4_102_444_799_999_999),
    source=st.just("test"),
    team=st.sampled_from("ab"),
    model=st.sampled_from(["gpt-4", "claude-haiku"]),
    cost=st.none() | PICO,
    list_cost=st.none() | PICO,
    input_tokens=COUNT,
    output_tokens=COUNT,
    status=st.sampled_from([200, 399, 400, 500]),
    cache_outcome=st.sampled_from(["none", "exact", "semantic"]),
    avoided_by_cache=PICO,
)
sums = st.builds(Measures, *[st.integers(0, 2**80)] * len(Measures._fields))


@given(sums, sums, sums)
def test_sums_form_a_commutative_monoid(one: Measures, two: Measures, three: Measures) -> None:
    assert one.plus(two) == two.plus(one)
    assert one.plus(two).plus(three) == one.plus(two.plus(three))
    assert one.plus(Measures()) == one


@given(st.lists(calls, max_size=30), st.integers(0, 30), st.randoms(use_true_random=False))
def test_any_order_and_any_split_add_up_to_the_same(
    events: list[TokenUsage], cut: int, rnd: random.Random
) -> None:
    whole = Measures.of(events)
    shuffled = rnd.sample(events, len(events))
    assert Measures.of(shuffled[:cut]).plus(Measures.of(shuffled[cut:])) == whole


@given(st.lists(calls, max_size=30))
def test_minutes_part_the_events_without_losing_or_moving_one(events: list[TokenUsage]) -> None:
    groups = by_minute([Entry(offset, event, 0) for offset, event in enumerate(events)])
    assert sorted(entry.offset for group in groups.values() for entry in group) == list(range(len(events)))
    for key, group in groups.items():
        assert key.start % MINUTE == 0
        for _, event, _ in group:
            assert key.start <= event.event_time // 10**6 < key.start + MINUTE
            assert (key.dimensions.team, key.dimensions.model) == (event.team, event.model)


@given(st.integers(0, 4_102_444_799))
def test_a_window_lies_in_one_wider_window_of_each_size(second: int) -> None:
    fine = WindowKey(MINUTE, second // MINUTE * MINUTE, Dimensions(*[""] * 9))
    for size in WINDOW_SIZES:
        wide = fine.widened(size)
        assert wide.start <= fine.start < wide.start + size
        assert wide.start % size == 0
        assert fine.widened(HOUR).widened(DAY) == fine.widened(DAY)


def test_a_call_counts_as_unpriced_failed_or_cached_by_its_own_word() -> None:
    def call(**fields: object) -> TokenUsage:
        return TokenUsage(id=uuid.uuid4(), event_time=0, source="test", model="m", **fields)

    events = [call(), call(cost=0), call(cost=7, status=429), call(cost=7, cache_outcome="semantic")]
    found = Measures.of(events)
    assert (found.events, found.unpriced, found.errors, found.cache_hits, found.cost) == (4, 1, 1, 1, 14)


def test_a_container_s_cost_is_its_list_cost_and_its_cluster_is_its_place() -> None:
    pod = PodUsage(
        id=uuid.uuid4(), event_time=61_000_000, end_time=62_000_000, source="test", team="a", cluster="c",
        namespace="n", pod="p", cost=5,
    )  # fmt: skip
    assert Measures.of([pod]) == Measures(events=1, cost=5, list_cost=5)
    assert list(by_minute([Entry(0, pod, 0)])) == [
        WindowKey(MINUTE, MINUTE, Dimensions("pods", "", "a", "", "", "", "", "c", "n"))
    ]


def test_the_newest_start_of_each_size_is_found() -> None:
    where = Dimensions(*[""] * 9)
    keys = [WindowKey(size, start, where) for size, start in ((60, 0), (60, 120), (60, 60), (3600, 0))]
    assert newest_starts(keys) == {60: 120, 3600: 0}
    assert newest_starts([]) == {}
