"""One source's blocks, from bytes to landed rows: decode, admit, land, count, land, and nothing skipped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
import structlog

from spendstream.codec import EventCodec
from spendstream.deadletters import DeadLetter, DeadLetterOffice, Stage
from spendstream.ledger import Admission, Ledger, Tally
from spendstream.patience import patiently
from spendstream.store import Source, UsageStore
from spendstream.watermarks import Watermark
from spendstream.windows import Entry
from stream_processors.metrics import WorkerMetrics

__all__ = ["Record", "RecordBlock", "SourceProcessor"]

_log = structlog.get_logger(__name__)

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
    ) -> None:
        self.source = source
        self.next_offset = 0
        self._codec = codec
        self._store = store
        self._office = office
        self._metrics = metrics
        self._horizon = horizon
        self._ledger = Ledger(horizon=horizon)
        self._watermark = Watermark(disorder=_DISORDER)
        self._started = False

    async def recover(self) -> None:
        """Load what an earlier life of this source has landed."""
        left = await self._patiently(lambda: self._store.recover(self.source, self._horizon))
        self._ledger.restore(left.first_offsets, left.floor, left.newest_stored)
        _log.info("source recovered", source=self.source.name, ids=len(left.first_offsets))

    async def process(self, block: RecordBlock) -> None:
        """Land a block: on return its offsets may be committed.

        Raises RuntimeError for a block that does not follow the one before, since versions of windows say
        that all earlier offsets were counted: the process must end then, and read again from its commit.
        """
        if self._started and block.first > self.next_offset:
            raise RuntimeError(f"{self.source.name}: a gap from {self.next_offset} to {block.first}")
        admission = await self._land_events(block)
        await self._land_windows(admission, block.records[-1].timestamp)
        self._started = True
        self.next_offset = max(self.next_offset, block.last + 1)
        self._metrics.landed(self.source.topic, block.records, admission)
        self._watch_time(admission, block.records[-1].timestamp * 1000)

    def _watch_time(self, admission: Admission, arrived: int) -> None:
        times = [entry.event.event_time for entry in admission.entries]
        late = self._watermark.late(times)
        self._watermark = self._watermark.advanced(times, arrived)
        self._metrics.time_passed(self.source, late, arrived - self._watermark.time)

    async def _land_events(self, block: RecordBlock) -> Admission:
        decoded = await self._decode(block)
        unknown = self._ledger.unknown_ids(decoded)
        known = (
            await self._patiently(lambda: self._store.first_offsets(self.source, unknown)) if unknown else {}
        )
        admission = self._ledger.admit(decoded, known)
        if not admission.fresh:
            return admission
        refused = await self._patiently(lambda: self._store.land_events(self.source, admission.fresh))
        reasons = {refusal.offset: refusal.reason for refusal in refused}
        if reasons:
            self._ledger.refuse([entry for entry in admission.fresh if entry.offset in reasons])
            await self._bury(block, "land", reasons)
        return admission.without(set(reasons))

    async def _land_windows(self, admission: Admission, arrived: int) -> None:
        tally = Tally.of(admission)
        unknown = self._ledger.unknown_windows(tally)
        stored = await self._patiently(lambda: self._store.windows(self.source, unknown)) if unknown else ()
        changed = self._ledger.count(tally, stored)
        if changed:
            await self._patiently(lambda: self._store.land_windows(self.source, changed, arrived))

    async def _decode(self, block: RecordBlock) -> list[Entry]:
        """Return the valid events; the rest are dead letters before anything else lands."""
        events, rejected = self._codec.decode_block([record.value for record in block.records])
        await self._bury(block, "decode", {block.records[r.index].offset: r.reason for r in rejected})
        entries: list[Entry] = []
        ahead = {}
        for record, event in zip(block.records, events, strict=True):
            if event is None:
                continue
            if event.event_time > record.timestamp * 1000 + _MAX_AHEAD:
                ahead[record.offset] = "event_time is more than an hour ahead of the broker's clock"
            else:
                entries.append(Entry(record.offset, event, record.timestamp))
        await self._bury(block, "validate", ahead)
        return entries

    async def _bury(self, block: RecordBlock, stage: Stage, reasons: dict[int, str]) -> None:
        letters = [
            DeadLetter(
                topic=self.source.topic,
                partition=self.source.partition,
                offset=record.offset,
                timestamp=record.timestamp,
                stage=stage,
                reason=reasons[record.offset],
                key=record.key,
                value=record.value,
            )
            for record in block.records
            if record.offset in reasons
        ]
        if letters:
            await self._patiently(lambda: self._office.bury(letters))
            self._metrics.buried(self.source.topic, stage, len(letters))

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        return await patiently(call, lambda: self._metrics.waited(self.source.topic))
