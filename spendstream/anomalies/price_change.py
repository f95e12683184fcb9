"""Changes of a provider's prices, found from what calls cost: unit prices are solved for, not estimated.

The cost of an event is the sum over its kinds of tokens of count times unit price, rounded once. So a few
events tell a model's prices exactly, and three in a row that they do not explain mean new prices. Rounding
leaves the last digits open; of all prices that explain the events, the one with the fewest digits is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import gcd

from msgspec import Struct, field

from spendstream.anomalies.detector import Stored
from spendstream.events import TokenUsage
from spendstream.windows import Measures

__all__ = ["KINDS", "PriceChange", "PriceWatch", "Priced"]

KINDS = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
"""Kinds of tokens; input is what is neither read from nor written to a cache, and a write is for minutes."""

_MILLION = 10**6
_CONSECUTIVE = 3
_PATIENCE = 8  # unexplained events, after which the known prices are given up
_MODELS = 1_024
_DIGITS = (2, 3, 4, 5, 6, 9, 12, 15, 18)


class Priced(Struct, frozen=True, kw_only=True):
    """Tokens by kind, in the order of KINDS, and their list cost in picodollars, of one or more events."""

    model: str
    tokens: tuple[int, int, int, int, int]
    cost: int
    events: int = 1

    @classmethod
    def of_event(cls, event: TokenUsage) -> Priced | None:
        """Return what an event says of prices; None if it says nothing: unpriced, cached, no tokens."""
        cost = event.cost if event.list_cost is None else event.list_cost
        if cost is None or event.usage_source == "cached" or not event.input_tokens + event.output_tokens:
            return None
        return cls(model=f"{event.provider}/{event.model}", tokens=_kinds(event), cost=cost)

    @classmethod
    def of_window(cls, model: str, measures: Measures) -> Priced | None:
        """Return what a window of one model says of prices; None if some of its events are unpriced."""
        if measures.unpriced or not measures.input_tokens + measures.output_tokens:
            return None
        return cls(model=model, tokens=_kinds(measures), cost=measures.list_cost, events=measures.events)

    def explained(self, prices: Mapping[str, int]) -> bool:
        """Tell whether `prices` lead to this cost, but for its rounding."""
        due = 0
        for kind, count in zip(KINDS, self.tokens, strict=True):
            if count:
                if kind not in prices:
                    return False
                due += count * prices[kind]
        return abs(due - self.cost * _MILLION) <= _MILLION * self.events


def _kinds(used: TokenUsage | Measures) -> tuple[int, int, int, int, int]:
    plain = used.input_tokens - used.cache_read_tokens - used.cache_write_tokens
    an_hour = used.cache_write_1h_tokens
    return plain, used.output_tokens, used.cache_read_tokens, used.cache_write_tokens - an_hour, an_hour


class PriceChange(Struct, frozen=True, kw_only=True):
    """Unit prices before and after, by kind, in picodollars for a million tokens; only kinds that changed."""

    model: str
    old: dict[str, int]
    new: dict[str, int]


class _Model(Struct, kw_only=True):
    prices: dict[str, int] = field(default_factory=dict)
    unexplained: list[Priced] = field(default_factory=list)


class PriceWatch(Stored, kw_only=True):
    """Knows the unit prices of up to 1,024 models. Feed it events, or windows of one model each."""

    models: dict[str, _Model] = field(default_factory=dict)

    def update(self, priced: Priced) -> PriceChange | None:
        """Learn from priced events; return a change once three in a row agree on it."""
        model = self.models.pop(priced.model, None) or _Model()
        self.models[priced.model] = model  # the one seen last is forgotten last
        if len(self.models) > _MODELS:
            del self.models[next(iter(self.models))]
        if priced.explained(model.prices):
            model.unexplained = []
            return None
        model.unexplained.append(priced)
        return self._resolve(priced.model, model)

    def _resolve(self, name: str, model: _Model) -> PriceChange | None:
        """Look for prices that explain the newest events, with as few of the older ones as needed."""
        patient = len(model.unexplained) < _PATIENCE
        for count in range(_CONSECUTIVE, len(model.unexplained) + 1):
            prices = _explanation(model.unexplained[-count:], model.prices, patient=patient)
            if prices is not None:
                change = _change(name, model.prices, prices)
                model.prices, model.unexplained = {**model.prices, **prices}, []
                return change
        if not patient:
            model.prices, model.unexplained = {}, model.unexplained[1 - _CONSECUTIVE :]
        return None


def _change(model: str, old: Mapping[str, int], new: Mapping[str, int]) -> PriceChange | None:
    kinds = [kind for kind in KINDS if kind in old and kind in new and old[kind] != new[kind]]
    if not kinds:
        return None  # a kind of tokens was seen for the first time
    return PriceChange(
        model=model, old={kind: old[kind] for kind in kinds}, new={kind: new[kind] for kind in kinds}
    )


def _explanation(
    events: Sequence[Priced], known: Mapping[str, int], *, patient: bool
) -> dict[str, int] | None:
    """Return prices of the kinds in `events` that explain all of them.

    Different prices can: of calls that are all alike, it is open which kind became dearer. As long as it is
    `patient`, such a question waits for more events; then all kinds changed by the same factor.
    """
    used = [kind for place, kind in enumerate(KINDS) if any(event.tokens[place] for event in events)]
    found: list[dict[str, int]] = []
    for guess in _guesses(events, known, used):
        prices = _shortest(guess, events)
        if prices is not None and prices not in found:
            found.append(prices)
    return found[0] if len(found) == 1 or (found and not patient) else None


def _guesses(
    events: Sequence[Priced], known: Mapping[str, int], used: Sequence[str]
) -> Iterator[dict[str, Fraction]]:
    """Yield unit prices that could explain the events: one factor for all, one kind's new, all anew."""
    largest = max(events, key=lambda event: event.cost)
    counts = dict(zip(KINDS, largest.tokens, strict=True))
    paid = Fraction(largest.cost * _MILLION)
    due = sum(counts[kind] * known.get(kind, 0) for kind in used)
    if due and all(kind in known for kind in used):
        yield {kind: known[kind] * paid / due for kind in used}
    for kind in used:
        others = {other: Fraction(known[other]) for other in used if other != kind and other in known}
        if counts[kind] and len(others) == len(used) - 1:
            rest = sum((counts[other] * price for other, price in others.items()), Fraction())
            yield {**others, kind: (paid - rest) / counts[kind]}
    solved = _solved(events, used)
    if solved is not None:
        yield solved


def _shortest(guess: Mapping[str, Fraction], events: Sequence[Priced]) -> dict[str, int] | None:
    """Return the guess with the fewest digits that explains the events; None if none does, or is negative."""
    if min(guess.values()) < -1:
        return None
    whole = {kind: max(round(price), 0) for kind, price in guess.items()}
    for digits in _DIGITS:
        prices = {kind: round(price, digits - len(str(price))) for kind, price in whole.items()}
        if all(event.explained(prices) for event in events):
            return prices
    return None


def _solved(events: Sequence[Priced], used: Sequence[str]) -> dict[str, Fraction] | None:
    """Solve the dearest events' costs for the unit prices (Gauss); None if all of them leave a price open.

    Elimination is done in whole numbers: fractions would take fifty times as long.
    """
    places = [KINDS.index(kind) for kind in used]
    rows: list[tuple[int, list[int]]] = []  # each with its leading column, which those after it do not have
    for event in sorted(events, key=lambda event: -event.cost):
        row = [*(event.tokens[place] for place in places), event.cost * _MILLION]
        for column, lead in rows:
            if factor := row[column]:
                row = [cell * lead[column] - factor * other for cell, other in zip(row, lead, strict=True)]
        column = next((column for column in range(len(used)) if row[column]), -1)
        if column < 0:
            continue
        shared = gcd(*row)
        rows.append((column, [cell // shared for cell in row]))
        if len(rows) == len(used):
            return _substituted(rows, used)
    return None


def _substituted(rows: Sequence[tuple[int, Sequence[int]]], used: Sequence[str]) -> dict[str, Fraction]:
    prices = [Fraction()] * len(used)
    for column, row in reversed(rows):
        rest = sum((cell * price for cell, price in zip(row, prices, strict=False)), Fraction())
        prices[column] = (row[-1] - rest) / row[column]
    return dict(zip(used, prices, strict=True))
