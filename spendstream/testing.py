"""Public fakes: what tests of code on top of Spendstream can use in place of Kafka and ClickHouse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from spendstream.allocation.windows import AllocationMeasures
from spendstream.batches import Batch
from spendstream.deadletters import DeadLetter
from spendstream.events import TokenUsage
from spendstream.ledger import ELSEWHERE, WindowState
from spendstream.repricing import astray
from spendstream.rightsizing.days import ContainerDay
from spendstream.store import LateEvent, Recovery, Refusal, Source
from spendstream.windows import MINUTE, Entry, Measures, Usage, WindowKey, newest_starts, plus, window_of

__all__ = ["MemoryOffice", "MemoryStore"]


class MemoryOffice:
    """A dead letter office that keeps letters in a list."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep `letters`."""
        self.letters.extend(letters)


class MemoryStore:
    """A usage store in memory, with the rules of the one on ClickHouse.

    `strike(operation)` is called before every single row is written, and may raise: so a test can let any
    write fail half way, as one that spans several partitions of a table does when the process is killed.
    """

    def __init__(self, strike: Callable[[str], None] = lambda _: None) -> None:
        self.strike = strike
        self._rows: dict[int, tuple[str, Entry]] = {}
        self._repricings: dict[int, tuple[str, Entry]] = {}
        self._windows: dict[tuple[str, WindowKey], WindowState] = {}
        self._late: dict[tuple[str, int], LateEvent] = {}

    async def recover(self, source: Source, horizon: int) -> Recovery:
        """Return what `source` left."""
        self.strike("recover")
        if not self._rows:
            return Recovery()
        floor = max(entry.event.event_time for _, entry in self._rows.values()) - horizon
        return Recovery(
            floor=floor,
            first_positions=[
                (event_id, entry.event.event_time, self._position(source, event_id))
                for event_id, (_, entry) in (self._rows | self._repricings).items()
                if entry.event.event_time >= floor
            ],
            newest_stored=newest_starts(key for name, key in self._windows if name == source.name),
        )

    async def newest_time(self, source: Source, before: int) -> int | None:
        """Return the newest event time stored for `source` at a position below `before`."""
        self.strike("newest_time")
        return max(
            (
                entry.event.event_time
                for name, entry in self._rows.values()
                if name == source.name and entry.position < before
            ),
            default=None,
        )

    async def first_positions(self, source: Source, events: Sequence[Usage]) -> Mapping[int, int]:
        """Return the first position of those events that are stored."""
        self.strike("first_positions")
        return {
            event.id.int: self._position(source, event.id.int)
            for event in events
            if event.id.int in self._rows or event.id.int in self._repricings
        }

    async def windows(self, source: Source, keys: Sequence[WindowKey]) -> Sequence[WindowState]:
        """Return the newest state of those windows that are stored."""
        self.strike("windows")
        return [self._windows[source.name, key] for key in keys if (source.name, key) in self._windows]

    async def land_events(self, source: Source, batch: Batch) -> Sequence[Refusal]:
        """Store a batch, repricings last; the first delivery of an id wins."""
        events, repricings = batch.parted()
        self._land(source, events.entries, self._rows)
        refused = astray(repricings, {each.position for each in repricings.entries if self._unpriced(each)})
        bad = {refusal.position for refusal in refused}
        good = [entry for entry in repricings.entries if entry.position not in bad]
        self._land(source, good, self._repricings)
        return refused

    def _land(self, source: Source, entries: Sequence[Entry], rows: dict[int, tuple[str, Entry]]) -> None:
        for entry in entries:
            self.strike("land_events")
            key = entry.event.id.int
            stored = rows.get(key)
            if stored is None or (stored[0] == source.name and entry.position < stored[1].position):
                rows[key] = (source.name, entry)

    def _unpriced(self, repricing: Entry) -> bool:
        """Tell whether the event that a repricing is of is stored, and had no price."""
        event = repricing.event
        if not isinstance(event, TokenUsage) or event.reprices is None:
            return False
        row = self._rows.get(event.reprices.int)
        original = row and row[1].event
        if not isinstance(original, TokenUsage):
            return False
        same = window_of(original, MINUTE).dimensions == window_of(event, MINUTE).dimensions
        return same and original.event_time == event.event_time and original.cost is None

    async def land_windows(self, source: Source, states: Sequence[WindowState], arrived: int) -> None:
        """Store window states; the highest version wins."""
        del arrived
        for state in states:
            self.strike("land_windows")
            place = source.name, state.key
            stored = self._windows.get(place)
            if stored is None or state.version >= stored.version:
                self._windows[place] = state

    async def land_late(self, source: Source, late: Sequence[LateEvent]) -> None:
        """Store which events came too late."""
        for event in late:
            self.strike("land_late")
            self._late[source.name, event.entry.event.id.int] = event

    def late(self) -> Mapping[tuple[str, int], LateEvent]:
        """Return the events that came too late, by source and id."""
        return dict(self._late)

    def events(self) -> list[Usage]:
        """Return all stored events, with the costs that they were given later."""
        events = [entry.event for _, entry in self._repricings.values()]
        later = {event.reprices: event for event in events if isinstance(event, TokenUsage)}
        return [_priced(entry.event, later.get(entry.event.id)) for _, entry in self._rows.values()]

    def states(self) -> Mapping[tuple[str, WindowKey], WindowState]:
        """Return every window's state, by source and key."""
        return dict(self._windows)

    def totals(self) -> dict[WindowKey, Measures | AllocationMeasures | ContainerDay]:
        """Return every window, summed over its sources."""
        totals: dict[WindowKey, Measures | AllocationMeasures | ContainerDay] = {}
        for (_, key), state in self._windows.items():
            known = totals.get(key)
            totals[key] = state.measures if known is None else plus(known, state.measures)
        return totals

    def _position(self, source: Source, event_id: int) -> int:
        name, entry = self._rows.get(event_id) or self._repricings[event_id]
        return entry.position if name == source.name else ELSEWHERE


def _priced(event: Usage, repricing: Usage | None) -> Usage:
    if not (isinstance(event, TokenUsage) and isinstance(repricing, TokenUsage)):
        return event
    return msgspec.structs.replace(event, cost=repricing.cost, list_cost=repricing.list_cost)
