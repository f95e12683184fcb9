"""Hours of allocation: adding up in any order and any grouping gives the same, to the last digit."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from spendstream.allocation.windows import AllocationDimensions, AllocationMeasures, allocation_of
from spendstream.arrow import products, values
from spendstream.batches import Batch
from spendstream.events import NodeUsage, PodUsage
from spendstream.tally import after, tally
from spendstream.windows import HOUR, Entry, Usage, WindowKey, plus, windows_of
from tests.fixtures.samples import samples

COUNT = st.integers(0, 2**53)
PICO = st.none() | st.integers(0, 2**63 - 1)
NAME = st.sampled_from(["", "a", "b"])


COMMON = {
    "id": st.uuids(),
    "cluster": NAME,
    "node": NAME,
    "team": NAME,
    "domain": NAME,
    **dict.fromkeys(("cost", "cpu_cost", "memory_cost", "gpu_cost", "storage_cost"), PICO),
    **dict.fromkeys(("cpu_usage", "memory_usage", "gpu_usage"), COUNT),
}
pods = samples(
    PodUsage,
    4,
    **COMMON,
    **dict.fromkeys(("namespace", "workload"), NAME),
    **dict.fromkeys(("cpu_request", "memory_request", "gpu_request"), COUNT),
    network_cost=PICO,
    source=st.just("test"),
    pod=st.just("p"),
)
nodes = samples(
    NodeUsage,
    4,
    **COMMON,
    **dict.fromkeys(("cpu_capacity", "memory_capacity", "gpu_capacity"), COUNT),
    asset=st.sampled_from(["node", "volume", "load-balancer", "control-plane"]),
    source=st.just("test"),
)
of_one_kind = st.lists(pods, max_size=20) | st.lists(nodes, max_size=20)


def batch(events: list[Usage]) -> Batch:
    return Batch([Entry(position, event, 0) for position, event in enumerate(events)])


def measured(event: PodUsage | NodeUsage) -> AllocationMeasures:
    """Return what one sample adds to its hour, computed the slow and obvious way."""
    lasted = event.end_time - event.event_time
    names = ("cpu_cost", "memory_cost", "gpu_cost", "storage_cost", "network_cost")
    parts = {name: getattr(event, name, None) for name in names}
    unsplit = all(part is None for part in parts.values())
    amounts = {
        f"{resource}_{measure}": getattr(event, f"{resource}_{field}", 0) * lasted
        for resource in ("cpu", "memory", "gpu")
        for measure, field in (("capacity", "capacity"), ("requested", "request"), ("used", "usage"))
    }
    return AllocationMeasures(
        events=1,
        unpriced=int(event.cost is None),
        other_cost=(event.cost or 0) if unsplit else 0,
        **{name: part or 0 for name, part in parts.items()},
        **amounts,
    )


def hours(events: list[PodUsage] | list[NodeUsage]) -> dict[WindowKey, AllocationMeasures]:
    found: dict[WindowKey, AllocationMeasures] = {}
    for event in events:
        key = WindowKey(HOUR, *allocation_of(event))
        found[key] = plus(found.get(key, AllocationMeasures()), measured(event))
    return found


def added(events: list[Usage]) -> dict[WindowKey, AllocationMeasures]:
    return {
        key: each.measures
        for key, each in tally(batch(events)).items()
        if isinstance(key.dimensions, AllocationDimensions)
    }


@given(of_one_kind, st.randoms(use_true_random=False))
def test_a_tally_of_any_order_is_what_adding_up_one_by_one_gives(
    events: list[Usage], rnd: random.Random
) -> None:
    assert added(events) == hours(events) == added(rnd.sample(events, len(events)))


@given(st.lists(pods, min_size=1, max_size=20), st.integers(-1, 20))
def test_the_rest_of_a_batch_is_what_its_later_samples_add(events: list[PodUsage], counted: int) -> None:
    whole = batch(events)
    rest = after(whole, dict.fromkeys(tally(whole), counted))
    assert {key: each.measures for key, each in rest.items()} == {
        key: each.measures for key, each in tally(batch(events[counted + 1 :])).items()
    }


@given(of_one_kind)
def test_a_sample_is_counted_in_the_windows_that_it_says_it_is_in(events: list[Usage]) -> None:
    assert set(tally(batch(events))) == {key for event in events for key in windows_of(event)}


@given(st.lists(nodes, min_size=1, max_size=9))
def test_what_nodes_cost_is_no_second_spend_beside_that_of_their_containers(events: list[NodeUsage]) -> None:
    assert all(isinstance(key.dimensions, AllocationDimensions) for key in tally(batch(events)))


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)), min_size=1))
def test_products_are_exact(pairs: list[tuple[int, int]]) -> None:
    one, other = (np.array(numbers, np.uint64) for numbers in zip(*pairs, strict=True))
    found = products(one, other)
    assert [int(value) for value in found.to_pylist()] == [a * b for a, b in pairs]
    assert values(pa.chunked_array([found])) == [a * b for a, b in pairs]
