"""Repricings: what the event is like that prices another one later, and which of them can be believed."""

from __future__ import annotations

from collections.abc import Container, Sequence

import msgspec

from spendstream.batches import Batch
from spendstream.events import TokenUsage
from spendstream.ids import repricing_id
from spendstream.pricing import PriceBook
from spendstream.store import Refusal

__all__ = ["astray", "repriced"]

_MAX_COST = 2**63 - 1  # what an event can hold


def repriced(event: TokenUsage, book: PriceBook) -> TokenUsage | None:
    """Return the repricing of an unpriced event; None if it has no price still, or none can be right.

    List price and cost are the same, as they are for an event that is priced when it happens.
    """
    rates = book.find(event.provider, event.model, event.event_time)
    if rates is None:
        return None
    try:
        cost = rates.cost(
            event.input_tokens,
            event.output_tokens,
            event.cache_read_tokens,
            event.cache_write_tokens,
            event.cache_write_1h_tokens,
        )
    except ValueError:  # parts that are more than their whole
        return None
    if cost > _MAX_COST:
        return None
    new_id = repricing_id(event.event_time, event.id)
    return msgspec.structs.replace(event, id=new_id, reprices=event.id, cost=cost, list_cost=cost)


def astray(batch: Batch, matched: Container[int]) -> Sequence[Refusal]:
    """Return the repricings in `batch` that cannot land: windows must not count what has no row.

    `matched` are the positions of those whose original is stored, and had no price of its own. With an id
    that is not derived from the original's, an event could be priced twice.
    """
    refused = []
    for entry, event in zip(batch.entries, batch.events, strict=True):
        original = event.reprices
        if event.cost is None:
            refused.append(Refusal(entry.position, "a repricing without a cost"))
        elif event.id != repricing_id(event.event_time, original):
            refused.append(Refusal(entry.position, f"not the id that the repricing of {original} has"))
        elif entry.position not in matched:
            refused.append(Refusal(entry.position, f"no event {original} without a price is stored"))
    return tuple(refused)
