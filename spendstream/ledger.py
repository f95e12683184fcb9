"""The ledger of one source: which events are new, and which windows they change. Pure, and replayable.

A *source* is one partition of one incarnation of a topic. Kafka delivers its records at least once, in order,
in blocks whose bounds move after a restart. The ledger turns that into effectively-once:

- The first delivery of an event id wins. Every later offset with the same id is a duplicate.
- A window is a full state with a version: the last offset that was counted into it. Later offsets are not in
  it. So each window knows by itself what it has counted, and a write that reached only some of the windows
  before a crash does no harm. Versions do not depend on where blocks begin and end, so that a replay writes
  the same rows, bit for bit.

ClickHouse holds both, and is asked for what is not in memory: ids of events older than the horizon, and
windows that were evicted or written by an earlier life. Memory is bounded by the horizon and by `capacity`,
never by the age of the stream. The caller asks the questions, lands what the ledger returns, and only then
acknowledges the block; it must never skip a block, since versions say that all before them was counted.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from spendstream.windows import WINDOW_SIZES, Entry, Measures, Usage, WindowKey, by_minute, newest_starts

__all__ = ["ELSEWHERE", "Admission", "Ledger", "Tally", "WindowState"]

ELSEWHERE = -1
"""The offset of an id that another source delivered first: no offset of this source equals it."""

_NEVER = -1  # the version of a window that nothing was counted into
_BUCKET = 60_000_000  # ids are forgotten a minute of event time at a time


class WindowState(NamedTuple):
    """All that offsets up to `version`, the last one counted, have added to one window."""

    key: WindowKey
    version: int
    measures: Measures


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """A block without its duplicates, in order of offsets.

    Of the `entries`, the `fresh` ones have no row in ClickHouse yet; the others have, but may not be counted
    in all windows.
    """

    entries: Sequence[Entry]
    fresh: Sequence[Entry]
    duplicates: int

    def without(self, offsets: set[int]) -> Admission:
        """Return the admission without fresh entries that ClickHouse refused."""
        return msgspec.structs.replace(
            self,
            entries=[entry for entry in self.entries if entry.offset not in offsets],
            fresh=[entry for entry in self.fresh if entry.offset not in offsets],
        )


class _Group(NamedTuple):
    """The entries of a block that fall into one finest window, in order, and what they add up to."""

    entries: Sequence[Entry]
    total: Measures

    def after(self, version: int) -> Measures:
        """Return what the offsets after `version` add up to."""
        if version < self.entries[0].offset:
            return self.total
        return Measures.of([event for offset, event, _ in self.entries if offset > version])


class Tally(msgspec.Struct, frozen=True):
    """What a block adds, by every window of every size that it touches."""

    touched: Mapping[WindowKey, Sequence[_Group]]

    @classmethod
    def of(cls, admission: Admission) -> Tally:
        """Return what the admitted entries add up to."""
        touched: defaultdict[WindowKey, list[_Group]] = defaultdict(list)
        for key, entries in by_minute(admission.entries).items():
            group = _Group(entries, Measures.of([entry.event for entry in entries]))
            for size in WINDOW_SIZES:
                touched[key.widened(size)].append(group)
        return cls(touched)

    def added_to(self, state: WindowState) -> WindowState:
        """Return the window's next state; the same one if it has counted the block already."""
        groups = self.touched[state.key]
        last = max(group.entries[-1].offset for group in groups)
        if last <= state.version:
            return state
        measures = state.measures
        for group in groups:
            measures = measures.plus(group.after(state.version))
        return WindowState(state.key, last, measures)


class IdIndex:
    """Where each event id was delivered first, complete for events at or after `floor`."""

    def __init__(self, horizon: int) -> None:
        """Keep ids of events up to `horizon` microseconds older than the newest one."""
        self._horizon = horizon
        self._buckets: dict[int, dict[int, int]] = {}
        self.floor = 0

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def restore(self, first_offsets: Iterable[tuple[int, int, int]], floor: int) -> None:
        """Start from (id, event time, first offset) of all stored events at or after `floor`."""
        self.floor = floor
        for event_id, event_time, offset in first_offsets:
            self.claim(event_id, event_time, offset)

    def claim(self, event_id: int, event_time: int, offset: int) -> int | None:
        """Return the first offset of a known id; remember `offset` for a new one and return None."""
        bucket = self._buckets.get(event_time // _BUCKET)
        if bucket is None:
            bucket = self._buckets[event_time // _BUCKET] = {}
        first = bucket.get(event_id)
        if first is None:
            bucket[event_id] = offset
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

    For each block, in order: `unknown_ids`, `admit`, land the fresh events, `Tally.of`, `unknown_windows`,
    `count`, land the windows, acknowledge.
    """

    def __init__(self, *, horizon: int, capacity: int = 200_000) -> None:
        """Hold ids of `horizon` microseconds of event time, and about `capacity` windows."""
        self._ids = IdIndex(horizon)
        self._capacity = capacity
        self._windows: OrderedDict[WindowKey, WindowState] = OrderedDict()
        self._newest_stored: dict[int, int] = {}

    def restore(
        self, first_offsets: Iterable[tuple[int, int, int]], floor: int, newest_stored: Mapping[int, int]
    ) -> None:
        """Take over from an earlier life.

        `first_offsets` are the (id, event time, first offset) of stored events at or after `floor`;
        `newest_stored` is the start of this source's newest stored window, by size.
        """
        self._ids.restore(first_offsets, floor)
        self._newest_stored = dict(newest_stored)

    def unknown_ids(self, block: Sequence[Entry]) -> list[Usage]:
        """Return the events of a block whose ids only ClickHouse can know."""
        floor = self._ids.floor
        return [entry.event for entry in block if entry.event.event_time < floor]

    def admit(self, block: Sequence[Entry], first_offsets: Mapping[int, int]) -> Admission:
        """Return the block without duplicates; `first_offsets` answers `unknown_ids`, by id."""
        admitted, fresh = [], []
        floor, claim = self._ids.floor, self._ids.claim
        older: dict[int, int] = {}  # ids below the floor that are new in this block
        for entry in block:
            offset, event, _ = entry
            key, time = event.id.int, event.event_time
            if time >= floor:
                first = claim(key, time, offset)
            else:
                first = first_offsets.get(key, older.get(key))
                older.setdefault(key, offset)
            if first is None:
                fresh.append(entry)
            if first is None or first == offset:
                admitted.append(entry)
        self._ids.advance(max((entry.event.event_time for entry in fresh), default=0))
        duplicates = len(block) - len(admitted)
        return Admission(entries=admitted, fresh=fresh, duplicates=duplicates)

    def refuse(self, entries: Iterable[Entry]) -> None:
        """Forget events that ClickHouse refused, so that they can be sent again once mended."""
        for _, event, _ in entries:
            self._ids.release(event.id.int, event.event_time)

    def unknown_windows(self, tally: Tally) -> list[WindowKey]:
        """Return the windows that the tally touches and only ClickHouse can know."""
        return [
            key
            for key in tally.touched
            if key not in self._windows and key.start <= self._newest_stored.get(key.size, _NEVER)
        ]

    def count(self, tally: Tally, stored: Iterable[WindowState]) -> list[WindowState]:
        """Count the tally, and return the windows that it changed; `stored` answers `unknown_windows`."""
        for state in stored:
            self._windows[state.key] = state
        changed = []
        for key in tally.touched:
            before = self._windows.get(key) or WindowState(key, _NEVER, Measures())
            state = tally.added_to(before)
            if state is not before:
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
