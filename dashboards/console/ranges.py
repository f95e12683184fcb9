"""Time ranges as people write them: now-24h, now, 2024-01-01T12:00, milliseconds since 1970. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from dashboards.macros import TimeRange, interval_for
from spendstream.errors import QueryError

__all__ = ["time_range"]

_RELATIVE = re.compile(r"now(?:-(\d{1,6})([smhdwM]))?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "M": 2_592_000}
_MOST_POINTS = 500
_LAST = 4_102_444_800_000  # 2100


def time_range(start: str, end: str, now: int, points: int, step: int = 60) -> TimeRange:
    """Return the range from `start` to `end` at `now` (milliseconds), taken apart in about `points`.

    No point is narrower than `step` seconds.
    Times without a zone are UTC. Raises QueryError for what is no time, or ends before it begins.
    """
    first, last = _moment(start, now), _moment(end, now)
    if first >= last:
        raise QueryError(f"the range from {start} to {end} ends before it begins")
    interval = interval_for(first, last, min(max(points, 1), _MOST_POINTS), step * 1000)
    return TimeRange(start=first, end=last, interval=interval)


def _moment(text: str, now: int) -> int:
    if match := _RELATIVE.fullmatch(text):
        return max(now - int(match[1] or 0) * _SECONDS[match[2] or "s"] * 1000, 0)
    if text.isascii() and text.isdecimal():
        found = int(text)
    else:
        try:
            written = datetime.fromisoformat(text)
        except ValueError:
            expected = "expected now, now-24h, 2024-01-01T12:00 or milliseconds since 1970"
            raise QueryError(f"{text!r} is no time: {expected}") from None
        found = int((written if written.tzinfo else written.replace(tzinfo=UTC)).timestamp() * 1000)
    if not 0 <= found <= _LAST:
        raise QueryError(f"{text!r} is not between 1970 and 2100")
    return found
