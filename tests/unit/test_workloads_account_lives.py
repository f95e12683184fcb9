"""Accounts that follow one another bill each life once, whatever was told late or lost, in bounded memory."""

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.events import PodUsage
from spendstream.workloads.tenure import Billed
from tests.fixtures.accounts import account, closed, scheduled, spans
from tests.fixtures.manifests import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    container,
    life,
    node,
    pod,
    volume,
)

GRID = 30 * SECOND
SETTLE = 15 * SECOND


@st.composite
def stories(draw):
    """Draw a container's life, and what happens to its collector meanwhile."""
    start = NOON + draw(st.integers(-90, 90)) * SECOND
    end = start + draw(st.integers(1, 400)) * SECOND
    resize = draw(st.none() | st.integers(1, 400))
    ticks = draw(
        st.lists(
            st.sampled_from(["close", "skip", "crash before", "crash within", "crash after"]), max_size=14
        )
    )
    lags = draw(st.lists(st.integers(0, 15), min_size=16, max_size=16))
    return start, end, resize and start + resize * SECOND, ticks, lags


def at(moment, start, end, resize):
    """Return the pod as its kubelet would show it then, None before it is there."""
    if moment < start:
        return None
    cpu = "2" if resize and moment >= resize else "500m"
    state = life(start, end) if moment >= end else life(start)
    return pod(states={"main": state}, containers=[container(cpu=cpu)])


@given(stories())
def test_intervals_of_a_container_have_no_hole_do_not_overlap_and_sum_to_its_life(story):
    start, end, resize, ticks, lags = story
    opened, delivered = account(), {}
    boundary = NOON - 2 * MINUTE

    def deliver(groups):
        for group in groups:
            for event in group:
                delivered.setdefault(event.id, event)

    def tell(moment):
        if (shown := at(moment, start, end, resize)) is not None:
            opened.tell_pod(shown, moment)

    for number, tick in enumerate([*ticks, *["close"] * 20]):
        boundary += GRID
        if tick == "skip":
            tell(boundary)
            continue
        tell(boundary + SETTLE - lags[number % 16] * SECOND)
        intent = opened.closing(boundary)
        groups = list(opened.close(boundary))
        if tick == "close":
            deliver(groups)
            opened.closed(boundary)
            continue
        deliver({"crash before": [], "crash within": groups[:1], "crash after": groups}[tick])
        opened = account(intent)
        tell(boundary + SETTLE)
        deliver(opened.close(intent.closing))
        opened.closed(intent.closing)
    found = spans(delivered.values())
    assert found[0][0] == start
    assert found[-1][1] == end
    assert all(one[1] == following[0] for one, following in pairwise(found))
    assert sum(until - since for since, until in found) == end - start


@given(stories(), st.integers(16, 300))
def test_an_end_that_is_told_late_is_billed_to_what_had_left_and_nothing_twice(story, late):
    start, end, resize, ticks, _ = story
    opened, found = account(), []
    boundary = NOON - 2 * MINUTE
    for _ in [*ticks, *["close"] * 20]:
        boundary += GRID
        if (shown := at(boundary + SETTLE - late * SECOND, start, end, resize)) is not None:
            opened.tell_pod(shown, boundary)
        found += spans(closed(opened, boundary))
    assert found[0][0] == start
    assert all(one[1] == following[0] for one, following in pairwise(found))
    assert end <= found[-1][1] <= end + late * SECOND + GRID


def test_a_new_account_knows_what_an_earlier_one_billed():
    opened = account()
    opened.tell_pod(pod(states={"main": life(NOON)}), NOON)
    closed(opened, NOON + 30 * SECOND)
    later = account(opened.billed)
    later.tell_pod(pod(states={"main": life(NOON)}), NOON + MINUTE)
    later.tell_pod(pod("web-2", states={"main": life(NOON + 5 * SECOND)}), NOON + MINUTE)
    assert spans(closed(later, NOON + MINUTE)) == [
        (NOON + 5 * SECOND, NOON + MINUTE),
        (NOON + 30 * SECOND, NOON + MINUTE),
    ]


def test_a_kill_that_is_told_late_is_told_once_all_the_same():
    opened = account()
    opened.tell_pod(pod(states={"main": life(NOON)}), NOON)
    found = closed(opened, NOON + 30 * SECOND)
    killed = {
        "name": "main",
        "restartCount": 1,
        "lastState": life(NOON, NOON + 29 * SECOND, "OOMKilled"),
        "state": life(NOON + 31 * SECOND),
    }
    for late in (50, 55):
        opened.tell_pod(pod(statuses=[killed]), NOON + late * SECOND)
    found += closed(opened, NOON + MINUTE)
    later = account(opened.billed)
    later.tell_pod(pod(statuses=[killed]), NOON + 2 * MINUTE)
    found += closed(later, NOON + 2 * MINUTE)
    assert sum(event.oom_kills for event in found if isinstance(event, PodUsage)) == 1


def test_a_kill_and_a_restart_that_are_told_when_they_are_long_over_are_told_once():
    opened, status = account(), scheduled(NOON)
    opened.tell_pod(pod(status=status), NOON)
    found = closed(opened, NOON + 30 * SECOND)
    killed = {
        "name": "main",
        "restartCount": 1,
        "lastState": life(NOON + SECOND, NOON + 9 * SECOND, "OOMKilled"),
        "state": life(NOON + 20 * SECOND),
    }
    opened.tell_pod(pod(statuses=[killed], status=status), NOON + 50 * SECOND)
    found += closed(opened, NOON + MINUTE)
    found += closed(opened, NOON + 2 * MINUTE)
    samples = [event for event in found if isinstance(event, PodUsage)]
    assert sum(event.oom_kills for event in samples) == sum(event.restarts for event in samples) == 1


@pytest.mark.parametrize("live", [1, 50])
def test_what_is_remembered_grows_with_what_lives_and_not_with_time(live):
    opened = account()
    for round_ in range(20):
        moment = NOON + round_ * MINUTE
        for number in range(live):
            name = f"batch-{round_}-{number}"
            opened.tell_pod(pod(name, states={"main": life(moment, moment + SECOND)}), moment + SECOND)
            opened.lose_pod(f"uid-{name}", moment + 2 * SECOND)
        closed(opened, moment + MINUTE)
        assert opened.pods == 0
    assert len(opened.billed.known) == 1


def test_memory_does_not_grow_with_nodes_and_volumes_that_come_and_go():
    opened = account(Billed.nothing(NOON))
    tracemalloc.start()
    try:
        for number in range(10, 50):
            moment, name = NOON + number * 2 * HOUR, f"{number}" * 10_000
            opened.tell_node(node(name), moment)
            opened.tell_volume(volume(name, name), moment)
            opened.nodes.gone(f"uid-{name}", moment)
            opened.volumes.gone(f"uid-{name}", moment)
            closed(opened, moment + 2 * HOUR)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 500_000
