"""Tukey's fences: how many interquartile ranges a value lies outside of the middle half before it."""

from __future__ import annotations

from msgspec import field, structs

from spendstream.anomalies.calibration import Cooldown, Tail, judged, ratio
from spendstream.anomalies.detector import Score, Stored, finite
from spendstream.anomalies.rolling import Rolling

__all__ = ["InterquartileRange"]


class InterquartileRange(Stored, kw_only=True):
    """For skewed series without seasons: each side has its own quartile to be measured from."""

    values: Rolling = field(default_factory=lambda: Rolling(288))
    tail: Tail = field(default_factory=lambda: Tail(prior=(1.2, 0.45), remembered=5.0))
    cooldown: Cooldown = field(default_factory=Cooldown)
    minimum: int = 20

    def update(self, value: float, at: int) -> Score | None:  # noqa: ARG002  # a Detector is told the time
        """Return how unusual `value` is; see `Detector`."""
        value = finite(value)
        score = self._scored(value) if len(self.values) >= self.minimum else None
        self.values.add(value)
        return score

    def _scored(self, value: float) -> Score | None:
        first, third = self.values.quantile(0.25), self.values.quantile(0.75)
        spread = max(third - first, abs(self.values.median()) / 100)
        outside = max(first - value, value - third, 0.0)
        score = judged(ratio(outside, spread), self.values.median(), spread, self.tail, self.cooldown)
        if score is None:
            return None
        reach = score.high - score.expected
        return structs.replace(score, low=first - reach, high=third + reach)
