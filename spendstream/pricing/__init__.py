"""What tokens cost: exact, effective-dated prices, and the three books they come from.

A model that no book covers has no price. That is an error here and a null in the tables, never a zero.
"""

from __future__ import annotations

from spendstream.config import Config
from spendstream.pricing.book import PriceBook, Rates
from spendstream.pricing.live import LivePrices
from spendstream.pricing.overrides import read_overrides
from spendstream.pricing.simulation import simulation_book

__all__ = [
    "LivePrices",
    "PriceBook",
    "Rates",
    "book_from",
    "live_book_from",
    "simulation_book",
    "standard_book",
]


def standard_book() -> PriceBook:
    """Return the published prices; the first call takes half a second, which is the import of the data."""
    from spendstream.pricing import standard  # noqa: PLC0415 - commands that need no price skip the import

    return standard.standard_book()


def book_from(config: Config) -> PriceBook:
    """Return the book in force: the user's `price_file` beats the published prices, those the simulation's.

    Raises ConfigError with every mistake in the price file.
    """
    return live_book_from(config)


def live_book_from(config: Config) -> LivePrices:
    """Return the same book, into which prices can be put that the price file beats, and no other.

    Raises ConfigError with every mistake in the price file.
    """
    own = read_overrides(config.price_file) if config.price_file else PriceBook()
    return LivePrices(own, standard_book().over(simulation_book()))
