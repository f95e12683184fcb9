"""Effective-dated prices of what clusters pay for, by kind, type, region and purchase option, in layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from spendstream.allocation import GIB, Rate
from spendstream.clock import from_micros
from spendstream.errors import UnknownPrice
from spendstream.events import PurchaseOption

__all__ = ["ClusterPrice", "ClusterPrices", "PriceKind"]

PriceKind = Literal["node", "gpu", "volume", "load-balancer", "control-plane", "network"]

_PER: Mapping[PriceKind, int] = {"volume": 730 * GIB, "network": GIB}
_ANY = ""
_Place: TypeAlias = tuple[PriceKind, str, str, str]


class ClusterPrice(Struct, frozen=True, kw_only=True):
    """One price in picodollars, from `effective_from` (microseconds since 1970 UTC) on.

    It is for an hour of a node, of a GPU that is sold apart from its node, of a load balancer or a control
    plane; for a month of 730 hours of a GiB of a volume; and for a GiB that is sent. Without a region it
    holds in all of them.
    """

    kind: PriceKind
    type: str
    region: str = _ANY
    purchase_option: PurchaseOption = "on-demand"
    price: int
    effective_from: int = 0
    source: str = ""

    @property
    def rate(self) -> Rate:
        """The price as a rate of its units."""
        return Rate(price=self.price, per=_PER.get(self.kind, 1))


class ClusterPrices:
    """Finds the price of a thing at a time. The first layer that has one in force decides."""

    def __init__(self, *layers: Iterable[ClusterPrice]) -> None:
        self._layers = [_schedules(layer) for layer in layers]

    def over(self, below: ClusterPrices) -> ClusterPrices:
        """Return prices that ask these first, then those below."""
        both = ClusterPrices()
        both._layers = [*self._layers, *below._layers]  # of the same class
        return both

    def find(
        self, kind: PriceKind, of: str, region: str, at: int, purchase_option: PurchaseOption = "on-demand"
    ) -> ClusterPrice | None:
        """Return the price of a type at a time (microseconds since 1970 UTC), or None.

        In each layer, a price of the region beats one for all regions; of those, the newest that is in force
        holds. A spot price is never taken for an on-demand one, nor the other way round.
        """
        for layer in self._layers:
            for where in dict.fromkeys((region, _ANY)):
                for price in layer.get((kind, of, where, purchase_option), ()):
                    if price.effective_from <= at:
                        return price
        return None

    def price(
        self, kind: PriceKind, of: str, region: str, at: int, purchase_option: PurchaseOption = "on-demand"
    ) -> ClusterPrice:
        """Return what `find` returns; raise UnknownPrice where it returns None."""
        found = self.find(kind, of, region, at, purchase_option)
        if found is None:
            raise UnknownPrice(
                f"no price covers the {kind} {of!r} ({purchase_option}) in region {region!r} "
                f"at {from_micros(at).isoformat()}: add an entry for it to your file of cluster prices"
            )
        return found

    def changes(
        self,
        kind: PriceKind,
        of: str,
        region: str,
        between: tuple[int, int],
        purchase_option: PurchaseOption = "on-demand",
    ) -> list[int]:
        """Return when, inside an interval (microseconds), a price of a type begins: where samples are cut."""
        start, end = between
        found = {
            price.effective_from
            for layer in self._layers
            for where in (region, _ANY)
            for price in layer.get((kind, of, where, purchase_option), ())
        }
        return sorted(moment for moment in found if start < moment < end)


def _schedules(prices: Iterable[ClusterPrice]) -> dict[_Place, tuple[ClusterPrice, ...]]:
    """Return the prices by what they are of, each the newest first."""
    found: dict[_Place, tuple[ClusterPrice, ...]] = {}
    for price in sorted(prices, key=lambda each: -each.effective_from):
        place: _Place = price.kind, price.type, price.region, price.purchase_option
        found[place] = (*found.get(place, ()), price)
    return found
