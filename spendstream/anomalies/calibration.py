"""From a distance to a severity that means the same for every detector, and from severities to alerts.

A distance is ranked among those seen before. Beyond all of them, where alarms are decided, ranks say nothing:
there the tail is taken to fall off exponentially, at the pace of the largest distances in memory.
"""

from __future__ import annotations

import math
from bisect import bisect_left

from msgspec import Struct, field

from spendstream.anomalies.detector import WARN, Score
from spendstream.anomalies.rolling import Rolling

__all__ = ["MOST_SEVERE", "Cooldown", "Tail", "judged", "ratio"]

MOST_SEVERE = 300.0
"""Severities end here, before their probabilities underflow."""

_LN10 = math.log(10)
_FLOOR = 1e-3  # the least mean excess, absolute and relative to the threshold: ties make it zero
_FARTHEST = 1e3  # in spreads; what is even farther off says nothing more


class Tail(Struct, kw_only=True):
    """Turns distances (>= 0, without unit) into severities.

    The highest 3 % of the distances in `memory` give the tail, looked at anew every 20 distances. With less
    than `minimum` distances in memory it is that of `prior` (the distance that 97 % do not exceed, and the
    mean excess over it), or nothing is said. With `remembered`, a distance enters the memory as that severity
    at most, so that an anomaly does not make the next one look normal.
    """

    memory: Rolling = field(default_factory=lambda: Rolling(2_000))
    minimum: int = 100
    prior: tuple[float, float] | None = None
    remembered: float | None = None
    body: float = 0.97
    threshold: float = 0.0
    excess: float = 0.0
    age: int = 0  # distances since the tail was looked at; 0 before the first look

    def severity(self, distance: float) -> float | None:
        """Return the severity of a distance, and learn it; None while too little is known."""
        self._look()
        severity = self._judge(distance) if self.excess else None
        if severity is not None and self.remembered is not None and severity > self.remembered:
            distance = self.distance(self.remembered)
        self.memory.add(distance)
        return severity

    def distance(self, severity: float) -> float:
        """Return the distance that is as severe as `severity`, which lies in the tail."""
        return self.threshold + max(severity + math.log10(1 - self.body), 0.0) * self.excess * _LN10

    def _judge(self, distance: float) -> float:
        if distance > self.threshold:
            severity = (distance - self.threshold) / self.excess / _LN10 - math.log10(1 - self.body)
            return min(severity, MOST_SEVERE)
        if self.prior and len(self.memory) < self.minimum:
            return -math.log10(1 - self.body) * distance / self.threshold
        at_least = len(self.memory) - bisect_left(self.memory.ordered, distance)
        return -math.log10((at_least + 1) / (len(self.memory) + 1))

    def _look(self) -> None:
        count = len(self.memory)
        if count < self.minimum:
            if self.prior:
                self.threshold, self.excess = self.prior
            return
        self.age = self.age % 20 + 1
        if self.age > 1:
            return
        ordered = self.memory.ordered
        highest = ordered[int(self.body * count) :]
        self.threshold = highest[0]
        above = [distance - self.threshold for distance in highest if distance > self.threshold]
        mean = sum(above) / len(above) if above else 0.0
        self.excess = max(mean, _FLOOR * self.threshold, _FLOOR)


class Cooldown(Struct, kw_only=True):
    """Lets a severity pass only if it is the highest of the last `length`, so that an episode alerts once."""

    length: int = 80
    count: int = 0
    peaks: list[tuple[int, float]] = field(default_factory=list)  # falling severities, each with its number

    def admits(self, severity: float) -> bool:
        """Tell whether `severity` is news, and remember it."""
        while self.peaks and self.peaks[0][0] < self.count - self.length:
            self.peaks.pop(0)
        news = not self.peaks or severity > self.peaks[0][1]
        while self.peaks and self.peaks[-1][1] <= severity:
            self.peaks.pop()
        self.peaks.append((self.count, severity))
        self.count += 1
        return news


def ratio(distance: float, spread: float, farthest: float = _FARTHEST) -> float:
    """Return a distance in spreads, limited so that no single value rules a tail; 0/0 is 0."""
    if distance <= spread * farthest:
        return distance / spread if spread else 0.0
    return farthest


def judged(distance: float, expected: float, spread: float, tail: Tail, cooldown: Cooldown) -> Score | None:
    """Return the score of a value that lies `distance` spreads from what is expected."""
    severity = tail.severity(distance)
    if severity is None:
        return None
    reach = tail.distance(WARN) * spread
    return Score(
        severity=severity,
        expected=expected,
        low=expected - reach,
        high=expected + reach,
        fresh=cooldown.admits(severity),
    )
