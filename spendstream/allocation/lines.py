"""What of an asset nobody was allocated, and what was beyond it: the rule of the view `allocation`."""

from __future__ import annotations

from spendstream.allocation.windows import AllocationMeasures

__all__ = ["NODE_COSTS", "VOLUME_COSTS", "idle_and_overcommit"]

NODE_COSTS = ("cpu_cost", "memory_cost", "gpu_cost")
"""What containers are allocated of a node; the rest of its cost is idle."""
VOLUME_COSTS = ("storage_cost",)
"""What they are allocated of the volumes of their cluster, taken together."""


def idle_and_overcommit(
    paid: AllocationMeasures, allocated: AllocationMeasures, costs: tuple[str, ...] = NODE_COSTS
) -> tuple[AllocationMeasures, AllocationMeasures]:
    """Return the lines that make up the difference between what an hour of an asset cost and its containers.

    By resource, what is missing is idle, and what is too much is overcommit, a negative line. So allocated,
    idle and overcommit are what was paid, exactly. The idle line has the asset's capacity and counts its
    samples. What has no price takes part in nothing: without a priced sample there is no overcommit.
    """
    missing = {name: getattr(paid, name) - getattr(allocated, name) for name in costs}
    if paid.unpriced == paid.events:
        missing = dict.fromkeys(costs, 0)
    idle = {name: max(amount, 0) for name, amount in missing.items()}
    overcommit = {name: min(amount, 0) for name, amount in missing.items()}
    nothing = dict.fromkeys(("cpu_used", "memory_used", "gpu_used"), 0)  # containers say what they used
    return paid._replace(**idle, **nothing), AllocationMeasures(**overcommit)
