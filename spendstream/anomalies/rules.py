"""Finds that need no statistics of their own, or little: what is new, unpriced, failing, or no longer cached.

Prices have a module of their own, `price_change`.
"""

from __future__ import annotations

import math

from msgspec import Struct, field

from spendstream.anomalies.calibration import MOST_SEVERE, Cooldown
from spendstream.anomalies.detector import WARN, Score, Stored, finite
from spendstream.anomalies.rolling import Rolling

__all__ = ["CacheCollapse", "ColdStart", "ErrorSpike", "NewNames", "Unpriced"]

_NAMES = 4_096


class NewNames(Stored, kw_only=True):
    """Tells names, such as models or keys, that were never seen before; after a warm-up of some windows.

    Of 4,096 names the one not seen for longest is forgotten first; it would be new again.
    """

    warm_up: int
    windows: int = 0
    seen: dict[str, None] = field(default_factory=dict)

    def update(self, names: list[str]) -> list[str]:
        """Return those of a window's names that are new, in their order."""
        self.windows += 1
        new = [name for name in dict.fromkeys(names) if name not in self.seen]
        for name in names:
            self.seen.pop(name, None)
            self.seen[name] = None
        while len(self.seen) > _NAMES:
            del self.seen[next(iter(self.seen))]
        return new if self.windows > self.warm_up else []


class Unpriced(Stored, kw_only=True):
    """Tells models that no price covers: each once, and again only after it had a price in between."""

    open: dict[str, None] = field(default_factory=dict)

    def update(self, model: str, events: int, unpriced: int) -> bool:
        """Tell whether it is news that `unpriced` of a model's `events` have no price."""
        if not unpriced:
            if events:
                self.open.pop(model, None)
            return False
        news = model not in self.open
        self.open[model] = None
        if len(self.open) > _NAMES:
            del self.open[next(iter(self.open))]
        return news


class _Share(Struct, kw_only=True):
    """A share of calls, such as hits or errors: its level, and how much more it swings than a coin would."""

    rate: float = 0.05
    windows: int = 0
    level: float = 0.0
    swing: float = 1.0  # variance over a coin's; never taken for less

    def severity(self, share: float, calls: int) -> float:
        """Return -log10 of at most how probable this share is (Chernoff's bound), the swing considered."""
        level = min(max(self.level, 0.5 / calls), 1 - 0.5 / calls)
        divergence = sum(
            part * math.log(part / whole) for part, whole in ((share, level), (1 - share, 1 - level)) if part
        )
        return min(max(calls * divergence, 0.0) / self.swing / math.log(10), MOST_SEVERE)

    def reach(self, calls: int) -> float:
        """Return how far from the level a share may be without a warning, roughly."""
        return math.sqrt(2 * WARN * math.log(10) * self.level * (1 - self.level) * self.swing / calls)

    def learn(self, share: float, calls: int, *, unusual: bool) -> None:
        """Follow the share; slowly while it is unusual, so that it stays so for a while."""
        self.windows += 1
        rate = self.rate / 10 if unusual else max(self.rate, 1 / self.windows)
        variance = self.level * (1 - self.level) / calls
        if variance:
            swing = min((share - self.level) ** 2 / variance, 9 * self.swing)
            self.swing = max(self.swing + rate * (swing - self.swing), 1.0)
        self.level += rate * (share - self.level)


class _ShareRule(Stored, kw_only=True):
    share: _Share = field(default_factory=_Share)
    least_calls: int = 30
    warm_up: int = 12

    def update(self, part: int, calls: int) -> Score | None:
        """Return how unusual it is that `part` of a window's `calls` were so; None with too few of either.

        Severity is 0 where the share moved the harmless way, or too little to matter.
        """
        if calls < self.least_calls:
            return None
        now, share = part / calls, self.share
        severity = share.severity(now, calls) if self._matters(now, share.level) else 0.0
        known = share.windows >= self.warm_up
        reach = share.reach(calls)
        score = Score(
            severity=severity,
            expected=share.level,
            low=max(share.level - reach, 0.0),
            high=min(share.level + reach, 1.0),
        )
        share.learn(now, calls, unusual=known and severity >= WARN)
        return score if known else None

    def _matters(self, now: float, level: float) -> bool:
        raise NotImplementedError


class CacheCollapse(_ShareRule, kw_only=True):
    """The hit ratio falls below half of its recent level."""

    least_level: float = 0.05

    def _matters(self, now: float, level: float) -> bool:
        return level >= self.least_level and now < level / 2


class ErrorSpike(_ShareRule, kw_only=True):
    """Errors rise above three times their recent level, and by at least five of a hundred calls."""

    def _matters(self, now: float, level: float) -> bool:
        return now > max(3 * level, level + 0.05)


class ColdStart(Stored, kw_only=True):
    """A `Detector` for as long as no other knows enough: four times the largest value so far is a warning.

    It speaks after six values. Each further doubling adds half of a warning's severity.
    """

    values: Rolling = field(default_factory=lambda: Rolling(200))
    cooldown: Cooldown = field(default_factory=lambda: Cooldown(length=24))
    minimum: int = 6

    def update(self, value: float, at: int) -> Score | None:  # noqa: ARG002  # a Detector is told the time
        """Return how unusual `value` is; see `Detector`."""
        value = finite(value)
        score = self._scored(value) if len(self.values) >= self.minimum else None
        self.values.add(value)
        return score

    def _scored(self, value: float) -> Score | None:
        largest = self.values.ordered[-1]
        if largest <= 0:
            return None
        severity = max(math.log2(value / largest), 0.0) * WARN / 2 if value > 0 else 0.0
        severity = min(severity, MOST_SEVERE)
        return Score(
            severity=severity,
            expected=self.values.median(),
            low=min(self.values.ordered[0], 0.0),
            high=4 * largest,
            fresh=self.cooldown.admits(severity),
        )
