"""A cluster as its events show it: the nodes of a moment, their pods, and what if requests were others.

Events do not say what a pod would bear, so little is assumed in its favour: it may run on spot nodes only if
it runs on one now; without a controller it stays where it is, and so does that of a job, which would begin
anew. Selectors and affinities are not known: whoever drains a node is told of those by its cluster. What
DaemonSets request is taken from their node's capacity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from spendstream.events import NodeUsage, PodUsage
from spendstream.recommendations import Recommendation
from spendstream.scheduling.cluster import NOTHING, DisruptionBudget, Node, Offer, Pod, Resources
from spendstream.scheduling.consolidation import Consolidation, consolidate

__all__ = ["WhatIf", "changed", "changes_of", "observed", "what_if"]

_STAYS = frozenset({"", "Pod", "Job", "CronJob"})


class WhatIf(Struct, frozen=True, kw_only=True):
    """What becomes possible if requests change: plans without and with the change.

    `nodes` more can go then, which saves `per_hour` picodollars more; both are negative where fewer can.
    """

    now: Consolidation
    then: Consolidation

    @property
    def nodes(self) -> int:
        """How many more nodes can go."""
        return len(self.now.nodes) - len(self.then.nodes)

    @property
    def per_hour(self) -> int:
        """Picodollars."""
        return self.then.saving - self.now.saving


def observed(nodes: Iterable[NodeUsage], containers: Iterable[PodUsage]) -> tuple[Node, ...]:
    """Return the nodes of one cluster at one moment, from a sample of each node and each container on it.

    Nodes without a price are left out, and with them their pods: nobody knows what they would save.
    """
    there = {node.node: node for node in nodes if node.asset == "node" and node.hourly_price is not None}
    daemons = dict.fromkeys(there, NOTHING)
    pods: dict[str, dict[tuple[str, str], Pod]] = {name: {} for name in there}
    for container in containers:
        if container.node not in there:
            continue
        if container.workload_kind == "DaemonSet":
            daemons[container.node] += _requests(container)
            continue
        on_node, key = pods[container.node], (container.namespace, container.pod)
        known = on_node.get(key) or _pod(container)
        on_node[key] = replace(known, requests=known.requests + _requests(container))
    return tuple(
        Node(
            name=name,
            offer=_offer(node, daemons[name]),
            pods=tuple(pods[name][key] for key in sorted(pods[name])),
        )
        for name, node in sorted(there.items())
    )


def changed(nodes: Iterable[Node], changes: Mapping[str, Resources]) -> tuple[Node, ...]:
    """Return nodes whose pods request more or less, by workload ("namespace/name"); others stay.

    So does a pod that requests less than it should lose: it was changed since.
    """
    return tuple(
        replace(node, pods=tuple(_changed(pod, changes.get(pod.workload, NOTHING)) for pod in node.pods))
        for node in nodes
    )


def _changed(pod: Pod, change: Resources) -> Pod:
    requests = pod.requests + change
    return replace(pod, requests=requests) if NOTHING.within(requests) else pod


def changes_of(proposals: Iterable[Recommendation]) -> Mapping[str, Resources]:
    """Return by how much the pods of each workload request more or less once proposals are applied."""
    changes: dict[str, Resources] = {}
    for each in proposals:
        name = f"{each.namespace}/{each.workload}"
        changes[name] = changes.get(name, NOTHING) + Resources(
            cpu=each.cpu.target - each.cpu.current, memory=each.memory.target - each.memory.current
        )
    return changes


def what_if(
    nodes: Sequence[Node], changes: Mapping[str, Resources], budgets: Iterable[DisruptionBudget] = ()
) -> WhatIf:
    """Return which nodes can go if pods request more or less, by workload, and which can go anyway."""
    budgets = tuple(budgets)
    return WhatIf(
        now=consolidate(nodes, budgets=budgets),
        then=consolidate(changed(nodes, changes), budgets=budgets),
    )


def _requests(container: PodUsage) -> Resources:
    return Resources(cpu=container.cpu_request, memory=container.memory_request, gpu=container.gpu_request)


def _pod(container: PodUsage) -> Pod:
    return Pod(
        name=f"{container.namespace}/{container.pod}",
        workload=f"{container.namespace}/{container.workload or container.pod}",
        requests=NOTHING,
        tolerates_spot=container.purchase_option == "spot",
        movable=container.workload_kind not in _STAYS,
    )


def _offer(node: NodeUsage, daemons: Resources) -> Offer:
    capacity = Resources(cpu=node.cpu_capacity, memory=node.memory_capacity, gpu=node.gpu_capacity)
    return Offer(
        instance_type=node.instance_type,
        purchase_option=node.purchase_option,
        capacity=capacity - daemons,
        hourly_price=node.hourly_price or 0,
        labels=node.labels,
    )
