"""What the stream processors need of a database: to remember events and windows, and to be asked about them.

The sinks implement it on ClickHouse, `spendstream.testing` in memory; one contract suite runs on both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

from spendstream.batches import Batch
from spendstream.ledger import WindowState
from spendstream.windows import Entry, Usage, WindowKey

__all__ = ["Kind", "LateEvent", "Recovery", "Refusal", "Source", "UsageStore"]

Kind = Literal["tokens", "pods", "nodes"]


class Source(NamedTuple):
    """One partition of one incarnation of a topic: positions mean something only within it."""

    kind: Kind
    topic: str
    partition: int
    incarnation: str

    @property
    def name(self) -> str:
        """The name under which rows remember their source."""
        return f"{self.topic}/{self.partition}@{self.incarnation}"


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What a source left behind.

    `first_positions` has (id, event time, first position) of all stored events at or after `floor`, with
    `ledger.ELSEWHERE` as the position of those that came from another source. `newest_stored` is the start of
    the source's newest stored window, by window size.
    """

    floor: int = 0
    first_positions: Sequence[tuple[int, int, int]] = ()
    newest_stored: Mapping[int, int] = {}


class Refusal(msgspec.Struct, frozen=True):
    """An event that the database cannot store, whenever it comes, and why."""

    position: int
    reason: str


class LateEvent(NamedTuple):
    """An event that came later than is allowed, and the watermark that it met, in microseconds."""

    entry: Entry
    watermark: int

    @property
    def lateness(self) -> int:
        """How far the event was behind the watermark, in microseconds."""
        return self.watermark - self.entry.event.event_time


class UsageStore(Protocol):
    """Remembers events (the first delivery of an id wins) and windows (the highest version wins).

    Every method raises StoreUnavailable when it may work later; nothing is lost or half counted then.
    """

    async def recover(self, source: Source, horizon: int) -> Recovery:
        """Return what `source` left, with ids of `horizon` microseconds before the newest stored event."""

    async def newest_time(self, source: Source, before: int) -> int | None:
        """Return the newest event time stored for `source` at a position below `before`; None if none is."""

    async def first_positions(self, source: Source, events: Sequence[Usage]) -> Mapping[int, int]:
        """Return the first position of those `events` that are stored, by id; ELSEWHERE in other sources.

        An id is looked for in its own partition and in all earlier incarnations of the topic: as long as a
        topic lives, a key stays in its partition.
        """

    async def windows(self, source: Source, keys: Sequence[WindowKey]) -> Sequence[WindowState]:
        """Return the newest state of those windows of `source` that are stored."""

    async def land_events(self, source: Source, batch: Batch) -> Sequence[Refusal]:
        """Store a batch; all but the refused ones can be queried on return."""

    async def land_windows(self, source: Source, states: Sequence[WindowState], arrived: int) -> None:
        """Store window states; they can be queried on return.

        `arrived` is when the broker got the newest record counted, in milliseconds.
        """

    async def land_late(self, source: Source, late: Sequence[LateEvent]) -> None:
        """Store which events came too late; they can be queried on return, each once however often landed."""
