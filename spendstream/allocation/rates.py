"""What resources cost: rates per hour, exact, and what an amount has cost from one moment until another."""

from __future__ import annotations

from msgspec import Struct

from spendstream.events import HOUR_MICROS
from spendstream.money import parse_usd, ratio_half_even, split

__all__ = ["DEVICE", "GIB", "NANO", "OPENCOST", "Rate", "Rates", "accrued", "node_rates"]

NANO = 10**9
"""Nanocores in a core."""
GIB = 1 << 30
"""Bytes in a GiB."""
DEVICE = 1000
"""Thousandths in a GPU."""
_MONTH = 730  # hours, as cloud providers and OpenCost count them


class Rate(Struct, frozen=True, kw_only=True):
    """`price` picodollars an hour for `per` units: a ratio, so that no rate is rounded.

    Network is the exception: its price is for what is sent, and not for a time.
    """

    price: int
    per: int


class Rates(Struct, frozen=True, kw_only=True):
    """The rates of each resource; None for one whose price is not known.

    Units are those of events: nanocores, bytes, thousandths of a GPU, bytes of storage, bytes sent.
    """

    cpu: Rate | None = None
    memory: Rate | None = None
    gpu: Rate | None = None
    storage: Rate | None = None
    network: Rate | None = None


_CPU = Rate(price=parse_usd("0.031611"), per=NANO)
_MEMORY = Rate(price=parse_usd("0.004237"), per=GIB)
_GPU = Rate(price=parse_usd("0.95"), per=DEVICE)

OPENCOST = Rates(cpu=_CPU, memory=_MEMORY, gpu=_GPU, storage=Rate(price=parse_usd("0.04"), per=_MONTH * GIB))
"""OpenCost's default prices. Those of CPU, memory and GPU are also how a node's price is split."""


def accrued(rate: Rate, amount: int, start: int, end: int) -> int:
    """Return what `amount` units cost from `start` until `end` (microseconds), within one hour (UTC).

    It is what they cost from the beginning of the hour until `end`, less that until `start`, each rounded
    half to even. So the pieces of an hour add up to what the whole hour costs, wherever it is cut.
    """
    hourly, since = amount * rate.price, start % HOUR_MICROS
    scale = rate.per * HOUR_MICROS
    until = since + end - start
    before = ratio_half_even(hourly * since, scale) if since else 0
    return ratio_half_even(hourly * until, scale) - before


def node_rates(price: int, *, cpu: int, memory: int, gpu: int = 0) -> Rates:
    """Split a node's hourly `price` into rates of its capacity (nanocores, bytes, thousandths of a GPU).

    As OpenCost does, in the ratio that a core, a GiB and a GPU have at its default prices. The whole price is
    split: all of the capacity costs exactly `price`. A resource that the node has not has no rate.
    """
    weights = [
        cpu * _CPU.price * _MEMORY.per * _GPU.per,
        memory * _MEMORY.price * _CPU.per * _GPU.per,
        gpu * _GPU.price * _CPU.per * _MEMORY.per,
    ]
    if not any(weights):
        return Rates()
    rates = [
        Rate(price=part, per=capacity) if capacity else None
        for part, capacity in zip(split(price, weights), (cpu, memory, gpu), strict=True)
    ]
    return Rates(cpu=rates[0], memory=rates[1], gpu=rates[2])
