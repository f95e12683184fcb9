"""Consolidation, as Karpenter does it: which nodes can go, in which order, and why the others must stay.

A node is deleted if its pods fit on the others, and replaced if they fit on the others and one new node that
costs less; several nodes at once may make room for one. Nodes whose draining disturbs least are tried first.
A spot node is replaced by another spot node only if at least 15 types would be cheaper: with fewer, chasing
the lowest price leads to where interruptions are most frequent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from spendstream.scheduling.bins import Bin, best_fit, lacking, place_all
from spendstream.scheduling.cluster import DisruptionBudget, Node, Offer, Pod, price

__all__ = ["LEAST_CHEAPER_SPOT_TYPES", "Consolidation", "Step", "consolidate"]

LEAST_CHEAPER_SPOT_TYPES = 15
"""Karpenter's rule for replacing a spot node by another (SpotToSpotConsolidation, single node)."""


class Step(Struct, frozen=True, kw_only=True):
    """One step: `nodes` are drained and go; `replacement` is there before, if there is one.

    `moves` says where each pod goes. Pods are evicted in `rounds`, since disruption budgets let only so many
    go at once. `saving` is in picodollars an hour.
    """

    action: Literal["delete", "replace"]
    nodes: tuple[str, ...]
    replacement: Node | None = None
    moves: Mapping[str, str]
    rounds: int
    saving: int


class Consolidation(Struct, frozen=True, kw_only=True):
    """The steps in their order, the nodes after them, and why each of those stays."""

    steps: tuple[Step, ...]
    nodes: tuple[Node, ...]
    stays: Mapping[str, str]

    @property
    def saving(self) -> int:
        """Picodollars an hour: price before less price after."""
        return sum(step.saving for step in self.steps)


def consolidate(
    nodes: Sequence[Node],
    offers: Sequence[Offer] = (),
    *,
    daemons: Sequence[Pod] = (),
    budgets: Iterable[DisruptionBudget] = (),
) -> Consolidation:
    """Return how `nodes` can be made fewer or cheaper; without `offers` they can only be made fewer."""
    cluster = _Cluster(nodes, offers, daemons, budgets)
    steps: list[Step] = []
    while (step := cluster.several() or cluster.single()) is not None:
        steps.append(step)
    return Consolidation(
        steps=tuple(steps),
        nodes=cluster.nodes,
        stays={node.name: cluster.why_it_stays(node) for node in cluster.nodes},
    )


class _Cluster:
    """Nodes between steps."""

    def __init__(
        self,
        nodes: Sequence[Node],
        offers: Sequence[Offer],
        daemons: Sequence[Pod],
        budgets: Iterable[DisruptionBudget],
    ) -> None:
        self.nodes = tuple(nodes)
        self._offers = sorted(offers, key=lambda offer: (offer.hourly_price, offer.name))
        self._daemons = daemons
        self._evictable = {budget.workload: budget.evictable for budget in budgets}
        self._names = {node.name for node in nodes}

    def single(self) -> Step | None:
        """Do away with one node, if that is possible for any."""
        for node in self._candidates():
            step = self._without([node])
            if step is not None:
                return step
        return None

    def several(self) -> Step | None:
        """Do away with as many nodes at once as possible, two or more: as in Karpenter, by bisection."""
        candidates = self._candidates()
        least, most, found = 2, len(candidates), 0
        while least <= most:
            middle = (least + most) // 2
            if self._thought(candidates[:middle]) is None:
                most = middle - 1
            else:
                found, least = middle, middle + 1
        return self._without(candidates[:found]) if found else None

    def why_it_stays(self, node: Node) -> str:
        """Return the reason in words."""
        blocked = self._blocked(node)
        if blocked:
            return blocked
        others = self._others([node])
        for pod in node.pods:
            place = best_fit(pod, others)
            if place is None:
                cheaper = "no cheaper node takes its pods" if self._offers else "no other node has room"
                where = lacking(pod, others) if others else "there is no other node"
                return f"{cheaper}; {pod.name} fits on no other: {where}"
            place.add(pod)
        return f"its {len(node.pods)} pods do not fit on the other nodes together"

    def _candidates(self) -> list[Node]:
        """Return the nodes that may be drained; what disturbs fewest pods comes first."""
        free = [node for node in self.nodes if not self._blocked(node)]
        return sorted(free, key=lambda node: (len(node.pods), -node.offer.hourly_price, node.name))

    def _blocked(self, node: Node) -> str:
        for pod in node.pods:
            if not pod.movable:
                return f"{pod.name} must not be moved"
            if self._evictable.get(pod.workload, 1) < 1:
                return f"the disruption budget of {pod.workload} lets none of its pods go"
        return ""

    def _without(self, going: Sequence[Node]) -> Step | None:
        """Take a step that does away with these nodes, if there is one."""
        thought = self._thought(going)
        if thought is None:
            return None
        bins, fresh = thought
        if fresh is not None:
            fresh.name = self._name(fresh.offer)
        after = [*bins, fresh] if fresh is not None else bins
        leaving = {pod.name for node in going for pod in node.pods}
        moves = {pod.name: each.name for each in after for pod in each.pods if pod.name in leaving}
        before = price(self.nodes)
        self.nodes = tuple(each.node() for each in after)
        return Step(
            action="delete" if fresh is None else "replace",
            nodes=tuple(node.name for node in going),
            replacement=fresh.node() if fresh is not None else None,
            moves=dict(sorted(moves.items())),
            rounds=self._rounds(going),
            saving=before - price(self.nodes),
        )

    def _thought(self, going: Sequence[Node]) -> tuple[list[Bin], Bin | None] | None:
        """Return the other nodes with these ones' pods, and the new node if it takes one; None if neither."""
        pods = [pod for node in going for pod in node.pods]
        others = self._others(going)
        if place_all(pods, others):
            return others, None
        for offer in self._cheaper_for(going, pods):
            others, fresh = self._others(going), Bin(offer, self._daemons)
            if place_all(pods, [*others, fresh]) and fresh.pods and self._pays(going, fresh):
                return others, fresh
        return None

    def _pays(self, going: Sequence[Node], fresh: Bin) -> bool:
        """Tell whether the new node is cheaper than what goes, also with interruptions in mind."""
        before = sum(Bin.of(node, self._daemons).expected_price for node in going)
        return fresh.expected_price < before and fresh.offer.hourly_price < price(going)

    def _cheaper_for(self, going: Sequence[Node], pods: Sequence[Pod]) -> list[Offer]:
        """Return the types that may take the place of these nodes, the cheapest first."""
        cheaper = [offer for offer in self._offers if offer.hourly_price < price(going)]
        if any(node.offer.purchase_option == "spot" for node in going):
            spot = [
                offer for offer in cheaper if offer.purchase_option == "spot" and self._holds(offer, pods)
            ]
            types = {offer.instance_type for offer in spot}
            if len(types) < LEAST_CHEAPER_SPOT_TYPES:
                return [offer for offer in cheaper if offer.purchase_option != "spot"]
        return cheaper

    def _holds(self, offer: Offer, pods: Sequence[Pod]) -> bool:
        return place_all(pods, [Bin(offer, self._daemons)])

    def _others(self, going: Sequence[Node]) -> list[Bin]:
        names = {node.name for node in going}
        return [Bin.of(node, self._daemons) for node in self.nodes if node.name not in names]

    def _rounds(self, going: Sequence[Node]) -> int:
        """Return in how many rounds the pods can be evicted."""
        counts: dict[str, int] = {}
        for node in going:
            for pod in node.pods:
                counts[pod.workload] = counts.get(pod.workload, 0) + 1
        return max(
            [
                -(-number // self._evictable[name]) if name in self._evictable else 1
                for name, number in counts.items()
            ],
            default=0,
        )

    def _name(self, offer: Offer) -> str:
        number = 1
        while (name := f"{offer.instance_type}-{offer.purchase_option}-r{number}") in self._names:
            number += 1
        self._names.add(name)
        return name
