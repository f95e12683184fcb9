"""One source's blocks, from bytes to landed rows: decode, admit, land, count, land, and nothing skipped.

Late events are landed and counted as all others, since windows always equal the rows. Those later than
allowed are listed besides, so that a correction of a window reported long ago can be traced.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import structlog

from spendstream.batches import Batch
from spendstream.codec import EventCodec
from spendstream.deadletters import DeadLetter, DeadLetterOffice, Stage
from spendstream.ledger import Admission, Ledger
from spendstream.positions import MAX_LINES, place
from spendstream.store import LateEvent, Source, UsageStore
from spendstream.tally import tally
from spendstream.watermarks import NOTHING_SEEN, Times, Watermark
from spendstream.windows import Entry
from stream_processors.metrics import WorkerMetrics

__all__ = ["ALLOWED_LATENESS", "Record", "RecordBlock", "SourceProcessor"]

_log = structlog.get_logger(__name__)

ALLOWED_LATENESS = 3_600_000_000
"""Microseconds behind its source's watermark from which on an event is listed as late."""

_DISORDER = 10_000_000  # ten seconds: retries and clock skew between gateways
_MAX_AHEAD = 3_600_000_000  # an event more than an hour ahead of the broker's clock has a wrong clock

T = TypeVar("T")


class Record(Protocol):
    """What is read of a Kafka record; `timestamp` is in milliseconds."""

    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102


class RecordBlock(msgspec.Struct, frozen=True, kw_only=True):
    """All records of one partition from offset `first` to `last`; offsets between may hold no record."""

    first: int
    last: int
    records: Sequence[Any]  # of Record, which msgspec cannot know

    @property
    def size(self) -> int:
        """The bytes of all values."""
        return sum([len(record.value or b"") for record in self.records])


class SourceProcessor:
    """Processes the blocks of one source, in order. `next_offset` is after the last that has landed."""

    def __init__(
        self,
        source: Source,
        codec: EventCodec[Any],
        store: UsageStore,
        office: DeadLetterOffice,
        metrics: WorkerMetrics,
        *,
        horizon: int,
        allowed_lateness: int = ALLOWED_LATENESS,
    ) -> None:
        self.source = source
        self.next_offset = 0
        self._codec = codec
        self._store = store
        self._office = office
        self._metrics = metrics
        self._horizon = horizon
        self._allowed_lateness = allowed_lateness
        self._ledger = Ledger(horizon=horizon)
        self._watermark = Watermark(disorder=_DISORDER)
        self._started = False
        self._is_busy = False

    async def recover(self) -> None:
        """Load what an earlier life of this source has landed."""
        left = await self._patiently("recover", lambda: self._store.recover(self.source, self._horizon))
        self._ledger.restore(left.first_positions, left.floor, left.newest_stored)
        _log.info("source recovered", source=self.source.name, ids=len(left.first_positions))

    async def process(self, block: RecordBlock) -> None:
        """Land a block: on return its offsets may be committed.

        Raises RuntimeError for a block that does not follow the one before, since versions of windows say
        that all earlier offsets were counted, and for one that comes while another is in hand, since a commit
        could then pass one in flight. The process must end then, and read again from its commit.
        """
        if self._is_busy:
            raise RuntimeError(f"{self.source.name}: two blocks at once; concurrency must be 1")
        self._is_busy = True
        try:
            await self._process(block)
        finally:
            self._is_busy = False

    async def _process(self, block: RecordBlock) -> None:
        if self._started and block.first > self.next_offset:
            raise RuntimeError(f"{self.source.name}: a gap from {self.next_offset} to {block.first}")
        if block.first != self.next_offset:
            await self._recall_time(block.first)
        arrived = block.records[-1].timestamp
        entries = await self._decode(block)
        admission = await self._land_events(block, entries)
        await self._land_windows(admission, arrived)
        await self._watch_time(admission, arrived * 1000)
        self._started = True
        self.next_offset = block.last + 1
        self._metrics.landed(self.source.topic, len(entries), admission)

    async def _recall_time(self, first: int) -> None:
        """Take the watermark of all that stands before a block that does not follow the one before."""
        newest = await self._patiently(
            "recover", lambda: self._store.newest_time(self.source, first * MAX_LINES)
        )
        self._watermark = Watermark(disorder=_DISORDER, newest=NOTHING_SEEN if newest is None else newest)

    async def _watch_time(self, admission: Admission, arrived: int) -> None:
        """Land what came later than allowed, and move the watermark on; repricings are late by nature."""
        counted, _ = admission.counted.parted()
        times = _times(counted)
        met = self._watermark.met_by(times)
        beyond = met - times > self._allowed_lateness
        if beyond.any():
            late = list(map(LateEvent, compress(counted.entries, beyond), met[beyond].tolist()))
            with self._metrics.flushing("late"):
                await self._patiently("late", lambda: self._store.land_late(self.source, late))
        self._watermark = self._watermark.advanced(times, arrived)
        self._metrics.time_passed(
            self.source, int((times < met).sum()), int(beyond.sum()), arrived - self._watermark.time
        )

    async def _land_events(self, block: RecordBlock, entries: Sequence[Entry]) -> Admission:
        unknown = self._ledger.unknown_ids(entries)
        known = (
            await self._patiently("look up", lambda: self._store.first_positions(self.source, unknown))
            if unknown
            else {}
        )
        admission = self._ledger.admit(entries, known)
        if not admission.fresh:
            return admission
        with self._metrics.flushing("events"):
            refused = await self._patiently(
                "land", lambda: self._store.land_events(self.source, admission.fresh)
            )
        reasons = {refusal.position: refusal.reason for refusal in refused}
        if reasons:
            self._ledger.refuse([entry for entry in admission.fresh.entries if entry.position in reasons])
            await self._bury_events(block, "land", reasons)
        return admission.without(reasons.keys())

    async def _land_windows(self, admission: Admission, arrived: int) -> None:
        added = tally(admission.counted)
        unknown = self._ledger.unknown_windows(added)
        stored = (
            await self._patiently("look up", lambda: self._store.windows(self.source, unknown))
            if unknown
            else ()
        )
        changed = self._ledger.count(admission.counted, added, stored)
        if changed:
            with self._metrics.flushing("windows"):
                await self._patiently(
                    "count", lambda: self._store.land_windows(self.source, changed, arrived)
                )

    async def _decode(self, block: RecordBlock) -> list[Entry]:
        """Return the valid events; the rest are dead letters before anything else lands."""
        records = block.records
        decoded = self._codec.decode_block([record.value for record in records])
        await self._bury([
            self._letter(records[bad.index], bad.line, bad.value, "decode", bad.reason)
            for bad in decoded.rejected
        ])  # fmt: skip
        entries = [
            Entry(position, event, arrived)
            for (position, arrived), event in zip(
                _places(records, decoded.lines), decoded.events, strict=True
            )
            if event is not None
        ]
        ahead = {
            entry.position: "event_time is more than an hour ahead of the broker's clock"
            for entry in entries
            if entry.event.event_time > entry.arrived * 1000 + _MAX_AHEAD
        }
        if ahead:
            await self._bury_events(block, "validate", ahead)
            entries = [entry for entry in entries if entry.position not in ahead]
        return entries

    async def _bury_events(self, block: RecordBlock, stage: Stage, reasons: Mapping[int, str]) -> None:
        """Bury events by their positions, as the bytes that they came in."""
        by_offset = {record.offset: record for record in block.records}
        letters = []
        for position, reason in reasons.items():
            offset, line = place(position)
            record = by_offset[offset]
            letters.append(self._letter(record, line, self._codec.lines(record.value)[line], stage, reason))
        await self._bury(letters)

    def _letter(
        self, record: Record, line: int, value: bytes | None, stage: Stage, reason: str
    ) -> DeadLetter:
        return DeadLetter(
            topic=self.source.topic,
            partition=self.source.partition,
            offset=record.offset,
            line=line,
            timestamp=record.timestamp,
            stage=stage,
            reason=reason,
            key=record.key,
            value=value,
        )

    async def _bury(self, letters: Sequence[DeadLetter]) -> None:
        if letters:
            await self._patiently("bury", lambda: self._office.bury(letters))
            for letter in letters:
                self._metrics.buried(self.source.topic, letter.stage)

    async def _patiently(self, stage: str, call: Callable[[], Awaitable[T]]) -> T:
        return await self._metrics.patiently(self.source.topic, stage, call)


def _times(batch: Batch) -> Times:
    """Return the event time of each event."""
    if not batch:
        return np.empty(0, np.int64)
    times: Times = batch.columns["event_time"].cast(pa.int64()).to_numpy()
    return times


def _places(records: Sequence[Record], lines: Sequence[int] | None) -> Iterator[tuple[int, int]]:
    """Yield the position of each line of `records`, and when the broker got it."""
    if lines is None:
        for record in records:
            yield record.offset * MAX_LINES, record.timestamp
        return
    for record, count in zip(records, lines, strict=True):
        first, arrived = record.offset * MAX_LINES, record.timestamp
        for position in range(first, first + count):
            yield position, arrived
