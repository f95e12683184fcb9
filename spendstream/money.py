"""Exact money: integer picodollars (10^-12 US dollars), never a float.

One picodollar is fine enough for a millionth of the cheapest token price on the market, and a Python int
never overflows, so sums are the same in any order. ClickHouse holds the same number as Decimal(38, 12).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext
from fractions import Fraction

__all__ = [
    "PICO",
    "dollars",
    "format_usd",
    "parse_usd",
    "plain_usd",
    "ratio_half_even",
    "round_half_even",
    "split",
]

PICO = 10**12
"""Picodollars in a dollar."""

_DIGITS = 60  # more than any Decimal(38, 12) needs, so that no context rounds behind our back
_EXACT = Context(prec=_DIGITS, traps=[InvalidOperation, Inexact])
_TOO_MUCH = 10**26  # dollars, for Decimal(38, 12)


def parse_usd(text: str | int | Decimal) -> int:
    """Return dollars, written as "0.03", 3 or Decimal("0.03"), as picodollars.

    Raises ValueError for what is no number, not finite, finer than a picodollar, or beyond Decimal(38, 12).
    """
    with localcontext(_EXACT):
        try:
            amount = Decimal(text)
        except InvalidOperation as error:
            raise ValueError(f"{text!r} is no amount of dollars: write it like 0.03") from error
        if amount.is_finite() and amount.copy_abs() >= _TOO_MUCH:
            raise ValueError(f"{text!r} dollars is too much: at most 26 digits before the point can be kept")
        with suppress(Inexact):
            if amount.is_finite() and (pico := amount * PICO) == pico.to_integral_value():
                return int(pico)
    raise ValueError(f"{text!r} dollars is not a whole number of picodollars (at most 12 decimals)")


def dollars(pico: int) -> Decimal:
    """Return picodollars as an exact Decimal of dollars with twelve decimals."""
    with localcontext(prec=_DIGITS):
        return Decimal(pico).scaleb(-12)


def plain_usd(pico: int) -> str:
    """Return picodollars as dollars with all their twelve decimals, such as 0.000450000000."""
    whole, rest = divmod(abs(pico), PICO)
    return f"{'-' if pico < 0 else ''}{whole}.{rest:012d}"


def format_usd(pico: int, *, decimals: int = 2) -> str:
    """Return picodollars for people to read, such as $1,234.50; rounds half to even."""
    with localcontext(prec=_DIGITS):
        amount = round(Decimal(pico).scaleb(-12), decimals)
    return f"{'-' if amount < 0 else ''}${abs(amount):,.{decimals}f}"


def round_half_even(amount: Fraction) -> int:
    """Return the whole picodollars nearest to an exact fraction of them; ties go to the even one."""
    return round(amount)


def ratio_half_even(numerator: int, denominator: int) -> int:
    """Return what `round_half_even` does, several times faster, for a ratio with a positive denominator."""
    whole, rest = divmod(numerator, denominator)
    return whole + (rest * 2 > denominator or (rest * 2 == denominator and whole % 2 == 1))


def split(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` picodollars by `weights` so that the parts add up to it exactly.

    Largest remainder: each part is rounded down, and what is left goes, one picodollar each, to the parts
    that lost most; ties go to the earlier part. With all weights zero the split is even.

    Raises ValueError for no weights or a negative one.
    """
    if not weights or min(weights) < 0:
        raise ValueError(f"weights must be non-negative and at least one, found {list(weights)!r}")
    if sum(weights) == 0:
        weights = [1] * len(weights)
    whole = sum(weights)
    parts, remainders = map(list, zip(*(divmod(total * weight, whole) for weight in weights), strict=True))
    for index in sorted(range(len(parts)), key=lambda i: -remainders[i])[: total - sum(parts)]:
        parts[index] += 1
    return parts
