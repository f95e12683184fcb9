"""Where spending is going: an expected sum over the time to come, and how far off such sums have been.

The expectation blends closed-form members (recent rates, the same hours of earlier weeks, those at today's
level) by how well each did at twelve earlier moments. What the blend missed there, in logarithms, is the
spread sigma, and the sum to come is taken to be `m * exp(t * sigma * sqrt(1 + 1/k))` with t of Student's
distribution with k - 1 degrees of freedom. This is statistics, in floats of dollars; no sum of money is made
from it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from msgspec import Struct

from spendstream.budgets.periods import MINUTE
from spendstream.budgets.spend import Floats, SpendSeries

__all__ = ["Outlook", "outlook", "student_cdf", "student_quantile"]

_DAY = 24 * 60 * MINUTE
_ORIGINS = 12
_LEAST_ORIGINS = 3  # origins that do not overlap; fewer say too little about the spread
_POWER = 4  # how strongly the blend prefers the members that did well
_LEAST_SPREAD = 0.01  # nothing is known better than to a percent
_WIDEST = math.log(100)
_NOTHING = 0.01  # of the usual sum: so that a stretch without spend has a logarithm


class _Cycle(Struct, frozen=True):
    """The rhythm that the members repeat: `length` microseconds, `count` of which they look back."""

    length: int
    count: int

    @property
    def training(self) -> int:
        """How much history the members need before an origin."""
        return self.length * self.count + self.length // 7


_CYCLES = (_Cycle(7 * _DAY, 4), _Cycle(_DAY, 7), _Cycle(_DAY, 3))
"""The best first; the first for which there is enough history is taken."""


class Outlook(Struct, frozen=True, kw_only=True):
    """What is expected to be spent from `at` on, over `horizon` microseconds, in dollars.

    `spread` is sigma * sqrt(1 + 1/k) of the logarithm, `freedom` is k - 1; both are None while there is too
    little history to know how wrong the expectation can be.
    """

    at: int
    horizon: int
    expected: float
    spread: float | None = None
    freedom: int | None = None
    cycle: _Cycle | None = None
    weights: tuple[float, ...] = ()

    def factor(self, probability: float) -> float | None:
        """Return what to multiply the expectation by, so that spend stays under it with `probability`.

        It is at most a hundred, and at least a hundredth: scattered spend knows no bounds, but messages do.
        """
        if self.spread is None or self.freedom is None:
            return None
        exponent = student_quantile(probability, self.freedom) * self.spread
        return math.exp(min(max(exponent, -_WIDEST), _WIDEST))

    def exceeds(self, dollars: float) -> float | None:
        """Return the probability that more than `dollars` will be spent, or None if it cannot be told."""
        if dollars <= 0:
            return 1.0
        if self.spread is None or self.freedom is None:
            return None
        if self.expected <= 0:
            return 0.0
        return 1 - student_cdf(math.log(dollars / self.expected) / self.spread, self.freedom)

    def path(self, spend: SpendSeries, steps: int) -> tuple[Floats, Floats]:
        """Return `steps` times from `at` to the horizon's end, and the dollars expected by each."""
        ahead = np.linspace(0, self.horizon, steps)
        if self.cycle is None:
            return self.at + ahead, self.expected * ahead / max(self.horizon, 1)
        ends = np.full(steps, float(self.at))
        sums = np.array(self.weights) @ _members(spend, ends, ahead, self.cycle)
        return self.at + ahead, np.maximum.accumulate(sums)


def outlook(spend: SpendSeries, at: int, horizon: int) -> Outlook:
    """Return what to expect of `horizon` microseconds from `at` on, knowing `spend` before `at` only."""
    history = at - spend.since
    for cycle in _CYCLES:
        length = min(horizon, (history - cycle.training) // _LEAST_ORIGINS)
        if length >= min(horizon, cycle.length) and length > 0:
            return _blended(spend, at, horizon, length, cycle)
    window = max(min(history, _DAY), MINUTE)
    recent = spend.dollars(np.array([float(at - window)]), np.array([float(at)]))
    return Outlook(at=at, horizon=horizon, expected=float(recent[0]) * horizon / window)


def _blended(spend: SpendSeries, at: int, horizon: int, length: int, cycle: _Cycle) -> Outlook:
    """Blend the members by their errors over `length`, which is shorter than `horizon` in a short history."""
    first, last = spend.since + cycle.training, at - length
    origins = last - np.arange(_ORIGINS, dtype=np.float64) * min(length, (last - first) / (_ORIGINS - 1))
    independent = min(_ORIGINS, 1 + (last - first) // length)
    actual = spend.dollars(origins, origins + length)
    members = _members(spend, origins, np.full(_ORIGINS, float(length)), cycle)
    weights = 1 / (np.abs(members - actual).mean(axis=1) + 1e-9 * (1 + actual.mean())) ** _POWER
    weights /= weights.sum()
    nothing = _NOTHING * actual.mean() + 1e-12
    missed = np.log((actual + nothing) / (weights @ members + nothing))
    # The level of spend wanders: over a longer time than was tested, errors grow with the root of it.
    sigma = max(float(np.sqrt(np.mean(missed**2))), _LEAST_SPREAD) * math.sqrt(horizon / length)
    now = _members(spend, np.array([float(at)]), np.array([float(horizon)]), cycle)
    return Outlook(
        at=at,
        horizon=horizon,
        expected=float((weights @ now)[0]),
        spread=sigma * math.sqrt(1 + 1 / independent),
        freedom=int(independent) - 1,
        cycle=cycle,
        weights=tuple(weights.tolist()),
    )


def _members(spend: SpendSeries, ends: Floats, ahead: Floats, cycle: _Cycle) -> Floats:
    """Return each member's sum over `ahead` from each of `ends`: an array (members, ends)."""
    last = spend.dollars(ends - cycle.length, ends)
    usual = spend.dollars(ends - cycle.length * cycle.count, ends) / cycle.count
    wholes, rest = np.divmod(ahead, cycle.length)
    repeated = wholes * last + spend.dollars(ends - cycle.length, ends - cycle.length + rest)
    seasonal = wholes * usual + _seasonal(spend, ends, rest, cycle)
    newest = cycle.length // 7
    level = _ratio(
        spend.dollars(ends - newest, ends),
        _seasonal(spend, ends - newest, np.full_like(rest, newest), cycle),
    )
    return np.stack(
        [
            last * ahead / cycle.length,
            usual * ahead / cycle.length,
            repeated,
            seasonal,
            seasonal * np.sqrt(_ratio(last, usual)),
            seasonal * np.sqrt(level),
        ]
    )


def _seasonal(spend: SpendSeries, ends: Floats, ahead: Floats, cycle: _Cycle) -> Floats:
    """Return the mean of what the same stretch of the cycle took in each earlier one."""
    back = ends - cycle.length * np.arange(1, cycle.count + 1)[:, None]
    mean: Floats = spend.dollars(back, back + ahead).mean(axis=0)
    return mean


def _ratio(now: Floats, usual: Floats) -> Floats:
    """Return now / usual between a quarter and four; 1 where nothing is usual."""
    ratio = np.divide(now, usual, out=np.ones_like(now), where=usual > 0)
    return np.clip(ratio, 0.25, 4)


def student_cdf(t: float, freedom: int) -> float:
    """Return P(T <= t) of Student's distribution, by the finite series for whole degrees of freedom.

    Source: Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term = total = cosine if odd and freedom > 1 else float(not odd)
    for index in range(1, (freedom - 1) // 2 if odd else freedom // 2):
        term *= cosine**2 * (2 * index - 1 + odd) / (2 * index + odd)
        total += term
    within = (angle + math.sin(angle) * total) * 2 / math.pi if odd else math.sin(angle) * total
    return min(max((1 + within) / 2, 0.0), 1.0)  # the sum of a long series can miss by a last bit


@lru_cache(maxsize=256)
def student_quantile(probability: float, freedom: int) -> float:
    """Return the t with P(T <= t) = `probability`, by bisection; exact to the float."""
    low, high = -1e6, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, freedom) < probability else (low, middle)
    return (low + high) / 2
