"""What a spot node is expected to cost beside its price: the work that interruptions undo."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from spendstream.money import round_half_even
from spendstream.scheduling.cluster import Offer, Pod

__all__ = ["MONTH_HOURS", "risk"]

MONTH_HOURS = 730
_FULL = 10_000


def risk(pods: Iterable[Pod], offer: Offer) -> int:
    """Return what interruptions of a node with these pods cost, in expected picodollars an hour."""
    if not offer.interruptions:
        return 0
    lost = sum(pod.restart_cost for pod in pods)
    return round_half_even(Fraction(lost * offer.interruptions, _FULL * MONTH_HOURS))
