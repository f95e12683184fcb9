"""Single fields of a budget file: each parser returns a value or raises ValueError with what was expected."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from spendstream.budgets.definition import DIMENSIONS, FULL, UNITS, Unit
from spendstream.budgets.periods import MINUTE

__all__ = ["Amount", "Mistake", "Mistakes", "Share", "read_fields", "unknown"]

_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Z]{3})")
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?%?")
_LENGTH = re.compile(r"(?:rolling )?([1-9][0-9]{0,4})([mhdw])")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MINUTES = {"m": 1, "h": 60, "d": 24 * 60, "w": 7 * 24 * 60}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_LONGEST = 366 * 24 * 60 * MINUTE
_MOST_PERCENT = 1_000
_LONGEST_TEXT = 200
_LEAST = Decimal("0.000001")  # of money and of a rate, so that their product is a picodollar at least
_YEARS = range(1970, 2100)  # those that events have


class Mistake(NamedTuple):
    """What is wrong with one field, and where that is."""

    place: str
    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.field}: {self.reason}"


class Mistakes:
    """What is wrong in a file, and where: places nest, and share one list."""

    def __init__(self, place: str, found: list[Mistake] | None = None) -> None:
        self._place = place
        self.found: list[Mistake] = [] if found is None else found

    def within(self, part: str) -> Mistakes:
        """Return where to note down the mistakes of a part of this place."""
        return Mistakes(f"{self._place}: {part}", self.found)

    def add(self, field: str, reason: object) -> None:
        """Note down what is wrong with a field."""
        self.found.append(Mistake(self._place, field, str(reason)))


class Amount(NamedTuple):
    """Money as it was written."""

    value: Decimal
    currency: str


class Share(NamedTuple):
    """A share of the amount, in basis points."""

    points: int


def read_fields(
    raw: Mapping[str, Any],
    parsers: Mapping[str, Callable[[Any], Any]],
    mistakes: Mistakes,
    *,
    required: Iterable[str] = (),
    elsewhere: Collection[str] = (),
) -> dict[str, Any]:
    """Return the values of the fields that are right; note down those that are wrong, unknown or missing.

    Fields that are read `elsewhere` are known, and left alone.
    """
    values: dict[str, Any] = {}
    for name, value in raw.items():
        if name in elsewhere:
            continue
        if name not in parsers:
            mistakes.add(str(name), unknown("field", name, (*parsers, *elsewhere)))
            continue
        try:
            values[name] = parsers[name](value)
        except ValueError as error:
            mistakes.add(name, error)
    for name in required:
        if name not in raw:
            mistakes.add(name, "is missing")
    return values


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """Return that there is no such thing, with the known one that it was probably meant to be."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"no such {what}" + (f"; did you mean {close[0]}?" if close else "")


def text(raw: Any) -> str:
    """Return a text that says something."""
    if not isinstance(raw, str) or not raw.strip() or len(raw) > _LONGEST_TEXT:
        raise ValueError(f"expected text of 1 to {_LONGEST_TEXT} characters, found {raw!r:.80}")
    return raw.strip()


def identifier(raw: Any) -> str:
    """Return an id: letters, digits, dots, dashes and underscores."""
    if not isinstance(raw, str) or not _ID.fullmatch(raw):
        raise ValueError(f"expected letters, digits, '.', '_' and '-', at most 100, found {raw!r:.80}")
    return raw


def flag(raw: Any) -> bool:
    """Return true or false."""
    if not isinstance(raw, bool):
        raise ValueError(f"expected true or false, found {raw!r}")  # noqa: TRY004 - of a file's contents
    return raw


def choice(options: Sequence[str]) -> Callable[[Any], str]:
    """Return what accepts one of these words."""

    def chosen(raw: Any) -> str:
        if raw not in options:
            raise ValueError(f"expected {', '.join(options[:-1])} or {options[-1]}, found {raw!r:.80}")
        return str(raw)

    return chosen


def amount(raw: Any) -> Amount:
    """Return money with its currency, such as 500 USD; it must be more than nothing."""
    match = _AMOUNT.fullmatch(raw.strip()) if isinstance(raw, str) else None
    if match is None:
        raise ValueError(f"expected an amount with its currency, like 500 USD, found {raw!r}")
    value = Decimal(match[1])
    if value < _LEAST:
        raise ValueError(f"must be at least {_LEAST:f}, found {raw}")
    return Amount(value, match[2])


def roll_over(raw: Any) -> Amount | Share:
    """Return how much may be carried over: true is the whole amount, false nothing."""
    if isinstance(raw, bool):
        return Share(FULL if raw else 0)
    if isinstance(raw, str) and raw.strip().endswith("%"):
        return Share(percent(raw))
    try:
        return amount(raw)
    except ValueError as error:
        raise ValueError(
            f"expected true, false, a share like 20% or money like 100 USD, found {raw!r}"
        ) from error


def percent(raw: Any) -> int:
    """Return a percentage, written as 80, 99.5 or "80%", in basis points."""
    match = None if isinstance(raw, bool) else _PERCENT.fullmatch(str(raw).strip())
    points = Decimal(match[1]) * 100 if match else Decimal(0)
    if not 0 < points <= _MOST_PERCENT * 100 or points != points.to_integral_value():
        raise ValueError(
            f"expected a percentage of up to {_MOST_PERCENT} with at most 2 decimals, like 80, found {raw!r}"
        )
    return int(points)


def thresholds(raw: Any) -> tuple[int, ...]:
    """Return the thresholds in rising order, in basis points; none is fine."""
    if not isinstance(raw, list):
        raise ValueError(f"expected percentages like [50, 80, 100], found {raw!r}")  # noqa: TRY004 - as above
    points = sorted(percent(item) for item in raw)
    if len(set(points)) != len(points):
        raise ValueError(f"a percentage is given twice in {raw!r}")
    return tuple(points)


def period(raw: Any) -> Unit | int:
    """Return a calendar unit, or the length of a rolling period in microseconds."""
    if raw in UNITS:
        unit: Unit = raw
        return unit
    match = _LENGTH.fullmatch(raw) if isinstance(raw, str) else None
    length = int(match[1]) * _MINUTES[match[2]] * MINUTE if match else 0
    if not 0 < length <= _LONGEST:
        raise ValueError(
            f"expected {', '.join(UNITS)}, or a rolling length like 24h or 30d (at most 366d), found {raw!r}"
        )
    return length


def time_zone(raw: Any) -> str:
    """Return the name of a zone that the IANA data base knows."""
    try:
        return ZoneInfo(raw).key
    except (LookupError, ValueError, TypeError, OSError) as error:
        raise ValueError(f"expected an IANA time zone like Europe/Berlin, found {raw!r}") from error


def weekday(raw: Any) -> int:
    """Return a day of the week; 0 is Monday."""
    if not isinstance(raw, str) or raw.lower() not in _WEEKDAYS:
        raise ValueError(f"expected a day of the week like monday, found {raw!r}")
    return _WEEKDAYS.index(raw.lower())


def day(raw: Any) -> date:
    """Return a date; a time of day is not part of it."""
    value = raw
    if isinstance(raw, str):
        with contextlib.suppress(ValueError):
            value = date.fromisoformat(raw)
    if not isinstance(value, date) or isinstance(value, datetime) or value.year not in _YEARS:
        raise ValueError(f"expected a date from 1970 to 2099 like 2026-01-01, found {raw!s:.80}")
    return value


def rate(raw: Any) -> Decimal:
    """Return what one unit of a currency is in dollars."""
    try:
        value = (
            Decimal(raw) if isinstance(raw, str | int | Decimal) and not isinstance(raw, bool) else Decimal(0)
        )
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or value < _LEAST:
        raise ValueError(f'expected dollars for one unit, like "1.0842", found {raw!r}')
    return value


def scope_value(name: str, raw: Any) -> str:
    """Return what a dimension of a scope must be."""
    if name not in DIMENSIONS:
        raise ValueError(unknown("dimension", name, DIMENSIONS))
    return text(raw)
