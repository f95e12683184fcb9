"""What a scheduler looks at: pods with their requests, the node types on offer, and nodes with pods on them.

Units are those of the events: CPU in nanocores, memory in bytes, GPU in thousandths of a device, money in
picodollars an hour. Capacity is what a node has for pods (allocatable), before DaemonSets take their part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from msgspec import Struct

from spendstream.events import PurchaseOption

__all__ = [
    "NOTHING",
    "DisruptionBudget",
    "Node",
    "Offer",
    "Pod",
    "Resources",
    "obstacle",
    "overhead",
    "price",
    "total",
]


class Resources(Struct, frozen=True, kw_only=True):
    """Amounts of what a node has and a pod requests."""

    cpu: int = 0
    memory: int = 0
    gpu: int = 0

    def __add__(self, other: Self) -> Resources:
        return Resources(
            cpu=self.cpu + other.cpu, memory=self.memory + other.memory, gpu=self.gpu + other.gpu
        )

    def __sub__(self, other: Self) -> Resources:
        return Resources(
            cpu=self.cpu - other.cpu, memory=self.memory - other.memory, gpu=self.gpu - other.gpu
        )

    def within(self, room: Self) -> bool:
        """Tell whether there is room for these amounts."""
        return self.cpu <= room.cpu and self.memory <= room.memory and self.gpu <= room.gpu


NOTHING = Resources()


class Pod(Struct, frozen=True, kw_only=True):
    """One pod; `name` is unique in its cluster.

    `restart_cost` is what an interruption without much warning costs, in picodollars: work that is done
    again. A pod that is not `movable` has no controller to make it anew, or is annotated so: its node stays.
    """

    name: str
    workload: str = ""
    requests: Resources
    node_selector: Mapping[str, str] = {}
    tolerates_spot: bool = False
    restart_cost: int = 0
    movable: bool = True


class Offer(Struct, frozen=True, kw_only=True):
    """A type of node that can be had, and how it is bought.

    `interruptions` is how often the provider takes such a node away: the chance within a month (730 h), in
    basis points.
    """

    instance_type: str
    purchase_option: PurchaseOption
    capacity: Resources
    hourly_price: int
    most_pods: int = 110
    labels: Mapping[str, str] = {}
    interruptions: int = 0

    @property
    def name(self) -> str:
        """How people call it."""
        return f"{self.instance_type} {self.purchase_option}"


class Node(Struct, frozen=True, kw_only=True):
    """A node that runs, with its pods; those of DaemonSets are not among them."""

    name: str
    offer: Offer
    pods: tuple[Pod, ...] = ()


class DisruptionBudget(Struct, frozen=True, kw_only=True):
    """How many pods of a workload may be evicted at a time; with 0 none of its nodes can be drained."""

    workload: str
    evictable: int


def total(pods: Iterable[Pod]) -> Resources:
    """Return what pods request together."""
    cpu = memory = gpu = 0
    for pod in pods:
        cpu += pod.requests.cpu
        memory += pod.requests.memory
        gpu += pod.requests.gpu
    return Resources(cpu=cpu, memory=memory, gpu=gpu)


def overhead(daemons: Sequence[Pod], offer: Offer) -> tuple[Resources, int]:
    """Return what DaemonSets take of each such node, and how many pods they are."""
    there = [daemon for daemon in daemons if _selected(daemon, offer)]
    return total(there), len(there)


def price(nodes: Iterable[Node]) -> int:
    """Return what nodes cost in an hour."""
    return sum(node.offer.hourly_price for node in nodes)


def obstacle(pod: Pod, offer: Offer) -> str:
    """Return why a pod may not run on such a node, however empty it is; an empty text if it may.

    Spot nodes and nodes with GPUs are tainted: who does not tolerate the one or need the other stays away.
    """
    if offer.purchase_option == "spot" and not pod.tolerates_spot:
        return "it does not tolerate spot nodes"
    if offer.capacity.gpu and not pod.requests.gpu:
        return "it needs no GPU, and nodes with GPUs are kept for those that do"
    if not _selected(pod, offer):
        wanted = ", ".join(f"{name}={value}" for name, value in sorted(pod.node_selector.items()))
        return f"its node selector wants {wanted}"
    return ""


def _selected(pod: Pod, offer: Offer) -> bool:
    return all(offer.labels.get(name) == value for name, value in pod.node_selector.items())
