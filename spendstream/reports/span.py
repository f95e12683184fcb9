"""Spans of time that reports are about, as people write them: 30d, 2024-01-31, 2024-01."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from spendstream.clock import from_micros, to_micros
from spendstream.rolling import Piece, pieces
from spendstream.windows import DAY, HOUR, MINUTE

__all__ = ["YEARS", "Span", "between", "month_of", "windows"]

_MICROS = 1_000_000
_AGO = re.compile(r"([1-9][0-9]{0,4})([mhdw])")
_UNITS = {"m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_MONTH = re.compile(r"([0-9]{4})-([0-9]{2})")
YEARS = range(1970, 2100)
"""Those that events have."""


class Span(Struct, frozen=True, kw_only=True):
    """From `start` until just before `end`: whole minutes, in microseconds since 1970 UTC."""

    start: int
    end: int

    def __post_init__(self) -> None:
        minute = MINUTE * _MICROS
        if not 0 <= self.start < self.end or self.start % minute or self.end % minute:
            raise ValueError(
                f"a report is about one whole minute or more, found {self}: let it end after it begins"
            )

    @property
    def length(self) -> int:
        """How long it is, in microseconds."""
        return self.end - self.start

    def day(self, start: int) -> Span:
        """Return the part of it that lies in the day (UTC) that begins at `start`."""
        return Span(start=max(self.start, start), end=min(self.end, start + DAY * _MICROS))

    def in_hours(self) -> Span:
        """Return the whole hours that it touches."""
        hour = HOUR * _MICROS
        return Span(start=self.start - self.start % hour, end=self.end + -self.end % hour)

    def __str__(self) -> str:
        return f"{_shown(self.start)} to {_shown(self.end)} UTC"


def between(since: str, until: str | None, now: int) -> Span:
    """Return the span that begins at `since` and ends at `until`, or with the minute of `now` (microseconds).

    Both are a date, a time (UTC unless it says otherwise), or how long ago: 90m, 6h, 30d, 4w. What is so many
    days or weeks ago begins with that day, what is so many hours ago with that hour. Raises ValueError.
    """
    minute = MINUTE * _MICROS
    end = now - now % minute + minute if until is None else _moment(until, now)
    return Span(start=_moment(since, now), end=end)


def month_of(text: str) -> Span:
    """Return a calendar month (UTC), written like 2024-01. Raises ValueError."""
    found = _MONTH.fullmatch(text)
    if found is None or not 1 <= int(found[2]) <= 12 or int(found[1]) not in YEARS:  # noqa: PLR2004
        raise ValueError(f"{text!r} is no month: expected one such as 2024-01")
    first = datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC)
    following = (first + timedelta(days=31)).replace(day=1)
    return Span(start=to_micros(first), end=to_micros(following))


def windows(span: Span) -> str:
    """Return the SQL condition of the windows that cover a span: days, and hours and minutes at its ends."""
    covering = pieces(span.end // _MICROS, span.length // _MICROS)
    return f"({' OR '.join(map(_within, covering))})"


def _within(piece: Piece) -> str:
    return (
        f"(window_seconds = {piece.size} AND window_start >= toDateTime({piece.first}, 'UTC') "
        f"AND window_start < toDateTime({piece.stop}, 'UTC'))"
    )


def _moment(text: str, now: int) -> int:
    """Return the moment in microseconds, cut to the minute."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        unit = _UNITS[ago[2]]
        moment = now // _MICROS - int(ago[1]) * unit
        return max(moment - moment % min(unit, DAY), 0) * _MICROS
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no time: expected one such as 30d, 6h or 2024-01-31") from error
    if found.year not in YEARS:
        raise ValueError(f"{text!r} is no time of an event: they are of 1970 to 2099")
    micros = to_micros(found if found.tzinfo else found.replace(tzinfo=UTC))
    return micros - micros % (MINUTE * _MICROS)


def _shown(micros: int) -> str:
    return from_micros(micros).strftime("%Y-%m-%d %H:%M")
