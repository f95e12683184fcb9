"""What a recommendation saves, in three numbers: requests freed, nodes that can go, and the change of idle.

A request that is freed lowers no bill by itself: it becomes idle, until nodes can go. Which ones can go is
for a packing of all pods to say, so that comes in as a value.
"""

from __future__ import annotations

from fractions import Fraction

from msgspec import Struct

from spendstream.allocation import Rates
from spendstream.money import round_half_even
from spendstream.rightsizing.sizing import Sizing

__all__ = ["NodesGone", "Saving", "per_hour", "saving"]


class NodesGone(Struct, frozen=True, kw_only=True):
    """How many nodes can go once a recommendation is applied, and what they cost in an hour (picodollars)."""

    nodes: int
    per_hour: int


class Saving(Struct, frozen=True, kw_only=True):
    """Of all replicas together: CPU (nanocores) and memory (bytes) freed, negative where requests are raised.

    Money is in picodollars an hour: `freed_per_hour` is what the freed requests are charged with now, None
    while no price covers them; `nodes_per_hour` is what the bill falls by, None while nobody knows which
    nodes can go; the rest turns from a workload's cost into idle, `idle_per_hour`, and is negative where
    idle falls.
    """

    cpu: int
    memory: int
    freed_per_hour: int | None = None
    nodes: int | None = None
    nodes_per_hour: int | None = None
    idle_per_hour: int | None = None


def saving(sizing: Sizing, rates: Rates, gone: NodesGone | None = None) -> Saving:
    """Return what a sizing saves at `rates`, with the nodes that can go, where that is known."""
    replicas = Fraction(sizing.replicas).limit_denominator(1000)
    cpu = round_half_even((sizing.cpu.current - sizing.cpu.target) * replicas)
    memory = round_half_even((sizing.memory.current - sizing.memory.target) * replicas)
    freed = per_hour(cpu, memory, rates)
    return Saving(
        cpu=cpu,
        memory=memory,
        freed_per_hour=freed,
        nodes=gone.nodes if gone else None,
        nodes_per_hour=gone.per_hour if gone else None,
        idle_per_hour=None if freed is None else freed - (gone.per_hour if gone else 0),
    )


def per_hour(cpu: int, memory: int, rates: Rates) -> int | None:
    """Return what nanocores and bytes cost in an hour; None without a rate for what is not 0."""
    total = Fraction(0)
    for amount, rate in ((cpu, rates.cpu), (memory, rates.memory)):
        if amount and rate is None:
            return None
        total += Fraction(amount * rate.price, rate.per) if rate else 0
    return round_half_even(total)
