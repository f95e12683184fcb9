"""The ledger of one source: which events are new, and which windows they change. Pure, and replayable.

A *source* is one partition of one incarnation of a topic. Kafka delivers its records at least once, in order,
in blocks whose bounds move after a restart. The ledger turns that into effectively-once:

- The first delivery of an event id wins. Every later position with the same id is a duplicate.
- A window is a full state with a version: the last position that was counted into it. Later ones are not in
  it. So each window knows by itself what it has counted, and a write that reached only some of the windows
  before a crash does no harm. Versions do not depend on where blocks begin and end, so that a replay writes
  the same rows, bit for bit.

ClickHouse holds both, and is asked for what is not in memory: ids of events older than the horizon, and
windows that were evicted or written by an earlier life. Memory is bounded by the horizon and by `capacity`,
never by the age of the stream. The caller asks the questions, lands what the ledger returns, and only then
acknowledges the block; it must never skip a block, since versions say that all before them was counted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from spendstream import latency
from spendstream.allocation.windows import AllocationMeasures
from spendstream.batches import Batch
from spendstream.rightsizing.days import ContainerDay
from spendstream.tally import after
from spendstream.windows import Added, Entry, Measures, Usage, WindowKey, newest_starts, plus

__all__ = ["ELSEWHERE", "Admission", "Ledger", "WindowState"]

ELSEWHERE = -1
"""The position of an id that another source delivered first: no position of this source equals it."""

_NEVER = -1  # before the start of any window
_BUCKET = 60_000_000  # ids are forgotten a minute of event time at a time


class WindowState(NamedTuple):
    """All that positions up to `version`, the last one counted, have added to one window.

    `latency` counts the durations of calls by bucket (see `spendstream.latency`), in windows of an hour.
    """

    key: WindowKey
    version: int
    measures: Measures | AllocationMeasures | ContainerDay
    latency: Mapping[int, int] = {}

    def plus(self, added: Added) -> WindowState:
        """Return the next state."""
        return WindowState(
            self.key,
            added.last,
            plus(self.measures, added.measures),
            latency.merged(self.latency, added.latency),
        )


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """A block without its duplicates, in order of positions.

    Of the `counted` events, the `fresh` ones have no row in ClickHouse yet; the others have, but may not be
    counted in all windows. Both are one batch unless a block is read again.
    """

    counted: Batch
    fresh: Batch
    duplicates: int

    def without(self, positions: Collection[int]) -> Admission:
        """Return the admission without fresh events that ClickHouse refused."""
        if not positions:
            return self
        return msgspec.structs.replace(
            self,
            counted=Batch([entry for entry in self.counted.entries if entry.position not in positions]),
            fresh=Batch([entry for entry in self.fresh.entries if entry.position not in positions]),
        )


class IdIndex:
    """Where each event id was delivered first, complete for events at or after `floor`."""

    def __init__(self, horizon: int) -> None:
        """Keep ids of events up to `horizon` microseconds older than the newest one."""
        self._horizon = horizon
        self._buckets: dict[int, dict[int, int]] = {}
        self.floor = 0

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def restore(self, first_positions: Iterable[tuple[int, int, int]], floor: int) -> None:
        """Start from (id, event time, first position) of all stored events at or after `floor`."""
        self.floor = floor
        for event_id, event_time, position in first_positions:
            self.claim(event_id, event_time, position)

    def claim(self, event_id: int, event_time: int, position: int) -> int | None:
        """Return the first position of a known id; remember `position` for a new one and return None."""
        bucket = self._buckets.get(event_time // _BUCKET)
        if bucket is None:
            bucket = self._buckets[event_time // _BUCKET] = {}
        first = bucket.get(event_id)
        if first is None:
            bucket[event_id] = position
        return first

    def release(self, event_id: int, event_time: int) -> None:
        """Forget an id whose event did not land after all."""
        self._buckets.get(event_time // _BUCKET, {}).pop(event_id, None)

    def advance(self, newest: int) -> None:
        """Forget what the horizon has passed, now that the newest event is at `newest`."""
        bucket = (newest - self._horizon) // _BUCKET
        if bucket * _BUCKET <= self.floor:
            return
        self.floor = bucket * _BUCKET
        for passed in [known for known in self._buckets if known < bucket]:
            del self._buckets[passed]


class Ledger:
    """What one source has counted so far.

    For each block, in order: `unknown_ids`, `admit`, land the fresh events, `tally` the counted ones,
    `unknown_windows`, `count`, land the windows, acknowledge.
    """

    def __init__(self, *, horizon: int, capacity: int = 50_000) -> None:
        """Hold ids of `horizon` microseconds of event time, and about `capacity` windows."""
        self._ids = IdIndex(horizon)
        self._capacity = capacity
        self._windows: OrderedDict[WindowKey, WindowState] = OrderedDict()
        self._newest_stored: dict[int, int] = {}

    def restore(
        self, first_positions: Iterable[tuple[int, int, int]], floor: int, newest_stored: Mapping[int, int]
    ) -> None:
        """Take over from an earlier life.

        `first_positions` are the (id, event time, first position) of stored events at or after `floor`;
        `newest_stored` is the start of this source's newest stored window, by size.
        """
        self._ids.restore(first_positions, floor)
        self._newest_stored = dict(newest_stored)

    def unknown_ids(self, block: Sequence[Entry]) -> list[Usage]:
        """Return the events of a block whose ids only ClickHouse can know."""
        floor = self._ids.floor
        return [entry.event for entry in block if entry.event.event_time < floor]

    def admit(self, block: Sequence[Entry], first_positions: Mapping[int, int]) -> Admission:
        """Return the block without duplicates; `first_positions` answers `unknown_ids`, by id."""
        counted, fresh = [], []
        floor, claim = self._ids.floor, self._ids.claim
        older: dict[int, int] = {}  # ids below the floor that are new in this block
        newest = 0
        for entry in block:
            position, event, _ = entry
            key, time = event.id.int, event.event_time
            if time >= floor:
                first = claim(key, time, position)
            else:
                first = first_positions.get(key, older.get(key))
                older.setdefault(key, position)
            if first is None:
                fresh.append(entry)
                newest = max(newest, time)
            if first is None or first == position:
                counted.append(entry)
        self._ids.advance(newest)
        all_counted = Batch(counted)
        same = len(fresh) == len(counted)
        return Admission(
            counted=all_counted,
            fresh=all_counted if same else Batch(fresh),
            duplicates=len(block) - len(counted),
        )

    def refuse(self, entries: Iterable[Entry]) -> None:
        """Forget events that ClickHouse refused, so that they can be sent again once mended."""
        for _, event, _ in entries:
            self._ids.release(event.id.int, event.event_time)

    def unknown_windows(self, added: Iterable[WindowKey]) -> list[WindowKey]:
        """Return the windows among those that a tally adds to that only ClickHouse can know."""
        newest, windows = self._newest_stored, self._windows
        return [key for key in added if key.start <= newest.get(key.size, _NEVER) and key not in windows]

    def count(
        self, batch: Batch, added: Mapping[WindowKey, Added], stored: Iterable[WindowState]
    ) -> list[WindowState]:
        """Count a `batch` that adds `added`, and return the windows that it changed.

        `stored` answers `unknown_windows`. A window that has counted a part of the batch gets the rest.
        """
        self._windows |= {state.key: state for state in stored}
        ahead = {
            key: state.version
            for key, add in added.items()
            if (state := self._windows.get(key)) is not None and state.version >= add.first
        }
        changes = {**added, **after(batch, ahead)} if ahead else added
        changed = []
        for key, add in changes.items():
            before = self._windows.get(key)
            if before is None:
                state = WindowState(key, add.last, add.measures, add.latency)
            elif add.last <= before.version:
                continue
            else:
                state = before.plus(add)
            self._windows[key] = state
            self._windows.move_to_end(key)
            changed.append(state)
        self._evict()
        return changed

    def _evict(self) -> None:
        """Forget the windows that were changed longest ago; ClickHouse has them all."""
        excess = len(self._windows) - self._capacity
        evicted = [self._windows.popitem(last=False)[0] for _ in range(excess)]
        for size, start in newest_starts(evicted).items():
            self._newest_stored[size] = max(start, self._newest_stored.get(size, start))
