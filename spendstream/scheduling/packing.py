"""Bin packing: which nodes pods need, and which pod runs where.

Pods that may run in the fewest places come first, of these the largest first, each where it leaves least room
(best fit decreasing). A node is opened of the type that is cheapest for what it then takes, judged against
what the same pods would cost if every node could be filled to the brim. Pods that ended up alone are then
moved together, and each node becomes the cheapest type that holds its pods.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from fractions import Fraction
from itertools import count

from msgspec import Struct

from spendstream.scheduling.bins import Bin, best_fit, lacking, place_all, share
from spendstream.scheduling.cluster import Node, Offer, Pod, obstacle, price

__all__ = ["Packing", "Unplaced", "pack"]


class Unplaced(Struct, frozen=True, kw_only=True):
    """A pod that runs nowhere, and why."""

    pod: Pod
    reason: str


class Packing(Struct, frozen=True, kw_only=True):
    """Nodes with the pods placed on them, and the pods that no node can take."""

    nodes: tuple[Node, ...]
    unplaced: tuple[Unplaced, ...] = ()

    @property
    def hourly_price(self) -> int:
        """Picodollars an hour."""
        return price(self.nodes)


def pack(
    pods: Iterable[Pod], offers: Sequence[Offer], *, daemons: Sequence[Pod] = (), nodes: Sequence[Node] = ()
) -> Packing:
    """Place `pods` on `nodes`, which stay with what they have, and on as many new ones of `offers` as needed.

    The same input gives the same answer, in whichever order the pods come. Raises ValueError if two pods have
    the same name.
    """
    kept = [Bin.of(node, daemons) for node in nodes]
    opened, unplaced = _placed(_in_order(pods, offers), kept, offers, daemons)
    opened = [_cheapest(each, offers, daemons) for each in _together(kept, opened, daemons)]
    taken = {node.name for node in nodes}
    for each in opened:
        each.name = _name(each.offer, taken)
        taken.add(each.name)
    return Packing(nodes=tuple(each.node() for each in [*kept, *opened]), unplaced=tuple(unplaced))


def _in_order(pods: Iterable[Pod], offers: Sequence[Offer]) -> list[Pod]:
    """Return pods in the order in which they are placed."""
    found = list(pods)
    if len({pod.name for pod in found}) < len(found):
        raise ValueError("two pods have the same name: names must be unique in a cluster")

    def place(pod: Pod) -> tuple[int, int, str]:
        choices = sum(not obstacle(pod, offer) for offer in offers)
        size = max([share(pod.requests, offer.capacity) for offer in offers], default=0)
        return choices, -size, pod.name

    return sorted(found, key=place)


def _placed(
    waiting: list[Pod], kept: Sequence[Bin], offers: Sequence[Offer], daemons: Sequence[Pod]
) -> tuple[list[Bin], list[Unplaced]]:
    """Fill the bins that there are, open new ones where needed; return those, and pods without a place."""
    opened: list[Bin] = []
    unplaced: list[Unplaced] = []
    while waiting:
        pod, *waiting = waiting
        place = best_fit(pod, kept) or best_fit(pod, opened)
        if place is not None:
            place.add(pod)
        elif (fresh := _open(pod, waiting, offers, daemons)) is not None:
            opened.append(fresh)
            aboard = {each.name for each in fresh.pods}
            waiting = [each for each in waiting if each.name not in aboard]
        else:
            empty = [Bin(offer, daemons) for offer in offers]
            unplaced.append(Unplaced(pod=pod, reason=lacking(pod, empty or kept)))
    return opened, unplaced


def _open(pod: Pod, others: Sequence[Pod], offers: Sequence[Offer], daemons: Sequence[Pod]) -> Bin | None:
    """Return a new node that holds `pod` and what else fits, of the type that is best value for it."""
    filled: list[tuple[Fraction, int, Bin]] = []
    for number, offer in enumerate(offers):
        fresh = Bin(offer, daemons)
        if not fresh.admits(pod):
            continue
        for each in (pod, *others):
            if fresh.admits(each):
                fresh.add(each)
        worth = sum(_worth(each, offers) for each in fresh.pods)
        filled.append((Fraction(fresh.expected_price, max(worth, 1)), number, fresh))
    return min(filled)[2] if filled else None


def _worth(pod: Pod, offers: Sequence[Offer]) -> int:
    """Return what a pod would cost at least, if its node could be filled to the brim."""
    return min(
        offer.hourly_price * share(pod.requests, offer.capacity)
        for offer in offers
        if not obstacle(pod, offer)
    )


def _together(kept: Sequence[Bin], opened: Sequence[Bin], daemons: Sequence[Pod]) -> list[Bin]:
    """Empty the nodes that hold least into the others, as far as that goes; return those that are left."""
    left = list(opened)
    for each in sorted(opened, key=lambda one: (len(one.pods), -one.offer.hourly_price)):
        others = [*kept, *(other for other in left if other is not each)]
        trial = [Bin.of(other.node(), daemons) for other in others]
        if place_all(each.pods, trial):
            for before, after in zip(others, trial, strict=True):
                before.pods, before.room, before.slots = after.pods, after.room, after.slots
            left.remove(each)
    return left


def _cheapest(full: Bin, offers: Sequence[Offer], daemons: Sequence[Pod]) -> Bin:
    """Return the same pods on the cheapest type that holds them."""
    best = full
    for offer in offers:
        other = Bin(offer, daemons)
        for pod in full.pods:
            if not other.admits(pod):
                break
            other.add(pod)
        else:
            if other.expected_price < best.expected_price:
                best = other
    return best


def _name(offer: Offer, taken: Container[str]) -> str:
    """Return a name that no other node has."""
    names = (f"{offer.instance_type}-{offer.purchase_option}-{number}" for number in count(1))
    return next(name for name in names if name not in taken)
