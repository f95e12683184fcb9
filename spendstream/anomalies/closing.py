"""When a window is closed: once event time has passed it in every source that is worth waiting for."""

from __future__ import annotations

from collections.abc import Iterable

from spendstream.windows import DAY, MINUTE

__all__ = ["ACTIVE", "closed_until"]

ACTIVE = 60
"""Seconds for which a source that brought something is waited for."""

_DISORDER = 60
_FARTHEST_BEHIND = DAY  # a source farther behind the others replays the past: the present does not wait


def closed_until(newest: Iterable[int], now: int) -> int:
    """Return the time up to which all windows are closed, a whole minute; all times are seconds, UTC.

    `newest` is the start of the newest minute of each source with windows that changed in the last ACTIVE
    seconds. With no such source, time itself closes the windows. It may go back when a source wakes up.
    """
    sources = list(newest)
    front = max(sources, default=now)
    slowest = min((start for start in sources if start >= front - _FARTHEST_BEHIND), default=now)
    until = min(slowest, now) - _DISORDER
    return until - until % MINUTE
