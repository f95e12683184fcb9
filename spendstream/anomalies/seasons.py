"""Seasons that add up, looked up by time: learned at once from a history, then moved value by value."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from msgspec import Struct, field

__all__ = ["Season", "polish"]

_ROUNDS = 4  # the median polish moves little after these


class Season(Struct, kw_only=True):
    """Summands that come again every `period` steps of `step` seconds.

    It is learned from a history of at least `needs` values, and not before; `rate` is the part of an error
    that a summand takes up.
    """

    step: int
    period: int
    needs: int
    rate: float
    summands: list[float] = field(default_factory=list)

    def slot(self, at: int) -> int:
        """Return the place of a time, in seconds since 1970 UTC, in the season."""
        return at // self.step % self.period

    def at(self, at: int) -> float:
        """Return the summand of a time; 0 before anything was learned."""
        return self.summands[self.slot(at)] if self.summands else 0.0

    def learn(self, at: int, error: float) -> None:
        """Move the summand of a time by its part of `error`."""
        if self.summands:
            self.summands[self.slot(at)] += self.rate * error


def polish(seasons: Sequence[Season], history: Sequence[tuple[int, float]]) -> list[float]:
    """Learn level and seasons from a history of (time, value), and return what they leave of each value.

    Tukey's median polish: no single anomaly in the history moves a summand. The level is taken out first.
    """
    level = median(value for _, value in history)
    rest = [value - level for _, value in history]
    learned = [season for season in seasons if len(history) >= season.needs]
    for season in learned:
        season.summands = [0.0] * season.period
    for _ in range(_ROUNDS if len(learned) > 1 else 1):
        for season in learned:
            rest = _sweep(season, [season.slot(at) for at, _ in history], rest)
    return rest


def _sweep(season: Season, slots: Sequence[int], rest: Sequence[float]) -> list[float]:
    """Move the median of each slot's rests into its summand."""
    by_slot: defaultdict[int, list[float]] = defaultdict(list)
    for slot, value in zip(slots, rest, strict=True):
        by_slot[slot].append(value)
    middles = {slot: median(values) for slot, values in by_slot.items()}
    for slot, middle in middles.items():
        season.summands[slot] += middle
    return [value - middles[slot] for slot, value in zip(slots, rest, strict=True)]
