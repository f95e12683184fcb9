"""Public fakes: what tests of code on top of Spendstream can use in place of Kafka and ClickHouse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from spendstream.batches import Batch
from spendstream.deadletters import DeadLetter
from spendstream.ledger import ELSEWHERE, WindowState
from spendstream.store import Recovery, Refusal, Source
from spendstream.windows import Entry, Measures, Usage, WindowKey, newest_starts

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
        self._windows: dict[tuple[str, WindowKey], WindowState] = {}

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
                for event_id, (_, entry) in self._rows.items()
                if entry.event.event_time >= floor
            ],
            newest_stored=newest_starts(key for name, key in self._windows if name == source.name),
        )

    async def first_positions(self, source: Source, events: Sequence[Usage]) -> Mapping[int, int]:
        """Return the first position of those events that are stored."""
        self.strike("first_positions")
        return {
            event.id.int: self._position(source, event.id.int)
            for event in events
            if event.id.int in self._rows
        }

    async def windows(self, source: Source, keys: Sequence[WindowKey]) -> Sequence[WindowState]:
        """Return the newest state of those windows that are stored."""
        self.strike("windows")
        return [self._windows[source.name, key] for key in keys if (source.name, key) in self._windows]

    async def land_events(self, source: Source, batch: Batch) -> Sequence[Refusal]:
        """Store a batch; the first delivery of an id wins."""
        for entry in batch.entries:
            self.strike("land_events")
            key = entry.event.id.int
            stored = self._rows.get(key)
            if stored is None or (stored[0] == source.name and entry.position < stored[1].position):
                self._rows[key] = (source.name, entry)
        return ()

    async def land_windows(self, source: Source, states: Sequence[WindowState], arrived: int) -> None:
        """Store window states; the highest version wins."""
        del arrived
        for state in states:
            self.strike("land_windows")
            place = source.name, state.key
            stored = self._windows.get(place)
            if stored is None or state.version >= stored.version:
                self._windows[place] = state

    def events(self) -> list[Usage]:
        """Return all stored events."""
        return [entry.event for _, entry in self._rows.values()]

    def states(self) -> Mapping[tuple[str, WindowKey], WindowState]:
        """Return every window's state, by source and key."""
        return dict(self._windows)

    def totals(self) -> dict[WindowKey, Measures]:
        """Return every window, summed over its sources."""
        totals: dict[WindowKey, Measures] = {}
        for (_, key), state in self._windows.items():
            totals[key] = totals.get(key, Measures()).plus(state.measures)
        return totals

    def _position(self, source: Source, event_id: int) -> int:
        name, entry = self._rows[event_id]
        return entry.position if name == source.name else ELSEWHERE
