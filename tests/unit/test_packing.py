"""What a recommendation frees in nodes is what a plan of the whole cluster says, asked for once."""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.allocation import OPENCOST
from spendstream.rightsizing.days import DAY, Container
from spendstream.rightsizing.recommending import recommend
from spendstream.scheduling import Node, Offer, Pod, Resources, changes_of, what_if
from stream_processors.packing import Packing
from tests.fixtures.containers import GIB, START, history

CORE = 10**9


def node(name: str) -> Node:
    offer = Offer(
        instance_type="m5.xlarge",
        purchase_option="on-demand",
        capacity=Resources(cpu=4 * CORE, memory=64 * GIB),
        hourly_price=10**11,
    )
    legacy = Resources(cpu=CORE, memory=GIB)
    pods = [Pod(name=f"{name}-{each}", workload="shop/legacy-app", requests=legacy) for each in range(4)]
    return Node(name=name, offer=offer, pods=tuple(pods))


async def test_each_recommendation_is_told_what_a_plan_with_it_frees() -> None:
    nodes = [node(name) for name in "abc"]
    asked = 0

    async def ask() -> Sequence[Node]:
        nonlocal asked
        asked += 1
        return nodes

    packing = Packing(ask)
    for workload, some in (("legacy-app", True), ("other", False), ("legacy-app", True)):
        container = Container("prod", "shop", "Deployment", workload, "app")
        recommendation = recommend(container, history(), START + 14 * DAY, OPENCOST)
        expected = what_if(nodes, changes_of([recommendation]))
        gone = await packing.gone(recommendation)
        assert gone is not None
        assert (gone.nodes, gone.per_hour) == (expected.nodes, expected.per_hour)
        assert (gone.nodes > 0) is some
    assert asked == 1
