"""What Robusta's KRR recommends by its simple strategy, as a yardstick and for those who want it.

CPU is the 95th percentile of usage, memory the highest usage and 15 % more; at least 10m and 100Mi. With less
than three hours of history it says nothing, nor of a resource that an autoscaler scales on.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from spendstream.rightsizing.amounts import MIB
from spendstream.rightsizing.days import NANO, ContainerDay
from spendstream.rightsizing.histogram import CPU, Histogram

__all__ = ["KrrEstimate", "krr"]

_CPU_SHARE, _MEMORY_MARGIN = 0.95, 1.15
_LEAST_CPU, _LEAST_MEMORY = 10 * NANO // 1000, 100 * MIB
_LEAST_SECONDS = 3 * 3600


class KrrEstimate(Struct, frozen=True, kw_only=True):
    """Requests of CPU (nanocores) and memory (bytes); None: nothing is said of it."""

    cpu: int | None
    memory: int | None


def krr(days: Sequence[ContainerDay]) -> KrrEstimate:
    """Return the estimate from a container's days, oldest first."""
    if sum(day.seconds for day in days) < _LEAST_SECONDS:
        return KrrEstimate(cpu=None, memory=None)
    cpu = Histogram(CPU)
    for day in days:
        cpu.merge(day.cpu)
    peak = max(day.memory_peak for day in days)
    scaled_on = days[-1].settings.scaled_on.split(",")
    return KrrEstimate(
        cpu=None if "cpu" in scaled_on else max(round(cpu.percentile(_CPU_SHARE) * NANO), _LEAST_CPU),
        memory=None if "memory" in scaled_on else max(round(peak * _MEMORY_MARGIN), _LEAST_MEMORY),
    )
