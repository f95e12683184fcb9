"""A node while pods are being placed on it: how much room is left, and whether a pod fits."""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.scheduling.cluster import Node, Offer, Pod, Resources, obstacle, overhead
from spendstream.scheduling.spot import risk

__all__ = ["Bin", "best_fit", "lacking", "place_all", "share"]

_SCALE = 10**9
_GIB = 1 << 30


class Bin:
    """A node of some type; `name` is empty while it is only being thought of."""

    def __init__(self, offer: Offer, daemons: Sequence[Pod], name: str = "") -> None:
        taken, count = overhead(daemons, offer)
        self.name = name
        self.offer = offer
        self.room = offer.capacity - taken
        self.slots = offer.most_pods - count
        self.pods: list[Pod] = []

    @classmethod
    def of(cls, node: Node, daemons: Sequence[Pod]) -> Bin:
        """Return a node that runs; its pods are on it, whether they fit or not."""
        made = cls(node.offer, daemons, node.name)
        for pod in node.pods:
            made.add(pod)
        return made

    def admits(self, pod: Pod) -> bool:
        """Tell whether a pod may run here, and fits."""
        return self.slots > 0 and pod.requests.within(self.room) and not obstacle(pod, self.offer)

    def add(self, pod: Pod) -> None:
        """Place a pod."""
        self.pods.append(pod)
        self.room -= pod.requests
        self.slots -= 1

    def node(self) -> Node:
        """Return the node that this has become."""
        return Node(name=self.name, offer=self.offer, pods=tuple(self.pods))

    @property
    def expected_price(self) -> int:
        """Picodollars an hour, with what interruptions are expected to cost."""
        return self.offer.hourly_price + risk(self.pods, self.offer)


def share(requests: Resources, capacity: Resources) -> int:
    """Return the largest part of a resource that is requested, in billionths; more than all if it is none."""
    parts = (
        wanted * _SCALE // had if had > 0 else wanted * _SCALE
        for wanted, had in (
            (requests.cpu, capacity.cpu),
            (requests.memory, capacity.memory),
            (requests.gpu, capacity.gpu),
        )
    )
    return max(parts)


def best_fit(pod: Pod, bins: Sequence[Bin]) -> Bin | None:
    """Return the bin where a pod leaves least room, the first of equals; None if none admits it."""
    best: Bin | None = None
    least = 0
    for each in bins:
        if each.admits(pod):
            left = share(each.room - pod.requests, each.offer.capacity)
            if best is None or left < least:
                best, least = each, left
    return best


def place_all(pods: Sequence[Pod], bins: Sequence[Bin]) -> bool:
    """Place all pods, the largest first; tell whether all found room. If not, some have been placed."""
    for pod in sorted(pods, key=lambda one: (-one.requests.cpu, -one.requests.memory, one.name)):
        place = best_fit(pod, bins)
        if place is None:
            return False
        place.add(pod)
    return True


def lacking(pod: Pod, bins: Sequence[Bin]) -> str:
    """Return why no bin admits a pod, in words; the bin that comes nearest says it."""
    reasons = [reason for each in bins if (reason := obstacle(pod, each.offer))]
    open_to_it = [each for each in bins if not obstacle(pod, each.offer)]
    if not open_to_it:
        return reasons[0] if reasons else "there is no node that it could run on"
    nearest = min(open_to_it, key=lambda each: share(pod.requests, each.room))
    if nearest.slots <= 0 and pod.requests.within(nearest.room):
        return f"no node has room for one more pod ({nearest.offer.name} takes {nearest.offer.most_pods})"
    wanted, room = pod.requests, nearest.room
    short = [
        text
        for text, missing in (
            (f"{wanted.cpu / _SCALE:.2f} cores of {room.cpu / _SCALE:.2f}", wanted.cpu > room.cpu),
            (f"{wanted.memory / _GIB:.2f} GiB of {room.memory / _GIB:.2f}", wanted.memory > room.memory),
            (f"{wanted.gpu / 1000:.2f} GPUs of {room.gpu / 1000:.2f}", wanted.gpu > room.gpu),
        )
        if missing
    ]
    return f"it requests {', '.join(short)} that {nearest.offer.name} has left at most"
