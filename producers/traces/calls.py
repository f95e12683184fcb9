"""From a row that is a call of a model to its event: the assumptions it takes, and its price."""

from __future__ import annotations

from msgspec import Struct

from producers.traces.trace import Name, Owner, Trace
from spendstream.events import TokenUsage
from spendstream.pricing import PriceBook

__all__ = ["MAX_TOKENS", "Call", "CallAssumptions", "token_usage"]

MAX_TOKENS = 10**9
"""More tokens than this in one call are no measurement; the cost of so many still fits an event."""


class CallAssumptions(Owner, frozen=True, kw_only=True):
    """What traces of model calls leave open: which model it was, and who sold it."""

    provider: Name = "openai"
    model: Name = "gpt-4"


class Call(Struct, frozen=True, kw_only=True):
    """What a row says: time in microseconds since 1970 UTC, tokens; those read from a cache are input too."""

    row: int
    at: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0


def token_usage(call: Call, trace: Trace, assumptions: CallAssumptions, book: PriceBook) -> TokenUsage:
    """Return a call's event, at the book's price of its time; raise UnknownPrice if there is none.

    List price and cost are the same: a trace knows of no discount.
    """
    rates = book.rates(assumptions.provider, assumptions.model, call.at)
    cost = rates.cost(call.input_tokens, call.output_tokens, call.cache_read_tokens)
    return TokenUsage(
        id=trace.row_id(call.at, call.row),
        event_time=call.at,
        source=trace.source,
        org=assumptions.org,
        team=assumptions.team,
        project=assumptions.project,
        environment=assumptions.environment,
        provider=assumptions.provider,
        model=assumptions.model,
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        cache_read_tokens=call.cache_read_tokens,
        list_cost=cost,
        cost=cost,
    )
