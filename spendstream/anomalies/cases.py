"""The book of a key's cases: their episodes, their ids, and what people said of them."""

from __future__ import annotations

from hashlib import blake2b
from uuid import UUID

import msgspec
from msgspec import Struct, field, structs

from spendstream.anomalies.anomaly import Anomaly, AnomalyType
from spendstream.anomalies.detector import WARN, Score
from spendstream.anomalies.episode import EpisodeTracker, severity_of
from spendstream.anomalies.finds import Find
from spendstream.ids import derived_id
from spendstream.windows import DAY, HOUR, MINUTE

__all__ = ["Cases", "Sighting"]

_TOLERANCE = 30 * DAY  # how long a false alarm is remembered
_REMEMBERED = 256  # notices that feedback can come to


class Sighting(Struct, frozen=True, kw_only=True):
    """The score of a measure in a window, as evidence in the case `name`.

    `excess` is picodollars more than expected; None where the measure is not money.
    """

    type: AnomalyType
    name: str
    measure: str
    score: Score
    value: float
    excess: int | None = None
    least: float = WARN


class _Told(Struct, kw_only=True):
    name: str
    peak: float


class Cases(Struct, kw_only=True):
    """The cases of one key in windows of one size, and its feedback. Bounded."""

    key: str
    size: int
    trackers: dict[str, EpisodeTracker] = field(default_factory=dict)
    told: dict[str, _Told] = field(default_factory=dict)  # by id
    tolerated: dict[str, tuple[float, int]] = field(default_factory=dict)  # severity, and until when
    plans: list[tuple[int, int]] = field(default_factory=list)

    def measure_of(self, name: str) -> str | None:
        """Return the measure in which a case is open; None if it is not."""
        tracker = self.trackers.get(name)
        return tracker.episode.measure if tracker and tracker.episode else None

    def open_ids(self) -> set[UUID]:
        """Return the ids of the episodes that go on."""
        return {
            self._id(name, tracker.episode.start)
            for name, tracker in self.trackers.items()
            if tracker.episode is not None
        }

    def see(self, sighting: Sighting, at: int) -> Anomaly | None:
        """Return what a sighting in the window `at` makes news."""
        severity, until = self.tolerated.get(sighting.name, (0.0, 0))
        score = sighting.score
        if score.severity <= severity and at < until:
            score = structs.replace(score, fresh=False)
        tracker = self._tracker(sighting.name, sighting.least)
        episode = tracker.update(score, sighting.value, at, sighting.excess or 0, sighting.measure)
        if episode is None:
            return None
        anomaly = self._id(sighting.name, episode.start)
        self._remember(anomaly, _Told(name=sighting.name, peak=episode.peak))
        return Anomaly(
            id=anomaly,
            type=sighting.type,
            key=self.key,
            state=episode.state,
            window=at,
            start=episode.start,
            end=episode.end,
            measure=episode.measure,
            value=episode.value,
            expected=episode.expected,
            low=episode.low,
            high=episode.high,
            severity=episode.severity,
            score=episode.peak,
            impact=None if sighting.excess is None else episode.impact,
            planned=self._is_planned(at),
        )

    def tell(self, find: Find, at: int) -> Anomaly:
        """Return the notice of a find in the window `at`."""
        return Anomaly(
            id=self._id(f"{find.type} {find.name}", at),
            type=find.type,
            key=self.key,
            state="told",
            window=at,
            start=at,
            end=at,
            measure=find.name,
            value=find.value,
            expected=find.expected,
            low=find.expected,
            high=find.expected,
            severity=severity_of(find.score),
            score=find.score,
            prices=find.prices,
            planned=self._is_planned(at),
        )

    def plan(self, start: int, end: int) -> None:
        """Mark what is found in windows from `start` until before `end` (seconds) as planned."""
        if end <= start:
            raise ValueError(f"a planned time ends after it starts, found {start} until {end}")
        self.plans = [*self.plans[1 - _REMEMBERED :], (start, end)]

    def take_back(self, anomaly: UUID, now: int) -> bool:
        """Close a case unsaid, and tolerate its severity for 30 days; False if it is not known (any more)."""
        told = self.told.get(str(anomaly))
        if told is None:
            return False
        tracker = self.trackers[told.name]
        if tracker.episode is not None and self._id(told.name, tracker.episode.start) == anomaly:
            told.peak = max(told.peak, tracker.episode.peak)
            tracker.drop()
        tolerated, _ = self.tolerated.get(told.name, (0.0, 0))
        self.tolerated[told.name] = (max(tolerated, told.peak), now + _TOLERANCE)
        return True

    def _tracker(self, name: str, least: float) -> EpisodeTracker:
        if name not in self.trackers:
            hold, longest = _patience(self.size)
            self.trackers[name] = EpisodeTracker(hold=hold, longest=longest, least=least)
        return self.trackers[name]

    def _remember(self, anomaly: UUID, told: _Told) -> None:
        self.told[str(anomaly)] = told
        if len(self.told) > _REMEMBERED:
            del self.told[next(iter(self.told))]

    def _id(self, name: str, start: int) -> UUID:
        """Return the same id for the same find, however often its windows are seen."""
        digest = blake2b(msgspec.json.encode((self.key, name)), digest_size=32).digest()
        return derived_id(start * 1_000_000, digest, self.size)

    def _is_planned(self, at: int) -> bool:
        return any(start <= at < end for start, end in self.plans)


def _patience(size: int) -> tuple[int, int]:
    """Return after how many calm windows an episode is over, and after how many it is how things are."""
    if size < HOUR:
        return max(10 * MINUTE // size, 1), DAY // size
    return (3, 7 * DAY // size) if size < DAY else (2, 14)
