"""What a container's share of a node costs: max(request, usage) of each resource, at its rate, for its time.

This is OpenCost's model with exact arithmetic. Time is event time, so a ten-second pod is billed ten seconds.
"""

from __future__ import annotations

from fractions import Fraction

from msgspec import Struct

from spendstream.money import parse_usd, round_half_even

__all__ = ["GIB", "NANO", "OPENCOST", "ResourceRates", "pod_cost"]

NANO = 10**9
"""Nanocores in a core."""
GIB = 1 << 30
"""Bytes in a GiB."""

_HOUR = 3600 * 10**6  # microseconds
_CORE_GIB_HOURS = NANO * GIB * _HOUR  # the common denominator of both resources


class ResourceRates(Struct, frozen=True, kw_only=True):
    """What an hour of one core and of one GiB of memory costs, in picodollars."""

    core_hour: int
    gib_hour: int


OPENCOST = ResourceRates(core_hour=parse_usd("0.031611"), gib_hour=parse_usd("0.004237"))
"""OpenCost's default prices; their ratio is also how it splits a node's price into resources."""


def pod_cost(
    *,
    cpu_request: int,
    cpu_usage: int,
    memory_request: int,
    memory_usage: int,
    duration: int,
    rates: ResourceRates = OPENCOST,
) -> int:
    """Return the cost in picodollars of CPU (nanocores) and memory (bytes) over `duration` microseconds.

    What is requested is paid for whether used or not, and so is what is used above it. Rounds half to even
    once, after the resources are added up. Raises ValueError for a negative amount or duration.
    """
    if min(cpu_request, cpu_usage, memory_request, memory_usage, duration) < 0:
        raise ValueError(
            "amounts and duration must not be negative: "
            f"found CPU {cpu_request}/{cpu_usage} nanocores (requested/used), "
            f"memory {memory_request}/{memory_usage} bytes, {duration} microseconds"
        )
    cpu = max(cpu_request, cpu_usage) * rates.core_hour * GIB
    memory = max(memory_request, memory_usage) * rates.gib_hour * NANO
    return round_half_even(Fraction((cpu + memory) * duration, _CORE_GIB_HOURS))
