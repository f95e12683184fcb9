"""Holt-Winters for hours and days: level and seasons, exponentially weighted, errors cut off (winsorised).

All adds up in logarithms, since spend swings by factors: a night's noise is as wide in per cent as a day's. A
trend is left out, as the level follows fast enough and a trend runs away with an anomaly. Errors are measured
by their median, and each side has a tail of its own: quiet hours have long tails downwards, which must not
excuse a spike. Seasons are looked up by time, so that missing windows leave no seam.
"""

from __future__ import annotations

import math
from statistics import median
from typing import Self

from msgspec import field

from spendstream.anomalies.calibration import Cooldown, Tail, ratio
from spendstream.anomalies.detector import WARN, Score, Stored, finite
from spendstream.anomalies.rolling import NORMAL_MAD, Rolling
from spendstream.anomalies.seasons import Season, polish
from spendstream.windows import DAY, HOUR

__all__ = ["HoltWinters"]

_SMALL = 0.2  # of the usual value: added before the logarithm, so that a zero is small and not infinitely so
_LEAST_SPREAD = 0.01  # a series known to a per cent is known well enough
_CUT = 3.0  # spreads; what an error has more than that, nothing learns from
_OPTIMISM = 1.15  # errors in hindsight are smaller than those to come
_UNCERTAIN = 4.9  # short of HIGH: what is said before a whole week was seen
_TWO_SIDES = math.log10(2)  # either side could have raised the alarm


def _tail() -> Tail:
    return Tail(minimum=200, prior=(2.2, 0.7), remembered=5.0)


class HoltWinters(Stored, kw_only=True):
    """For windows of an hour or a day. Make one with `hourly` or `daily`.

    Level and seasons are learned when `history` has as many values as `lessons` says, first after two days or
    two weeks; before that it has no opinion. After the last lesson they only
    move. Before all seasons are learned, no severity is high. Values are at least zero.
    """

    seasons: list[Season]
    lessons: list[int]
    rate: float
    cooldown: Cooldown
    errors: Rolling
    up: Tail = field(default_factory=_tail)
    down: Tail = field(default_factory=_tail)
    history: list[tuple[int, float]] = field(default_factory=list)
    level: float = 0.0
    small: float = 0.0  # 0 before the first lesson

    @classmethod
    def hourly(cls) -> Self:
        """Return one for windows of an hour, with seasons of a day and of a week."""
        return cls(
            seasons=[
                Season(step=HOUR, period=24, needs=48, rate=0.15),
                Season(step=DAY, period=7, needs=7 * 24, rate=0.02),
            ],
            lessons=[48, 7 * 24, 14 * 24, 21 * 24],
            rate=0.1,
            errors=Rolling(14 * 24),
            cooldown=Cooldown(length=24),
        )

    @classmethod
    def daily(cls) -> Self:
        """Return one for windows of a day, with a season of a week."""
        return cls(
            seasons=[Season(step=DAY, period=7, needs=14, rate=0.15)],
            lessons=[14, 28, 56],
            rate=0.3,
            errors=Rolling(56),
            cooldown=Cooldown(length=7),
        )

    def update(self, value: float, at: int) -> Score | None:
        """Return how unusual `value` is; see `Detector`. Raises ValueError for a negative one, too."""
        value = finite(value)
        if value < 0:
            raise ValueError(f"expected a value of at least 0, found {value!r}: logarithms have no other")
        score = self._scored(value, at) if self.small else None
        if self.lessons:
            self.history.append((at, value))
            if len(self.history) >= self.lessons[0]:
                self._lesson()
        return score

    def _scored(self, value: float, at: int) -> Score:
        expected = self.level + sum(season.at(at) for season in self.seasons)
        error = math.log(value + self.small) - expected
        spread = max(self.errors.median() * NORMAL_MAD, _LEAST_SPREAD)
        severity = self._severity(error, spread)
        self._learn(at, error, spread)
        return Score(
            severity=severity,
            expected=self._value(expected),
            low=self._value(expected - self.down.distance(WARN + _TWO_SIDES) * spread),
            high=self._value(expected + self.up.distance(WARN + _TWO_SIDES) * spread),
            fresh=self.cooldown.admits(severity),
        )

    def _severity(self, error: float, spread: float) -> float:
        above = self.up.severity(ratio(max(error, 0.0), spread))
        below = self.down.severity(ratio(max(-error, 0.0), spread))
        severity = max(((above if error > 0 else below) or 0.0) - _TWO_SIDES, 0.0)
        # the first weekend looks like an outage, and the Monday after it like a spike
        return severity if all(season.summands for season in self.seasons) else min(severity, _UNCERTAIN)

    def _learn(self, at: int, error: float, spread: float) -> None:
        self.errors.add(abs(error))
        cut = max(min(error, _CUT * spread), -_CUT * spread)
        self.level += self.rate * cut
        for season in self.seasons:
            season.learn(at, (1 - self.rate) * cut)

    def _value(self, logarithm: float) -> float:
        return max(math.exp(min(logarithm, 230.0)) - self.small, 0.0)  # e^230 is 10^99

    def _lesson(self) -> None:
        """Learn everything anew from the history; forget it after the last lesson."""
        amounts = [value for _, value in self.history if value]
        if not amounts:  # nothing was spent yet: wait for the next value
            self.history = self.history[-self.lessons[0] + 1 :]
            return
        self.small = median(amounts) * _SMALL
        history = [(at, math.log(value + self.small)) for at, value in self.history]
        rest = polish(self.seasons, history)
        at, newest = history[-1]
        today = median(rest[-self.seasons[0].period :])
        self.level = newest - rest[-1] - sum(season.at(at) for season in self.seasons) + today
        self._measure(rest)
        self.lessons.pop(0)
        if not self.lessons:
            self.history = []

    def _measure(self, rest: list[float]) -> None:
        """Start errors and tails anew from those of the history."""
        learned = sum(len(season.summands) for season in self.seasons)
        widened = _OPTIMISM * math.sqrt(len(rest) / (len(rest) - learned))
        middle = median(rest)
        errors = [(each - middle) * widened for each in rest]
        self.errors = Rolling(self.errors.capacity)
        for error in errors[-self.errors.capacity :]:
            self.errors.add(abs(error))
        spread = max(self.errors.median() * NORMAL_MAD, _LEAST_SPREAD)
        self.up, self.down = _tail(), _tail()
        for error in errors:
            self._severity(error, spread)
