"""A cluster out of its events: what could go now, and what if requests were others."""

from __future__ import annotations

from uuid import UUID

from spendstream.events import NodeUsage, PodUsage
from spendstream.money import parse_usd
from spendstream.scheduling import DisruptionBudget, Resources, changed, observed, what_if

CORE, GIB = 10**9, 1 << 30
PRICE = parse_usd("0.384")


def node(name: str, *, price: int | None = PRICE, asset: str = "node", spot: bool = False) -> NodeUsage:
    return NodeUsage(
        id=UUID(int=1),
        event_time=0,
        end_time=1,
        source="test",
        cluster="c",
        node=name,
        asset=asset,  # type: ignore[arg-type]
        instance_type="m5.2xlarge",
        purchase_option="spot" if spot else "on-demand",
        hourly_price=price,
        cpu_capacity=8 * CORE,
        memory_capacity=32 * GIB,
    )


def container(
    pod: str, on: str, cores: float = 1, *, name: str = "main", kind: str = "Deployment", spot: bool = False
) -> PodUsage:
    return PodUsage(
        id=UUID(int=1),
        event_time=0,
        end_time=1,
        source="test",
        cluster="c",
        node=on,
        purchase_option="spot" if spot else "on-demand",
        namespace="shop",
        workload=pod.rsplit("-", 1)[0],
        workload_kind=kind,
        pod=pod,
        container=name,
        cpu_request=round(cores * CORE),
        memory_request=GIB,
    )


def test_the_containers_of_a_pod_are_one_pod_and_daemonsets_are_overhead() -> None:
    [found] = observed(
        [node("a"), node("vol", asset="volume")],
        [
            container("web-1", "a"),
            container("web-1", "a", 0.5, name="proxy"),
            container("agent-x", "a", 0.25, kind="DaemonSet"),
        ],
    )
    [pod] = found.pods
    assert (pod.name, pod.workload) == ("shop/web-1", "shop/web")
    assert pod.requests == Resources(cpu=1_500_000_000, memory=2 * GIB)
    assert found.offer.capacity == Resources(cpu=7_750_000_000, memory=31 * GIB)


def test_nothing_is_assumed_in_a_pods_favour() -> None:
    found = observed(
        [node("a"), node("s", spot=True)],
        [
            container("web-1", "a"),
            container("web-2", "s", spot=True),
            container("report-1", "a", kind="Job"),
            container("bare", "a", kind=""),
        ],
    )
    pods = {pod.name: (pod.tolerates_spot, pod.movable) for each in found for pod in each.pods}
    assert pods == {
        "shop/web-1": (False, True),
        "shop/web-2": (True, True),
        "shop/report-1": (False, False),
        "shop/bare": (False, False),
    }


def test_a_node_without_a_price_takes_no_part() -> None:
    assert [each.name for each in observed([node("a"), node("b", price=None)], [container("w-1", "b")])] == [
        "a"
    ]


def test_smaller_requests_let_nodes_go_that_could_not_before() -> None:
    nodes = observed(
        [node(name) for name in "abc"],
        [container(f"legacy-{name}{number}", name, 1.5) for name in "abc" for number in range(4)],
    )
    nothing = what_if(nodes, {})
    assert (nothing.nodes, nothing.per_hour, nothing.now.saving) == (0, 0, 0)
    smaller = {"shop/legacy": Resources(cpu=-CORE)}
    freed = what_if(nodes, smaller)
    assert (freed.nodes, freed.per_hour) == (2, 2 * PRICE)
    assert {pod.requests.cpu for each in changed(nodes, smaller) for pod in each.pods} == {CORE // 2}
    guarded = what_if(nodes, smaller, [DisruptionBudget(workload="shop/legacy", evictable=0)])
    assert (guarded.nodes, guarded.per_hour) == (0, 0)


def test_a_pod_that_was_changed_since_is_not_changed_again() -> None:
    nodes = observed([node("a")], [container("w-1", "a", 0.25), container("w-2", "a", 1)])
    [found] = changed(nodes, {"shop/w": Resources(cpu=-3 * CORE // 4)})
    assert [pod.requests.cpu for pod in found.pods] == [CORE // 4, CORE // 4]


def test_larger_requests_can_cost_a_node_that_could_have_gone() -> None:
    nodes = observed([node("a"), node("b")], [container("w-1", "a", 4), container("w-2", "b", 4)])
    grown = what_if(nodes, {"shop/w": Resources(cpu=CORE)})
    assert (grown.nodes, grown.per_hour) == (-1, -PRICE)
