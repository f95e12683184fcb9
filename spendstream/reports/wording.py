"""Cells as people read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from spendstream.clock import from_micros
from spendstream.money import PICO, format_usd, plain_usd
from spendstream.reports.table import Cell, Column, Kind

__all__ = ["NOTHING", "shown", "usd"]

NOTHING = "-"
"""What stands where there is nothing to say."""

_DAY = 24 * 3600 * 10**6
_SMALL = PICO // 100  # from where on cents would hide too much


def usd(pico: int) -> str:
    """Return picodollars to the cent; less than a cent to the millionth of a dollar."""
    if pico == 0 or abs(pico) >= _SMALL:
        return format_usd(pico)
    return format_usd(pico, decimals=6)


def shown(column: Column, cell: Cell) -> str:
    """Return a cell's text; an empty text and nothing are both told as nothing."""
    if cell is None or cell == "":
        return NOTHING
    if isinstance(cell, str):
        return cell
    return _exact(int(cell)) if column.exact else _WORDS.get(column.kind, str)(cell)


def _exact(pico: int) -> str:
    """Return picodollars as dollars with all decimals that are not zero, two at least."""
    whole, _, rest = plain_usd(abs(pico)).partition(".")
    return f"{'-' if pico < 0 else ''}${int(whole):,}.{rest.rstrip('0').ljust(2, '0')}"


def _percent(cell: Fraction | int) -> str:
    return f"{float(cell):.1%}"


def _time(micros: int) -> str:
    return (
        f"{from_micros(micros):%Y-%m-%d}" if micros % _DAY == 0 else f"{from_micros(micros):%Y-%m-%d %H:%M}"
    )


_WORDS: Mapping[Kind, Callable[[Any], str]] = {
    "count": "{:,}".format,
    "money": usd,
    "share": _percent,
    "time": _time,
}
