"""Episodes: many unusual windows in a row are one thing to tell people about, with a beginning and an end."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, structs

from spendstream.anomalies.detector import CRITICAL, HIGH, WARN, Score, Stored

__all__ = ["Episode", "EpisodeTracker", "Severity", "State", "severity_of"]

Severity = Literal["warn", "high", "critical"]
State = Literal["opened", "worsened", "resolved"]


def severity_of(score: float) -> Severity:
    """Return the name of a severity of at least WARN."""
    if score >= CRITICAL:
        return "critical"
    return "high" if score >= HIGH else "warn"


class Episode(Struct, frozen=True, kw_only=True):
    """What is known of an episode so far. Times are starts of windows, in seconds since 1970 UTC.

    `end` is that of the last unusual window. `peak` is the severest of them, and `value`, `expected`, `low`
    and `high` are its. `impact` is actual minus expected, summed over the episode, in a whole unit.
    """

    state: State
    start: int
    end: int
    measure: str
    severity: Severity
    peak: float
    value: float
    expected: float
    low: float
    high: float
    impact: int


class EpisodeTracker(Stored, kw_only=True):
    """Turns one score after another into notices: opened once, worsened at most twice, resolved once.

    An episode opens with a fresh score of at least `least`. It is over after `hold` windows in a row that are
    neither severe nor out of range, or once it has lasted `longest` windows: that is how things are now.
    """

    hold: int = 3
    longest: int = 1_440
    least: float = WARN
    episode: Episode | None = None
    calm: int = 0
    windows: int = 0
    doubtful: str = (
        "0"  # impact of the calm windows, which count only if it goes on; text, as it is unbounded
    )
    total: str = "0"

    def update(self, score: Score, value: float, at: int, excess: int, measure: str) -> Episode | None:
        """Return what is news about the episode. `excess` is actual minus expected of this window."""
        if self.episode is None:
            return self._open(score, value, at, excess, measure) if score.alert >= self.least else None
        self.windows += 1
        self.doubtful = str(int(self.doubtful) + excess)
        if score.severity >= WARN or not score.low <= value <= score.high:
            news = self._go_on(self.episode, score, value, at)
        else:
            self.calm += 1
            news = None
        return self._close() if self.calm >= self.hold or self.windows >= self.longest else news

    def drop(self) -> None:
        """Forget the episode without a word."""
        self.episode = None

    def _open(self, score: Score, value: float, at: int, excess: int, measure: str) -> Episode:
        self.calm, self.windows = 0, 1
        self.doubtful, self.total = "0", str(excess)
        self.episode = Episode(
            state="opened",
            start=at,
            end=at,
            measure=measure,
            severity=severity_of(score.severity),
            peak=score.severity,
            value=value,
            expected=score.expected,
            low=score.low,
            high=score.high,
            impact=0,
        )
        return self._told(self.episode)

    def _go_on(self, episode: Episode, score: Score, value: float, at: int) -> Episode | None:
        self.calm = 0
        self.total, self.doubtful = str(int(self.total) + int(self.doubtful)), "0"
        before = episode.severity
        episode = structs.replace(episode, end=at)
        if score.severity > episode.peak:
            episode = structs.replace(
                episode,
                peak=score.severity,
                severity=severity_of(score.severity),
                value=value,
                expected=score.expected,
                low=score.low,
                high=score.high,
            )
        self.episode = episode
        if episode.severity == before:
            return None
        return self._told(structs.replace(episode, state="worsened"))

    def _close(self) -> Episode | None:
        episode, self.episode = self.episode, None
        return episode and self._told(structs.replace(episode, state="resolved"))

    def _told(self, episode: Episode) -> Episode:
        return structs.replace(episode, impact=int(self.total))
