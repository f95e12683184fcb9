"""Sending made-up events to Kafka, in their order, as a replay does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice

from rich.progress import Progress

from producers.sender import Sender
from spendstream.events import TokenUsage

__all__ = ["fill"]

_CHUNK = 2000


class _Filling:
    """Moves the progress bar; the sender tells it."""

    def __init__(self, bars: Progress, events: int) -> None:
        self._bars = bars
        self._bar = bars.add_task("filling the topic", total=events)

    def sent(self, events: int) -> None:
        self._bars.advance(self._bar, events)

    def waiting(self, reason: str) -> None:
        self._bars.log(reason)


def fill(
    servers: str, events: Iterable[TokenUsage], total: int, bars: Progress, *, events_per_record: int = 1
) -> int:
    """Send `total` events, making the topics if there are none; return what they cost, in picodollars."""
    filling = _Filling(bars, total)
    return asyncio.run(_fill(iter(events), Sender(servers, filling, events_per_record=events_per_record)))


async def _fill(events: Iterator[TokenUsage], connecting: Sender) -> int:
    cost = 0
    async with connecting as sender:
        while chunk := list(islice(events, _CHUNK)):
            await sender.send(chunk)
            cost += sum(event.cost or 0 for event in chunk)
    return cost
