"""The node types of the simulated cluster: what they have, what of it is for pods, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from producers.simulation.workloads import GIB, MIB, MILLI
from spendstream.events import PurchaseOption
from spendstream.scheduling import Offer, Resources

__all__ = ["CAPACITIES", "ON_DEMAND", "REGION", "WITH_SPOT", "Capacity", "HourlyPrice", "offers"]

REGION = "us-east-1"
HourlyPrice: TypeAlias = Callable[[str, PurchaseOption], int]
"""Answers (instance type, purchase option) with picodollars an hour."""

ON_DEMAND: Sequence[tuple[str, PurchaseOption]] = (("m5.2xlarge", "on-demand"), ("g4dn.xlarge", "on-demand"))
WITH_SPOT: Sequence[tuple[str, PurchaseOption]] = (*ON_DEMAND, ("m5.2xlarge", "spot"))
_INTERRUPTIONS = 500  # basis points a month: what AWS's Spot Instance advisor lists as "<5%"


class Capacity(Struct, frozen=True, kw_only=True):
    """What a node has, what of it pods may request (`allocatable`), and how many they may be."""

    whole: Resources
    allocatable: Resources
    most_pods: int


def _on_eks(cores: int, gib: int, gpus: int, most_pods: int) -> Capacity:
    """Return a node with what EKS keeps for itself: 6 % of the first core, 1 % of the second, and so on."""
    kept_cpu = 60 + 10 + 5 * min(cores - 2, 2) + 2.5 * max(cores - 4, 0)
    kept_memory = (255 + 11 * most_pods + 100) * MIB
    whole = Resources(cpu=cores * 1000 * MILLI, memory=gib * GIB, gpu=1000 * gpus)
    kept = Resources(cpu=round(kept_cpu * MILLI), memory=kept_memory)
    return Capacity(whole=whole, allocatable=whole - kept, most_pods=most_pods)


CAPACITIES: Mapping[str, Capacity] = {
    "m5.2xlarge": _on_eks(8, 32, 0, 58),
    "g4dn.xlarge": _on_eks(4, 16, 1, 29),
}


def offers(kinds: Sequence[tuple[str, PurchaseOption]], price: HourlyPrice) -> list[Offer]:
    """Return the node types that can be had."""
    return [
        Offer(
            instance_type=name,
            purchase_option=option,
            capacity=CAPACITIES[name].allocatable,
            hourly_price=price(name, option),
            most_pods=CAPACITIES[name].most_pods,
            interruptions=_INTERRUPTIONS if option == "spot" else 0,
        )
        for name, option in kinds
    ]
