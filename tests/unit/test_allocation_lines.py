"""Allocated + idle + overcommit is the price, exactly: whatever the order, repetition and cuts of samples."""

from __future__ import annotations

import random
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from spendstream.allocation import (
    GIB,
    NANO,
    AllocationDimensions,
    AllocationMeasures,
    cut,
    idle_and_overcommit,
    priced_asset,
    priced_container,
    rates_of,
)
from spendstream.allocation.lines import NODE_COSTS
from spendstream.events import HOUR_MICROS, NodeUsage, PodUsage
from spendstream.ids import derived_id
from spendstream.ledger import Ledger
from spendstream.tally import tally
from spendstream.windows import Entry, Usage, WindowKey, plus

HOUR = HOUR_MICROS
START = 472_224 * HOUR

moments = st.integers(0, 2 * HOUR)
spans = st.tuples(moments, moments).map(sorted)
Spans = list[tuple[tuple[int, int], int, int]]


class TestTheRule:
    def test_what_is_missing_is_idle_and_what_is_too_much_is_overcommit_by_resource(self) -> None:
        paid = AllocationMeasures(
            events=1, cpu_cost=10, memory_cost=10, gpu_cost=10, cpu_capacity=8, cpu_used=3
        )
        allocated = AllocationMeasures(events=5, cpu_cost=4, memory_cost=13, gpu_cost=10, cpu_used=2)
        idle, overcommit = idle_and_overcommit(paid, allocated)
        assert idle == AllocationMeasures(events=1, cpu_cost=6, cpu_capacity=8)
        assert overcommit == AllocationMeasures(memory_cost=-3)

    def test_what_has_no_price_takes_part_in_nothing(self) -> None:
        paid, allocated = AllocationMeasures(events=2, unpriced=2), AllocationMeasures(cpu_cost=4)
        assert idle_and_overcommit(paid, allocated) == (paid, AllocationMeasures())

    def test_volumes_are_compared_by_storage(self) -> None:
        idle, overcommit = idle_and_overcommit(
            AllocationMeasures(events=1, storage_cost=7),
            AllocationMeasures(storage_cost=9),
            ("storage_cost",),
        )
        assert (idle.cost, overcommit.cost) == (0, -2)


def node(start: int, end: int, price: int, gpu: int) -> NodeUsage:
    return priced_asset(
        NodeUsage(
            id=derived_id(start, b"node", start), event_time=start, end_time=end, source="test", cluster="c",
            node="n", hourly_price=price, cpu_capacity=8 * NANO, memory_capacity=32 * GIB, gpu_capacity=gpu,
        )
    )  # fmt: skip


def counted(events: list[Usage], size: int) -> dict[WindowKey, AllocationMeasures]:
    """Return the hours that a ledger has counted of events that come in blocks of `size`."""
    ledger, found = Ledger(horizon=24 * HOUR), {}
    entries = [Entry(position, event, 0) for position, event in enumerate(events)]
    for place in range(0, len(entries), size):
        admission = ledger.admit(entries[place : place + size], {})
        changed = ledger.count(admission.counted, tally(admission.counted), ())
        found |= {state.key: state.measures for state in changed}
    return {key: each for key, each in found.items() if isinstance(key.dimensions, AllocationDimensions)}


@given(
    born_died=spans,
    prices=st.lists(st.tuples(moments, st.integers(0, 10**13)), min_size=1, max_size=4),
    gpu=st.sampled_from([0, 1000]),
    containers=st.lists(
        st.tuples(spans, st.integers(0, 9 * NANO), st.integers(0, 40 * GIB), st.lists(moments, max_size=3)),
        max_size=6,
    ),
    size=st.integers(1, 20),
    rnd=st.randoms(use_true_random=False),
)
def test_the_lines_of_every_hour_of_a_node_are_its_price(
    born_died: list[int],
    prices: list[tuple[int, int]],
    gpu: int,
    containers: list[tuple[list[int], int, int, list[int]]],
    size: int,
    rnd: random.Random,
) -> None:
    born, died = (START + moment for moment in born_died)
    changes = sorted(START + moment for moment, _ in prices)
    nodes: list[Usage] = []
    pods: list[Usage] = []
    for start, end in cut(born, died, *changes):
        price = prices[sum(start >= change for change in changes) - 1][1]
        nodes.append(machine := node(start, end, price, gpu))
        for row, ((first, last), cpu, memory, cuts) in enumerate(containers):
            begin, stop = max(start, START + first), min(end, START + last)
            for one, other in cut(begin, stop, *(START + moment for moment in cuts)):
                pods.append(
                    priced_container(
                        PodUsage(
                            id=derived_id(one, b"pod %d" % row, one), event_time=one, end_time=other,
                            source="test", cluster="c", node="n", namespace="n",
                            workload=f"w{row % 2}", pod=f"p{row}", cpu_request=cpu,
                            memory_usage=memory, gpu_request=min(gpu, row),
                        ),
                        rates_of(machine),
                    )
                )  # fmt: skip
    paid, allocated = defaultdict(AllocationMeasures), defaultdict(AllocationMeasures)
    for events, sums in ((nodes, paid), (pods, allocated)):
        again = rnd.sample([*events, *events[::3]], len(events) + len(events[::3]))
        for key, measures in counted(again, size).items():
            sums[key.start] = plus(sums[key.start], measures)

    bill = defaultdict(int)
    for event in nodes:
        bill[event.event_time // HOUR * 3600] += event.cost or 0
    assert {hour: each.cost for hour, each in paid.items()} == bill
    for hour, price in bill.items():
        idle, overcommit = idle_and_overcommit(paid[hour], allocated[hour])
        assert allocated[hour].cost + idle.cost + overcommit.cost == price
        for name in NODE_COSTS:
            line = getattr(allocated[hour], name) + getattr(idle, name) + getattr(overcommit, name)
            assert line == getattr(paid[hour], name)
            assert getattr(idle, name) >= 0 >= getattr(overcommit, name)
