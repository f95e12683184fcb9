"""Prices as they are now: those of a book, and between its layers those on their topic."""

from __future__ import annotations

from collections.abc import Mapping

from spendstream.adapters.document_feed import DocumentFeed
from spendstream.pricing import LivePrices
from spendstream.pricing.documents import PriceDocument, decode, layer_of
from spendstream.topics import PRICES

__all__ = ["PriceFeed"]


class PriceFeed(DocumentFeed[PriceDocument]):
    """Follows the topic at `servers` from the first question on, and keeps `prices` up to date with it."""

    def __init__(self, servers: str, prices: LivePrices) -> None:
        def take_over(found: Mapping[str, PriceDocument]) -> None:
            prices.use(layer_of(found.values()))

        super().__init__(servers, PRICES, decode, take_over)
