"""Amounts of CPU and memory, and how Kubernetes writes them."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["MIB", "Amounts", "cpu_quantity", "memory_quantity"]

MIB = 1 << 20
_MILLI = 10**6  # nanocores


class Amounts(Struct, frozen=True, kw_only=True):
    """CPU in nanocores and memory in bytes."""

    cpu: int
    memory: int


def cpu_quantity(nanocores: int) -> str:
    """Return whole millicores, rounded up, such as 250m."""
    return f"{-(-nanocores // _MILLI)}m"


def memory_quantity(amount: int) -> str:
    """Return whole mebibytes, rounded up, such as 400Mi."""
    return f"{-(-amount // MIB)}Mi"
