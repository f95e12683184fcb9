"""Exchange rates of a budget file: dollars for one unit of a currency, each from a date on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias

from spendstream.budgets import fields
from spendstream.budgets.fields import Amount, Mistakes
from spendstream.money import PICO, round_half_even

__all__ = ["Rates", "pico", "read_rates"]

Rates: TypeAlias = Mapping[str, Sequence[tuple[date, Decimal]]]
"""By currency, oldest first."""


def read_rates(raw: Any, mistakes: Mistakes) -> Rates:
    """Return the rates in the section `currency_rates`, noting down what is wrong with them."""
    if not isinstance(raw, Mapping):
        mistakes.add("section", f"expected rates by currency and date, found {raw!r}")
        return {}
    return {str(currency): _dated(currency, table, mistakes) for currency, table in raw.items()}


def _dated(currency: Any, table: Any, mistakes: Mistakes) -> Sequence[tuple[date, Decimal]]:
    if currency == "USD" or not isinstance(table, Mapping) or not table:
        mistakes.add(
            str(currency),
            "dollars need no rate" if currency == "USD" else f"expected rates by date, found {table!r}",
        )
        return []
    found: dict[date, Decimal] = {}
    for day, rate in table.items():
        try:
            start = fields.day(day)
            if start in found:
                raise ValueError("this date has two rates")  # noqa: TRY301 - one way to tell a mistake
            found[start] = fields.rate(rate)
        except ValueError as error:
            mistakes.add(f"{currency}: {day}", error)
    return sorted(found.items())


def pico(money: Amount, rate: Decimal) -> int:
    """Return money at `rate` dollars a unit in picodollars; rounds once, half to even."""
    return round_half_even(Fraction(money.value) * Fraction(rate) * PICO)
