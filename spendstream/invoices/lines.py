"""What a provider's invoice says, read from CSV: amounts and tokens by provider, model and day (UTC)."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TypeAlias

from msgspec import Struct

from spendstream.clock import to_micros
from spendstream.errors import ConfigError
from spendstream.mistakes import did_you_mean
from spendstream.money import parse_usd
from spendstream.reports.span import YEARS

__all__ = ["COLUMNS", "KEYS", "MEASURES", "Invoice", "Key", "read"]

KEYS = ("provider", "model", "day")
MEASURES = ("amount", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
COLUMNS = (*KEYS, *MEASURES)
"""What a column of an invoice can mean. Amounts are US dollars; cache tokens are part of the input."""

Key: TypeAlias = tuple[str | int, ...]
"""The values of an invoice's keys; names in lower case, a day as microseconds since 1970 UTC."""

_GROUPED = re.compile(r"-?\$?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?")
_MOST_MISTAKES = 10


class Invoice(Struct, frozen=True, kw_only=True):
    """Sums by key. `keys` and `measures` are those that the invoice has; money is picodollars."""

    keys: tuple[str, ...]
    measures: tuple[str, ...]
    lines: Mapping[Key, Mapping[str, int]]

    def values(self, key: str) -> Sequence[str | int]:
        """Return the different values that one of the keys has, sorted."""
        place = self.keys.index(key)
        return sorted({line[place] for line in self.lines}, key=str)


def read(text: Iterable[str], columns: Mapping[str, str], *, provider: str = "") -> Invoice:
    """Return the invoice in a CSV text; lines of the same key are added up.

    `columns` says how the file calls what COLUMNS names, where it has another name. `provider` is whose
    invoice it is where it has no such column. Raises ConfigError with what is wrong, line by line.
    """
    reader = csv.DictReader(text)
    header = list(reader.fieldnames or ())
    named = _named(header, columns)
    keys = tuple(key for key in KEYS if key in named or (key == "provider" and provider))
    measures = tuple(measure for measure in MEASURES if measure in named)
    if "provider" not in keys or not measures:
        raise ConfigError(
            "an invoice needs a provider (a column, or --provider) and an amount or tokens; "
            f"found the columns {', '.join(header) or '(none)'}: say with --column what they mean"
        )
    lines: dict[Key, dict[str, int]] = {}
    wrong: list[str] = []
    for row in reader:
        try:
            if None in row or None in row.values():
                raise ValueError(f"expected {len(header)} fields, as in the header")  # noqa: TRY301
            key = tuple(_KEYS[name](row[named[name]] if name in named else provider) for name in keys)
            sums = {name: _number(name, row[named[name]]) for name in measures}
        except ValueError as error:
            wrong.append(f"line {reader.line_num}: {error}")
            continue
        line = lines.setdefault(key, dict.fromkeys(measures, 0))
        for name, value in sums.items():
            line[name] += value
    if wrong:
        more = [f"and {len(wrong) - _MOST_MISTAKES} more"] if len(wrong) > _MOST_MISTAKES else []
        raise ConfigError("\n".join([*wrong[:_MOST_MISTAKES], *more]))
    if not lines:
        raise ConfigError("the invoice has no lines")
    return Invoice(keys=keys, measures=measures, lines=lines)


def _named(header: Sequence[str], columns: Mapping[str, str]) -> Mapping[str, str]:
    """Return the file's name of each column that it has."""
    for name, called in columns.items():
        if name not in COLUMNS:
            raise ConfigError(
                f"there is no column {name!r}{did_you_mean(name, COLUMNS)}; there are {', '.join(COLUMNS)}"
            )
        if called not in header:
            raise ConfigError(f"the invoice has no column {called!r}{did_you_mean(called, header)}")
    return {name: name for name in COLUMNS if name in header} | dict(columns)


def _name(text: str) -> str:
    return text.strip().lower()


def _day(text: str) -> int:
    try:
        day = date.fromisoformat(text.strip()[:10])
    except ValueError as error:
        raise ValueError(f"{text!r} is no day: expected one such as 2024-01-31") from error
    if day.year not in YEARS:
        raise ValueError(f"{text!r} is no day of an event: they are of 1970 to 2099")
    return to_micros(datetime(day.year, day.month, day.day, tzinfo=UTC))


_KEYS: Mapping[str, Callable[[str], str | int]] = {"provider": _name, "model": _name, "day": _day}


def _number(measure: str, text: str) -> int:
    """Return picodollars or tokens; nothing is none of them."""
    text = text.strip()
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    if not text:
        return 0
    if measure == "amount":
        return parse_usd(text.replace("$", "", 1))
    if not text.isdecimal():
        raise ValueError(f"{text!r} is no number of {measure.replace('_', ' ')}")
    return int(text)
