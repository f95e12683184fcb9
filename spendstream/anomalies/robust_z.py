"""Robust z-score: how many median absolute deviations a value lies from the median of those before it."""

from __future__ import annotations

from msgspec import field

from spendstream.anomalies.calibration import Cooldown, Tail, judged, ratio
from spendstream.anomalies.detector import Score, Stored, finite
from spendstream.anomalies.rolling import Rolling

__all__ = ["RobustZ"]


class RobustZ(Stored, kw_only=True):
    """For series without seasons; the cheapest detector, and an honest yardstick for the others."""

    values: Rolling = field(default_factory=lambda: Rolling(288))
    tail: Tail = field(default_factory=lambda: Tail(prior=(2.2, 0.6), remembered=5.0))
    cooldown: Cooldown = field(default_factory=Cooldown)
    minimum: int = 20

    def update(self, value: float, at: int) -> Score | None:  # noqa: ARG002  # a Detector is told the time
        """Return how unusual `value` is; see `Detector`."""
        value = finite(value)
        score = self._scored(value) if len(self.values) >= self.minimum else None
        self.values.add(value)
        return score

    def _scored(self, value: float) -> Score | None:
        middle = self.values.median()
        # a series that hardly ever moves would make every move infinitely severe
        spread = max(self.values.spread(), abs(middle) / 100)
        return judged(ratio(abs(value - middle), spread), middle, spread, self.tail, self.cooldown)
