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


def fill(servers: str, events: Iterable[TokenUsage], total: int, bars: Progress) -> int:
    """Send `total` events, making the topics if there are none; return what they cost, in picodollars."""
    return asyncio.run(_fill(servers, iter(events), _Filling(bars, total)))


async def _fill(servers: str, events: Iterator[TokenUsage], progress: _Filling) -> int:
    cost = 0
    async with Sender(servers, progress) as sender:
        while chunk := list(islice(events, _CHUNK)):
            await sender.send(chunk)
            cost += sum(event.cost or 0 for event in chunk)
    return cost
