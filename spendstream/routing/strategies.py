"""The strategies: each puts candidates in the order in which they are tried, and says why in a few words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from spendstream.money import PICO
from spendstream.pricing.book import Rates
from spendstream.routing.complexity import Complexity
from spendstream.routing.decision import Call
from spendstream.routing.definition import Candidate, Strategy, Weights
from spendstream.routing.mix import Mix
from spendstream.routing.statistics import Statistics

__all__ = ["Order", "Prices", "Ranking"]

_USUAL_ANSWER = 256  # tokens, while nothing is known
_QUALITY_OF_A_DOUBLING = 10  # points that weigh as much as half the price, or half the time
_MOST_MIXES = 64

Prices = Callable[[str, str, int], Rates | None]
"""Answers (provider, model, time) with what it costs; `PriceBook.find` is one."""


class Order(NamedTuple):
    """Candidates, the first one first, and why."""

    candidates: Sequence[Candidate]
    reason: str
    complexity: float | None = None


class Ranking:
    """Puts a route's candidates in order. It remembers whose turn it is in a mix, and nothing else."""

    def __init__(
        self, *, weights: Weights, statistics: Statistics, prices: Prices, complexity: Complexity
    ) -> None:
        self._weights = weights
        self._statistics = statistics
        self._prices = prices
        self._complexity = complexity
        self._mixes: dict[tuple[str, ...], Mix] = {}
        self._by_strategy: dict[Strategy, Callable[[Sequence[Candidate], Call, int], Order]] = {
            "cheapest": self._cheapest,
            "fastest": self._fastest,
            "balanced": self._balanced,
            "quality-first": self._best,
            "mix": self._mixed,
            "complexity": self._fitting,
        }

    def order(self, strategy: Strategy, candidates: Sequence[Candidate], call: Call, now: int) -> Order:
        """Return the candidates, of which there is at least one, in the order of a strategy."""
        return self._by_strategy[strategy](candidates, call, now)

    def cost(self, candidate: Candidate, call: Call, now: int) -> float:
        """Return what a call probably costs, in picodollars; infinite if no price covers the model."""
        rates = self._prices(candidate.provider, candidate.model, now)
        if rates is None:
            return math.inf
        usual = self._statistics.output_tokens((candidate.provider, candidate.model))
        answer = round(usual or _USUAL_ANSWER)
        if call.max_tokens is not None:
            answer = min(answer, call.max_tokens)
        return rates.cost(call.prompt_tokens, answer)

    def _cheapest(self, candidates: Sequence[Candidate], call: Call, now: int) -> Order:
        return _least(candidates, [self.cost(one, call, now) for one in candidates], _money)

    def _fastest(self, candidates: Sequence[Candidate], call: Call, now: int) -> Order:
        trial = self._trial(candidates, now)
        if trial is not None:
            return trial
        return _least(candidates, [self._time(one, call) for one in candidates], _milliseconds)

    def _best(self, candidates: Sequence[Candidate], call: Call, now: int) -> Order:
        ranked = sorted(candidates, key=lambda one: (-one.quality, self.cost(one, call, now)))
        return Order(ranked, ", then ".join(f"{one.name} quality {one.quality}" for one in ranked[:2]))

    def _balanced(self, candidates: Sequence[Candidate], call: Call, now: int) -> Order:
        """Add up doublings of the least cost and of the least time, and points of quality below the best."""
        trial = self._trial(candidates, now)
        if trial is not None:
            return trial
        weights, best = self._weights, max(one.quality for one in candidates)
        costs = _doublings([self.cost(one, call, now) for one in candidates])
        times = _doublings([self._time(one, call) for one in candidates])
        penalties = [
            weights.cost * cost
            + weights.latency * time
            + weights.quality * (best - one.quality) / _QUALITY_OF_A_DOUBLING
            for one, cost, time in zip(candidates, costs, times, strict=True)
        ]
        return _least(candidates, penalties, "penalty {:.2f}".format)

    def _mixed(self, candidates: Sequence[Candidate], _call: Call, _now: int) -> Order:
        shares = {candidate.name: candidate.share for candidate in candidates}
        if not any(shares.values()):  # those with a share are all away
            return Order(candidates, f"{candidates[0].name}: nobody here has a share")
        turn = self._mix(shares).turn()
        ranked = sorted(candidates, key=lambda one: (one.name != turn, -one.share))
        return Order(ranked, f"{turn}: its turn, share {shares[turn]} of {sum(shares.values())}")

    def _mix(self, shares: dict[str, int]) -> Mix:
        """Return the turns of just these, as others may be away for a while."""
        names = tuple(shares)
        mix = self._mixes.get(names)
        if mix is None:
            if len(self._mixes) >= _MOST_MIXES:
                del self._mixes[next(iter(self._mixes))]
            mix = self._mixes[names] = Mix(shares)
        return mix

    def _fitting(self, candidates: Sequence[Candidate], call: Call, _now: int) -> Order:
        """Put the least trusted of those trusted with this much first, then the more trusted."""
        score = self._complexity(call.prompt)
        fit = sorted((one for one in candidates if score <= one.up_to), key=lambda one: one.up_to)
        below = sorted((one for one in candidates if score > one.up_to), key=lambda one: -one.up_to)
        ranked = [*fit, *below]
        sign, first = ("<=", fit[0]) if fit else (">", below[0])
        return Order(ranked, f"{score:.2f} {sign} {first.up_to:.2f}: {first.name}", score)

    def _trial(self, candidates: Sequence[Candidate], now: int) -> Order | None:
        for candidate in candidates:
            if self._statistics.claims_trial((candidate.provider, candidate.model), now):
                rest = [other for other in candidates if other is not candidate]
                return Order([candidate, *rest], f"{candidate.name}: on trial, too little is known of it")
        return None

    def _time(self, candidate: Candidate, call: Call) -> float:
        known = self._statistics.latency((candidate.provider, candidate.model), streamed=call.stream)
        return math.inf if known is None else known


def _doublings(values: Sequence[float]) -> list[float]:
    """Return how often each doubles the least; unknown ones count as the most, none known as equal."""
    known = [value for value in values if value < math.inf]
    if not known:
        return [0.0] * len(values)
    least, most = max(min(known), 1.0), max(known)
    return [math.log2(max(min(value, most), least) / least) for value in values]


def _least(candidates: Sequence[Candidate], figures: Sequence[float], told: Callable[[float], str]) -> Order:
    """Put the least figure first; ties keep their order."""
    places = sorted(range(len(candidates)), key=figures.__getitem__)
    first_two = (f"{candidates[place].name} {told(figures[place])}" for place in places[:2])
    return Order([candidates[place] for place in places], ", then ".join(first_two))


def _money(cost: float) -> str:
    return "unpriced" if cost == math.inf else f"${cost / PICO:.6f}"


def _milliseconds(time: float) -> str:
    return "of unknown speed" if time == math.inf else f"{time / 1000:.0f} ms"
