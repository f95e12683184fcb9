"""Windows: adding up in any order and any grouping gives the same, and a fine window lies in a coarse one."""

from __future__ import annotations

import random
import uuid

from hypothesis import given
from hypothesis import strategies as st

from spendstream.batches import Batch
from spendstream.events import PodUsage, TokenUsage
from spendstream.tally import after, tally
from spendstream.windows import (
    HOUR,
    MINUTE,
    WINDOW_SIZES,
    Dimensions,
    Entry,
    Measures,
    WindowKey,
    newest_starts,
    window_of,
)
from tests.fixtures.accounting import measured, windows

COUNT = st.integers(0, 2**53)
PICO = st.integers(0, 2**63 - 1)
calls = st.builds(
    TokenUsage,
    id=st.uuids(),
    event_time=st.integers(0, 4_102_444_799_999_999) | st.integers(0, 7_200_000_000),
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
    duration=COUNT,
)
sums = st.builds(Measures, *[st.integers(0, 2**80)] * len(Measures._fields))


def batch(events: list[TokenUsage]) -> Batch:
    return Batch([Entry(position, event, 0) for position, event in enumerate(events)])


def added(events: list[TokenUsage]) -> dict[WindowKey, Measures]:
    return {key: each.measures for key, each in tally(batch(events)).items()}


@given(sums, sums, sums)
def test_sums_form_a_commutative_monoid(one: Measures, two: Measures, three: Measures) -> None:
    assert one.plus(two) == two.plus(one)
    assert one.plus(two).plus(three) == one.plus(two.plus(three))
    assert one.plus(Measures()) == one


@given(st.lists(calls, max_size=30), st.randoms(use_true_random=False))
def test_a_tally_of_any_order_is_what_adding_up_one_by_one_gives(
    events: list[TokenUsage], rnd: random.Random
) -> None:
    assert added(events) == windows(events) == added(rnd.sample(events, len(events)))


@given(st.lists(calls, min_size=1, max_size=30), st.integers(-1, 30))
def test_the_rest_of_a_batch_is_what_its_later_events_add(events: list[TokenUsage], counted: int) -> None:
    whole = batch(events)
    keys = dict.fromkeys(tally(whole), counted)
    rest = [event for position, event in enumerate(events) if position > counted]
    assert {key: each.measures for key, each in after(whole, keys).items()} == windows(rest)


@given(st.lists(calls, max_size=30))
def test_a_tally_knows_the_first_and_the_last_position_of_each_window(events: list[TokenUsage]) -> None:
    for key, each in tally(batch(events)).items():
        inside = [position for position, event in enumerate(events) if window_of(event, key.size) == key]
        assert (each.first, each.last) == (min(inside), max(inside))


@given(st.lists(calls, max_size=30))
def test_only_windows_of_an_hour_count_latencies_and_they_count_every_call(events: list[TokenUsage]) -> None:
    for key, each in tally(batch(events)).items():
        assert sum(each.latency.values()) == (each.measures.events if key.size == HOUR else 0)


@given(calls)
def test_an_event_lies_in_one_window_of_each_size_and_in_the_same_wider_ones(event: TokenUsage) -> None:
    second = event.event_time // 10**6
    for size in WINDOW_SIZES:
        key = window_of(event, size)
        assert key.start <= second < key.start + size
        assert key.start % size == 0
        assert (key.dimensions.team, key.dimensions.model) == (event.team, event.model)


def test_a_call_counts_as_unpriced_failed_or_cached_by_its_own_word() -> None:
    def call(**fields: object) -> TokenUsage:
        return TokenUsage(id=uuid.uuid4(), event_time=0, source="test", model="m", **fields)

    events = [
        call(),
        call(cost=0),
        call(cost=7, status=429),
        call(cost=7, cache_outcome="semantic", input_tokens=30, output_tokens=4),
    ]
    [found] = {measures for key, measures in added(events).items() if key.size == MINUTE}
    assert (found.events, found.unpriced, found.errors, found.cache_hits, found.cost) == (4, 1, 1, 1, 14)
    assert found.cache_hit_tokens == 34


def test_a_container_s_cost_is_its_list_cost_and_its_cluster_is_its_place() -> None:
    pod = PodUsage(
        id=uuid.uuid4(), event_time=61_000_000, end_time=62_000_000, source="test", team="a", cluster="c",
        namespace="n", pod="p", cost=5,
    )  # fmt: skip
    place = Dimensions("pods", "", "a", "", "", "", "", "c", "n")
    found = {
        key: each
        for key, each in tally(Batch([Entry(0, pod, 0)])).items()
        if isinstance(key.dimensions, Dimensions)
    }
    assert found[WindowKey(MINUTE, MINUTE, place)].measures == Measures(events=1, cost=5, list_cost=5)
    assert {key.dimensions for key in found} == {place}
    assert measured(pod) == Measures(events=1, cost=5, list_cost=5)


def test_nothing_adds_nothing() -> None:
    assert tally(Batch([])) == {}


def test_the_newest_start_of_each_size_is_found() -> None:
    where = Dimensions(*[""] * 9)
    keys = [WindowKey(size, start, where) for size, start in ((60, 0), (60, 120), (60, 60), (3600, 0))]
    assert newest_starts(keys) == {60: 120, 3600: 0}
    assert newest_starts([]) == {}
