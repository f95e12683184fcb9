"""Calls of models as metered charges: one for each kind of token, hour, owner and model.

What calls cost is split over their tokens by the rates of that time, so that the parts add up to it exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct

from spendstream.focus.charge import Charge, Owner
from spendstream.money import split
from spendstream.pricing import PriceBook, Rates
from spendstream.queries import pico
from spendstream.reports.questions import Question, within
from spendstream.reports.span import Span
from spendstream.windows import HOUR

__all__ = ["KINDS", "TokenGroup", "ask", "charges", "groups"]

_MICROS = 1_000_000
_HOUR = HOUR * _MICROS
_STEP = "15 MINUTE"  # prices change at full quarters of an hour, if not at midnight
_OWNER = ("org", "team", "project", "environment", "service", "domain")
_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
)
_PER = 1000

KINDS = {
    "Input": "Input Tokens",
    "CacheRead": "Cache Read Input Tokens",
    "CacheWrite": "Cache Write Input Tokens",
    "CacheWrite1h": "Cache Write Input Tokens, Kept for an Hour",
    "Output": "Output Tokens",
    "Any": "Tokens",
    "None": "Calls",
}
"""Kinds of token, and what their meters are called. Reasoning is output; "Any" is without known rates."""


class TokenGroup(Struct, frozen=True, kw_only=True):
    """Calls of one owner and model that began in one quarter of an hour, at `at` (microseconds UTC).

    Tokens are those that the provider was asked for; what a cache answered is not in them.
    """

    at: int
    owner: Owner
    provider: str
    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    cost: int
    list_cost: int


def ask(span: Span) -> Question:
    """Return how to ask for the groups of a span, in order of time."""
    counts = [f"sumIf(e.{name}, e.cache_outcome = 'none') AS {name}_" for name in _COUNTS]
    columns = [
        f"toInt64(toUnixTimestamp(toStartOfInterval(e.event_time, INTERVAL {_STEP}))) * {_MICROS} AS at_",
        *(f"toString(e.{name}) AS {name}_" for name in (*_OWNER, "provider", "model")),
        "count() AS calls_",
        *counts,
        f"{pico('sum(e.cost)')} AS cost_",
        f"{pico('sum(ifNull(e.list_cost, e.cost))')} AS list_cost_",
    ]
    keys = ", ".join(f"{name}_" for name in ("at", *_OWNER, "provider", "model"))
    return Question(
        sql=f"SELECT {', '.join(columns)} FROM token_usage AS e WHERE {within(span)} AND e.cost IS NOT NULL "
        f"GROUP BY {keys} ORDER BY {keys}",
        names=("at", *_OWNER, "provider", "model", "calls", *_COUNTS, "cost", "list_cost"),
    )


def groups(rows: Iterable[Sequence[Any]]) -> Iterator[TokenGroup]:
    """Yield the groups of an answer."""
    for at, *others, cost, listed in rows:
        whose, (provider, model, calls, *used) = others[: len(_OWNER)], others[len(_OWNER) :]
        yield TokenGroup(
            at=at,
            owner=Owner(**dict(zip(_OWNER, whose, strict=True))),
            provider=provider,
            model=model,
            calls=calls,
            **dict(zip(_COUNTS, used, strict=True)),
            cost=cost,
            list_cost=listed,
        )


def charges(found: Iterable[TokenGroup], book: PriceBook) -> Iterator[Charge]:
    """Yield the charges of groups that come in order of time, an hour after the other.

    Costs add up to those of the groups, hour by hour. What neither cost nor used anything is no charge.
    """
    hour = -1
    sums: dict[tuple[Owner, str, str, str], list[int]] = {}
    for group in found:
        if group.at // _HOUR != hour:
            yield from _hourly(hour * _HOUR, sums)
            hour, sums = group.at // _HOUR, {}
        for kind, count, cost, listed in _parts(group, book):
            total = sums.setdefault((group.owner, group.provider, group.model, kind), [0, 0, 0])
            total[0] += count
            total[1] += cost
            total[2] += listed
    yield from _hourly(hour * _HOUR, sums)


def _parts(group: TokenGroup, book: PriceBook) -> Sequence[tuple[str, int, int, int]]:
    """Return the kind, count, cost and list cost of each kind of token in a group."""
    counts = _counts(group)
    rates = book.find(group.provider, group.model, group.at)
    weights = _weights(counts, rates) if rates else [0] * len(counts)
    free = not (group.cost or group.list_cost)
    if min(counts.values()) >= 0 and (free or any(weights)):
        costs, listed = split(group.cost, weights), split(group.list_cost, weights)
        return list(zip(counts, counts.values(), costs, listed, strict=True))
    tokens = group.input_tokens + group.output_tokens
    kind, count = ("Any", tokens) if tokens else ("None", group.calls)
    return [(kind, count, group.cost, group.list_cost)]


def _counts(group: TokenGroup) -> dict[str, int]:
    return {
        "Input": group.input_tokens - group.cache_read_tokens - group.cache_write_tokens,
        "CacheRead": group.cache_read_tokens,
        "CacheWrite": group.cache_write_tokens - group.cache_write_1h_tokens,
        "CacheWrite1h": group.cache_write_1h_tokens,
        "Output": group.output_tokens,
    }


def _weights(counts: dict[str, int], rates: Rates) -> list[int]:
    an_hour = rates.cache_write if rates.cache_write_1h is None else rates.cache_write_1h
    each = (rates.input, rates.cache_read, rates.cache_write, an_hour, rates.output)
    return [count * rate for count, rate in zip(counts.values(), each, strict=True)]


def _hourly(start: int, sums: dict[tuple[Owner, str, str, str], list[int]]) -> Iterator[Charge]:
    for (owner, provider, model, kind), (count, cost, listed) in sums.items():
        if not (count or cost or listed):
            continue
        unit = "Calls" if kind == "None" else "Tokens"
        yield Charge(
            start=start,
            end=start + _HOUR,
            owner=owner,
            provider=provider or "Unknown",
            category="AI and Machine Learning",
            subcategory="Generative AI",
            service_name=f"{provider or 'Unknown'} API",
            sku=f"{provider or 'Unknown'}/{model}/{kind}",
            meter=KINDS[kind],
            description=f"{KINDS[kind]} of {model}",
            billed=cost,
            listed=listed,
            consumed=Decimal(count),
            consumed_unit=unit,
            priced=Decimal(count) if unit == "Calls" else Decimal(count) / _PER,
            pricing_unit=unit if unit == "Calls" else f"{_PER} {unit}",
            model=model,
            token_type=kind if unit == "Tokens" and kind != "Any" else "",
        )
