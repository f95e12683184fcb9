"""A price book of which one layer changes while it is asked."""

from __future__ import annotations

from spendstream.pricing.book import Layer, PriceBook, Schedule

__all__ = ["LivePrices"]


class LivePrices(PriceBook):
    """Prices that never change above, those that do in the middle, and the published ones below.

    A call is priced by what holds when it ends.
    """

    def __init__(self, above: PriceBook, below: PriceBook) -> None:
        self._middle: Layer = _nothing
        super().__init__(*above.layers, self._ask_middle, *below.layers)

    def use(self, layer: Layer) -> None:
        """Put a layer into the middle, in place of the one before."""
        self._middle = layer
        self._schedules.cache_clear()

    def _ask_middle(self, provider: str, model: str) -> Schedule:
        return self._middle(provider, model)


def _nothing(provider: str, model: str) -> Schedule:
    del provider, model
    return ()
