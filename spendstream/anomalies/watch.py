"""Watches all keys in windows of one size: window after window in, notices out; silent keys are forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from msgspec import Struct

from spendstream.anomalies.anomaly import Anomaly, Reading
from spendstream.anomalies.keys import Key
from spendstream.anomalies.monitor import Monitor
from spendstream.windows import DAY, HOUR, MINUTE, Measures

__all__ = ["MEMORY", "MOST_KEYS", "Notice", "Snapshot", "Watch"]

MEMORY = MappingProxyType({MINUTE: 2 * DAY, HOUR: 35 * DAY, DAY: 400 * DAY})
"""By window size: how many seconds stored windows are read back, and a silent key is remembered."""

MOST_KEYS = 2_000
"""How many keys are watched in windows of one size; who comes later is not watched until there is room."""

_STORED_EVERY = MappingProxyType({MINUTE: 30 * MINUTE, HOUR: HOUR, DAY: DAY})


class Notice(Struct, frozen=True, kw_only=True):
    """An anomaly, and whom it was found at."""

    key: Key
    size: int
    anomaly: Anomaly


class Snapshot(Struct, frozen=True, kw_only=True):
    """A monitor at rest. `last` is the newest window in it, `seen` the newest that was not silent."""

    key: Key
    size: int
    last: int
    seen: int
    state: bytes


class _Watched(Struct, kw_only=True):
    monitor: Monitor
    seen: int
    stored: int | None = None  # the newest window in the newest stored snapshot


class Watch:
    """The monitors of all keys in windows of `size` seconds. Deterministic."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._watched: dict[Key, _Watched] = {}

    def __len__(self) -> int:
        return len(self._watched)

    @property
    def due(self) -> int | None:
        """The first window that some monitor has not seen; None without any monitor."""
        return min((each.monitor.last + self.size for each in self._watched.values()), default=None)

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot; raise ValueError if it is none of this version's."""
        monitor = Monitor(snapshot.key.text, self.size)
        monitor.restore(snapshot.state)
        self._watched[snapshot.key] = _Watched(monitor=monitor, seen=snapshot.seen, stored=snapshot.last)

    def feed(self, start: int, readings: Mapping[Key, Reading]) -> Iterator[list[Notice]]:
        """Feed the window at `start`, key by key, and yield what each has to tell.

        A key without a reading has spent nothing. Keys that saw the window already ignore it.
        """
        silence = Reading(start=start, measures=Measures())
        for key in sorted({*self._watched, *readings}, key=lambda key: key.order):
            reading = readings.get(key)
            watched = self._watched.get(key) or self._start(key, start)
            if watched is None:
                continue
            if reading is not None:
                watched.seen = max(watched.seen, start)
            found = watched.monitor.update(reading or silence)
            yield [Notice(key=key, size=self.size, anomaly=anomaly) for anomaly in found]

    def forget(self, now: int) -> None:
        """Forget the keys that have been silent for too long at `now`, seconds."""
        floor = now - MEMORY[self.size]
        self._watched = {key: each for key, each in self._watched.items() if each.seen >= floor}

    def snapshots(self) -> Iterator[Snapshot]:
        """Yield the snapshots that are due to be stored."""
        every = _STORED_EVERY[self.size]
        for key, watched in list(self._watched.items()):
            last = watched.monitor.last
            if watched.stored is None or last - watched.stored >= every:
                state = watched.monitor.snapshot()
                yield Snapshot(key=key, size=self.size, last=last, seen=watched.seen, state=state)

    def stored(self, snapshots: Iterable[Snapshot]) -> None:
        """Note down that `snapshots` are stored."""
        for snapshot in snapshots:
            if snapshot.key in self._watched:
                self._watched[snapshot.key].stored = snapshot.last

    def goes_on(self, notice: Notice) -> bool:
        """Tell whether the episode of a notice goes on; one that the monitor has not come to yet does."""
        watched = self._watched.get(notice.key)
        if watched is None:
            return False
        unseen = notice.anomaly.window > watched.monitor.last
        return unseen or notice.anomaly.id in watched.monitor.open_ids()

    def _start(self, key: Key, start: int) -> _Watched | None:
        if len(self._watched) >= MOST_KEYS:
            return None
        watched = _Watched(monitor=Monitor(key.text, self.size), seen=start)
        self._watched[key] = watched
        return watched
