"""The price book of simulated traffic: three models at round, well-known prices."""

from __future__ import annotations

from functools import cache

from spendstream.money import parse_usd
from spendstream.pricing.book import PriceBook, Rates, table

__all__ = ["SIMULATED", "simulation_book"]

SIMULATED = "simulated"
"""The provider of answers that no model gave."""

_PER_THOUSAND = (
    ("openai", "gpt-4", "0.03", "0.06"),
    ("openai", "gpt-3.5-turbo", "0.001", "0.002"),
    ("anthropic", "claude-haiku", "0.00025", "0.00125"),
)
"""Provider, model, and dollars for a thousand tokens of input and of output."""


@cache
def simulation_book() -> PriceBook:
    """Return the simulation's prices, for the provider that is imitated and for "simulated" alike.

    They hold at all times, and have no discount for cached input.
    """
    return PriceBook(
        table(
            (seller, model, _flat(per_input, per_output))
            for provider, model, per_input, per_output in _PER_THOUSAND
            for seller in (provider, SIMULATED)
        )
    )


def _flat(per_input: str, per_output: str) -> Rates:
    plain = 1000 * parse_usd(per_input)
    return Rates(
        input=plain,
        output=1000 * parse_usd(per_output),
        cache_read=plain,
        cache_write=plain,
        source="simulation",
    )
