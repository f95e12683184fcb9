"""How much of what was requested was used, by resource, and weighted by cost in all."""

from __future__ import annotations

from msgspec import Struct

from spendstream.allocation.windows import AllocationMeasures

__all__ = ["Efficiency", "efficiency_of"]


class Efficiency(Struct, frozen=True, kw_only=True):
    """Used / requested; None for a resource that was neither requested nor used. May be more than 1."""

    cpu: float | None
    memory: float | None
    gpu: float | None
    total: float | None


def efficiency_of(measures: AllocationMeasures) -> Efficiency:
    """Return the efficiency of workloads from their sums.

    As OpenCost's, with the GPU in it: what is used without a request counts as efficient, and the total is
    weighted by what each resource cost.
    """
    ratios = {
        "cpu": _ratio(measures.cpu_used, measures.cpu_requested),
        "memory": _ratio(measures.memory_used, measures.memory_requested),
        "gpu": _ratio(measures.gpu_used, measures.gpu_requested),
    }
    costs = {"cpu": measures.cpu_cost, "memory": measures.memory_cost, "gpu": measures.gpu_cost}
    counted = [(ratio, costs[name]) for name, ratio in ratios.items() if ratio is not None]
    cost = sum(weight for _, weight in counted)
    total = sum(ratio * weight for ratio, weight in counted) / cost if cost else None
    return Efficiency(**ratios, total=total)


def _ratio(used: int, requested: int) -> float | None:
    if requested:
        return used / requested
    return 1.0 if used else None
