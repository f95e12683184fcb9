"""Watermarks: up to which event time a stream is believed complete. Pure; time is always given.

A source's watermark trails its newest event by the disorder that is normal for it. The watermark of several
sources is the lowest of those that are not idle: one quiet partition must not hold up the others. An event
behind the watermark that it meets, which is that of all events before it in its source, is *late*. It is
counted all the same, and corrects its windows, which may have been reported already. What an event meets does
not depend on where blocks begin and end.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

__all__ = ["NOTHING_SEEN", "Times", "Watermark", "combined"]

NOTHING_SEEN = -1
"""The watermark, and the newest event time, of a source that had no event yet."""

Times = npt.NDArray[np.int64]
"""Microseconds since 1970 UTC."""


class Watermark(Struct, frozen=True, kw_only=True):
    """The watermark of one source; all times are microseconds.

    `newest` is the newest event time seen, `seen_at` when the broker got the newest record.
    """

    disorder: int
    newest: int = NOTHING_SEEN
    seen_at: int = NOTHING_SEEN

    @property
    def time(self) -> int:
        """The event time up to which the source is believed complete."""
        return max(self.newest - self.disorder, NOTHING_SEEN)

    def advanced(self, event_times: Times, arrived: int) -> Watermark:
        """Return the watermark after events that the broker got at `arrived`. It never goes back."""
        newest = int(event_times.max(initial=self.newest))
        return replace(self, newest=newest, seen_at=max(self.seen_at, arrived))

    def met_by(self, event_times: Times) -> Times:
        """Return the watermark that each of some events meets, as the next ones of the source, in order."""
        before = np.maximum.accumulate(np.concatenate([[self.newest], event_times[:-1]]))[: len(event_times)]
        met: Times = np.maximum(before - self.disorder, NOTHING_SEEN)
        return met

    def idle(self, now: int, after: int) -> bool:
        """Tell whether nothing has come for `after` microseconds."""
        return now - self.seen_at > after


def combined(watermarks: Iterable[Watermark], *, now: int, idle_after: int) -> int:
    """Return the watermark of several sources together; with all of them idle, time itself is the newest.

    Idle sources advance: what they could still hold back is at most `disorder` behind now.
    """
    everyone = list(watermarks)
    active = [mark.time for mark in everyone if not mark.idle(now, idle_after)]
    if active:
        return min(active)
    return max((now - idle_after - mark.disorder for mark in everyone), default=NOTHING_SEEN)
