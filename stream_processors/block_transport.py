"""A Faust transport that hands an agent one event for each fetched chunk of one partition.

Faust spends about half a millisecond of CPU on each message: tasks, queues, acknowledgement. None of it
depends on what is in the message, so a block of thousands pays it once. Order within a partition is kept, an
acknowledged block commits its last offset, and a block that was not acknowledged is read again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import faust
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from stream_processors.processor import RecordBlock

_FETCH_WAIT_MS = 100  # how long a broker may hold back an answer; the embedded one always does

__all__ = ["BlockConsumer", "BlockTransport"]


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's thread, with a client that does not wait for more than there is."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS  # noqa: SLF001  # Faust fixes it to 1.5 s, and has no setting
        return consumer


class BlockConsumer(driver.Consumer):
    """Groups fetched records by partition, and commits by block."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._position: dict[TP, int] = {}
        self._unacked_blocks: dict[TP, deque[int]] = {}

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Yield (partition, message) whose value is a RecordBlock.

        A block starts where the one before ended, so that offsets without a record (a transaction's marker,
        a compacted key) belong to a block, and a lost block shows as a gap.
        """
        fetched, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if not fetched or self.should_stop:
            return
        if not self.flow_active:
            with suppress(KafkaError):  # a rebalance is under way, and seeks when it ends
                await self.perform_seek()
            return
        for tp, records in fetched.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            if records and (active is None or tp in active or tp in self._buffered_partitions):
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                yield tp, self._block(tp, records, generation)

    def _block(self, tp: TP, records: list[Any], generation: int) -> ConsumerMessage:
        last = records[-1]
        first = min(self._position.get(tp, records[0].offset), records[0].offset)
        self._position[tp] = last.offset + 1
        self._unacked_blocks.setdefault(tp, deque()).append(last.offset)
        return ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=last.offset,
            timestamp=last.timestamp / 1000.0,
            timestamp_type=last.timestamp_type,
            headers=[],
            key=None,
            value=RecordBlock(first=first, last=last.offset, records=records),  # type: ignore[arg-type]
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            tp=tp,
            generation_id=generation,
        )

    def highwater(self, tp: TP) -> int:
        """Return the offset after a partition's last record; 0 if that is not known, or no business of ours.

        A rebalance can take the partition away at any moment, in another thread.
        """
        try:
            return super().highwater(tp) or 0
        except (AssertionError, AttributeError):  # what aiokafka raises then
            return 0

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: the offsets inside a block are no gap to keep book of."""

    def _new_offset(self, tp: TP) -> int | None:
        """Return the offset to commit: after the last of the blocks that are acknowledged without a hole.

        Faust's accelerated stream writes acknowledgements straight into `_acked`, so this, and not `ack`,
        is the one place that sees them all.
        """
        acked, blocks = self._acked[tp], self._unacked_blocks.get(tp)
        offset = None
        while blocks and blocks[0] in self._acked_index[tp]:
            last = blocks.popleft()
            acked.remove(last)
            self._acked_index[tp].discard(last)
            offset = last + 1
        return offset

    async def perform_seek(self) -> None:
        """Seek to what is committed; the blocks in flight count no more."""
        self._position.clear()
        self._unacked_blocks.clear()
        self._acked.clear()
        self._acked_index.clear()
        await super().perform_seek()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget the partitions' blocks."""
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            self._position.pop(tp, None)
            self._unacked_blocks.pop(tp, None)


class BlockTransport(driver.Transport):
    """Faust's aiokafka transport with block consumers."""

    Consumer = BlockConsumer

    @classmethod
    def install(cls, app: faust.App) -> None:
        """Let `app` read all its topics in blocks. Call it before the app's consumer is first used."""
        app.transport = cls(app.conf.broker, app)
