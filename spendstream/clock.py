"""The one place that reads the wall clock. Everything else is given the time."""

from __future__ import annotations

import time
from datetime import UTC, datetime

__all__ = ["from_micros", "now", "now_micros", "to_micros"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_micros() -> int:
    """Return the time now, in microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def now() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)


def to_micros(moment: datetime) -> int:
    """Return an aware `moment` as microseconds since 1970 UTC, exactly (no float in between)."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_micros(micros: int) -> datetime:
    """Return microseconds since 1970 UTC as an aware datetime, exactly."""
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
