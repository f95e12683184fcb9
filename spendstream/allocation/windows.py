"""What allocation adds up: costs and resource-time of an hour, by whose they are and on which node.

A container's hour and a node's are windows of the same shape; what is missing between them is made where they
are read. All measures are whole numbers, so that any order of adding gives the same window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from spendstream.events import HOUR_MICROS, Asset, NodeUsage, PodUsage

__all__ = ["DECIMALS", "AllocationDimensions", "AllocationMeasures", "allocation_of"]

_SECOND = 10**6


class AllocationDimensions(NamedTuple):
    """Whose, and on what. `kind` is "container" or the kind of an asset, of which `node` is the name."""

    kind: str
    cluster: str
    node: str
    instance_type: str
    purchase_option: str
    namespace: str
    workload: str
    workload_kind: str
    org: str
    team: str
    project: str
    environment: str
    service: str
    domain: str


class AllocationMeasures(NamedTuple):
    """What an hour adds up: picodollars by resource, and amounts times microseconds.

    `other_cost` is the cost of what has no resources: a load balancer, a control plane. Capacity is that of
    assets; what is requested is that of containers. CPU is in nanocores, memory in bytes, GPU in thousandths.
    """

    events: int = 0
    unpriced: int = 0
    cpu_cost: int = 0
    memory_cost: int = 0
    gpu_cost: int = 0
    storage_cost: int = 0
    network_cost: int = 0
    other_cost: int = 0
    cpu_capacity: int = 0
    cpu_requested: int = 0
    cpu_used: int = 0
    memory_capacity: int = 0
    memory_requested: int = 0
    memory_used: int = 0
    gpu_capacity: int = 0
    gpu_requested: int = 0
    gpu_used: int = 0

    @property
    def cost(self) -> int:
        """The sum of all costs."""
        return sum(self[2:8])


DECIMALS: Mapping[str, int] = {
    **dict.fromkeys([name for name in AllocationMeasures._fields if name.endswith("_cost")], 12),
    **dict.fromkeys(("cpu_capacity", "cpu_requested", "cpu_used"), 15),
    **dict.fromkeys(("memory_capacity", "memory_requested", "memory_used"), 6),
    **dict.fromkeys(("gpu_capacity", "gpu_requested", "gpu_used"), 9),
}
"""Where the point of a measure is, in dollars, core-seconds, byte-seconds and GPU-seconds."""


def allocation_of(event: PodUsage | NodeUsage) -> tuple[int, AllocationDimensions]:
    """Return the start of an event's hour (seconds since 1970 UTC), and its dimensions."""
    kind: Asset | str
    if isinstance(event, PodUsage):
        kind, place = "container", (event.namespace, event.workload, event.workload_kind)
    else:
        kind, place = event.asset, ("", "", "")
    dimensions = AllocationDimensions(
        kind,
        event.cluster,
        event.node,
        event.instance_type,
        event.purchase_option,
        *place,
        event.org,
        event.team,
        event.project,
        event.environment,
        event.service,
        event.domain,
    )
    return event.event_time // HOUR_MICROS * (HOUR_MICROS // _SECOND), dimensions
