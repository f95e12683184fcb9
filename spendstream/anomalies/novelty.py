"""Value novelty: how far a value is from the nearest one ever seen, in several views of its series.

Most detectors predict and measure the error. This one only remembers: in a series of costs or calls, what
never happened before is what people want to be told. Each view keeps the values of one statistic. The
distance to the nearest of them, in standard deviations, becomes a severity by its own tail; the severities
are added up with weights. A level that stays, and seasons of any shape, stop being news by themselves.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

from msgspec import Struct, field

from spendstream.anomalies.calibration import MOST_SEVERE, Cooldown, Tail, ratio
from spendstream.anomalies.detector import Score, Stored, finite
from spendstream.anomalies.rolling import Rolling

__all__ = ["Novelty", "View"]

_WARM_UP = 30
_UNIT = 100  # the logarithmic view tells values apart down to a hundredth of the usual value
_FARTHEST = 1e9
_BAND = 5.0  # spreads around the median of the last day that count as back to normal


class _Moments(Struct, kw_only=True):
    """Count, mean and sum of squared deviations of all values so far (Welford 1962)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        step = value - self.mean
        self.mean += step / self.count
        self.squares += step * (value - self.mean)

    def deviation(self) -> float:
        """Return the standard deviation; never zero, unless all values are."""
        return max(math.sqrt(self.squares / max(self.count, 1)), abs(self.mean) * 1e-9)


class View(Struct, kw_only=True):
    """One statistic of a series, and how new its values are.

    The last `skipped` values are too close to the next by their nature, and not compared with. `gain` says
    from which distance on, in standard deviations, the logarithm flattens distances. What differs from a
    known value by less than the part `grain` of itself is not new.
    """

    statistic: Literal["value", "logarithm", "mean", "deviation"]
    weight: float
    skipped: int
    gain: float
    grain: float
    seen: Rolling
    tail: Tail
    pending: list[float] = field(default_factory=list)
    moments: _Moments = field(default_factory=_Moments)

    @classmethod
    def of(
        cls,
        statistic: Literal["value", "logarithm", "mean", "deviation"],
        weight: float,
        skipped: int,
        *,
        history: int,
        grain: float,
        gain: float = 20.0,
    ) -> View:
        """Return an empty view that remembers `history` values."""
        return cls(
            statistic=statistic,
            weight=weight,
            skipped=skipped,
            gain=gain,
            grain=grain,
            seen=Rolling(history),
            tail=Tail(memory=Rolling(history)),
        )

    def update(self, value: float, deviation: float | None = None) -> float | None:
        """Return the severity of a value, measured in `deviation`s (None: the view's own), and learn it."""
        self.moments.add(value)
        self.pending.append(value)
        if len(self.pending) > self.skipped:
            self.seen.add(self.pending.pop(0))
        if self.moments.count <= max(_WARM_UP, self.skipped + 10):
            return None
        unit = self.moments.deviation() if deviation is None else deviation
        distance = self.seen.nearest(value)
        severity = self.tail.severity(math.log1p(self.gain * ratio(distance, unit, _FARTHEST)))
        return severity if severity is None or distance >= self._least(value) else 0.0

    def _least(self, value: float) -> float:
        return self.grain if self.statistic == "logarithm" else self.grain * abs(value)


def _all_views(history: int, grain: float) -> list[View]:
    of = partial(View.of, history=history, grain=grain)
    return [
        of("value", 1.0, 1, gain=1.0),
        of("logarithm", 0.5, 5),
        of("mean", 0.12, 8),
        of("deviation", 0.12, 48),
        of("deviation", 0.12, 144),
    ]


class Novelty(Stored, kw_only=True):
    """The ensemble, for streams of minutes. Make one with `Novelty.remembering`.

    It has no opinion for its first 130 values. What happened once and left is known from then on: the same
    again is no news until the memory has moved on, and neither is a spike at night to a value that days have.
    """

    views: list[View]
    recent: Rolling = field(default_factory=lambda: Rolling(1_440))
    cooldown: Cooldown = field(default_factory=Cooldown)
    last: list[float] = field(default_factory=list)
    unit: float = 0.0
    """What one is in the logarithmic view: a hundredth of the usual first value; 0: not known yet."""

    @classmethod
    def remembering(cls, history: int = 2_880, *, grain: float = 0.0, only_values: bool = False) -> Novelty:
        """Return one with a memory of `history` values for each view.

        A view takes 32 bytes for each of them, and half of that in a snapshot. With `only_values`, one fifth
        of the size, the views of mean and deviation are left out: slow changes go unseen. In a smooth series
        every record is new by a hair; a `grain` of 0.1 asks for ten per cent.
        """
        views = _all_views(history, grain)
        return cls(views=views[:2] if only_values else views)

    def update(self, value: float, at: int) -> Score | None:  # noqa: ARG002  # a Detector is told the time
        """Return how unusual `value` is; see `Detector`."""
        value = finite(value)
        self._measure(value)
        severities = [self._looked_at(view, value) for view in self.views]
        score = None if severities[0] is None else self._scored(severities)
        self.recent.add(value)
        return score

    def _measure(self, value: float) -> None:
        self.last.append(value)
        del self.last[: -max(_WARM_UP, *(view.skipped for view in self.views))]
        if not self.unit and len(self.last) >= _WARM_UP:
            amounts = sorted(abs(value) for value in self.last if value)
            self.unit = amounts[len(amounts) // 2] / _UNIT if amounts else 0.0

    def _looked_at(self, view: View, value: float) -> float | None:
        if view.statistic == "value":
            return view.update(value)
        if view.statistic == "logarithm":
            return view.update(math.asinh(value / self.unit)) if self.unit else None
        window = self.last[-view.skipped :]
        mean = sum(window) / len(window)
        if view.statistic == "mean":
            return view.update(mean, self.views[0].moments.deviation())
        return view.update(math.sqrt(sum([(each - mean) ** 2 for each in window]) / len(window)))

    def _scored(self, severities: list[float | None]) -> Score:
        weighted = zip(self.views, severities, strict=True)
        severity = sum(view.weight * (severity or 0.0) for view, severity in weighted)
        severity = min(severity, MOST_SEVERE)
        middle = self.recent.median()
        reach = _BAND * max(self.recent.spread(), abs(middle) / 100)
        return Score(
            severity=severity,
            expected=middle,
            low=middle - reach,
            high=middle + reach,
            fresh=self.cooldown.admits(severity),
        )
