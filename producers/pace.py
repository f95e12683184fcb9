"""Event time against real time: how long to wait until an event is due."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from spendstream.events import Event

__all__ = ["MAX_SPEED", "Pace", "chunks"]

MAX_SPEED = float("inf")
"""The speed at which every event is due at once."""

_MICROS = 1e6


class Pace:
    """Waits so that the gaps between event times last `speed` times shorter; the first event is due now.

    Event times stay what they are: speed decides when an event is sent, never what is in it.
    """

    def __init__(
        self,
        speed: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._speed = speed
        self._monotonic = monotonic
        self._start: tuple[int, float] | None = None
        self.sleep = sleep

    def wait(self, event_time: int) -> float:
        """Return the seconds until an event is due, 0 or less if it is; at any speed, late ones are."""
        if self._speed == MAX_SPEED:
            return 0
        if self._start is None:
            self._start = (event_time, self._monotonic())
        first, began = self._start
        return began + (event_time - first) / _MICROS / self._speed - self._monotonic()


async def chunks(events: Iterable[Event], pace: Pace, size: int) -> AsyncIterator[list[Event]]:
    """Yield events as they become due, in lists of at most `size`: behind time, chunks grow by themselves."""
    due: list[Event] = []
    for event in events:
        if due and (len(due) == size or pace.wait(event.event_time) > 0):
            yield due
            due = []
        while (seconds := pace.wait(event.event_time)) > 0:
            await pace.sleep(seconds)
        due.append(event)
    if due:
        yield due
