"""Repricing: events that no price covered are sent once more, with the cost that they have by now.

A repricing has the time and the tokens of its original, and an id that is derived from the original's: sent
twice, the second is a duplicate. Downstream its cost is added to the windows, and its row replaces the
original's. Which price it was that came first is settled then: nothing is ever priced twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence

from msgspec import Struct

from spendstream.events import TokenUsage
from spendstream.pricing import PriceBook
from spendstream.repricing import repriced

__all__ = ["Repriced", "reprice"]

Model = tuple[str, str]
"""Provider and name."""


class Repriced(Struct, frozen=True, kw_only=True):
    """What a run has priced, and what stays unpriced: events and picodollars by model."""

    events: Counter[Model]
    cost: Counter[Model]
    unpriced: Counter[Model]


async def reprice(
    unpriced: AsyncIterable[Sequence[TokenUsage]],
    book: PriceBook,
    send: Callable[[Sequence[TokenUsage]], Awaitable[object]],
) -> Repriced:
    """Send a repricing of each event that the book has a price for by now, at the event's time."""
    done = Repriced(events=Counter(), cost=Counter(), unpriced=Counter())
    async for events in unpriced:
        repricings = []
        for event in events:
            model = event.provider, event.model
            new = repriced(event, book)
            if new is None or new.cost is None:
                done.unpriced[model] += 1
                continue
            repricings.append(new)
            done.events[model] += 1
            done.cost[model] += new.cost
        await send(repricings)
    return done
