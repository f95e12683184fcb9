"""The way to Kafka for events that must not get lost: journal first, then ship.

`emit` writes an event to a spool on disk and returns; a background task ships what the spool holds, in order,
and forgets it once Kafka has acknowledged it. So an event survives the death of this process from the moment
`emit` returns, and Kafka may be away for as long as the spool has room. An event can arrive twice (its
acknowledgement was lost, or a crash came before the spool forgot it); it has the same id both times.

The machine's own crash can cost what was emitted in the last second or so: that often, the spool is synced to
the disk.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from spendstream.adapters.delivery import MAX_CHUNK_BYTES, Delivery, Record
from spendstream.adapters.spool import Spool, sync
from spendstream.codec import MAX_EVENT_BYTES
from spendstream.ending import end
from spendstream.errors import MalformedEvent, TransientError
from spendstream.topics import ALL_TOPICS

__all__ = ["Publisher"]

_SYNC_S = 1.0
_GATHER_S = 0.05  # to ship a few events at a time costs more for each than all else that is done for it
_FIRST_RETRY_S = 0.1
_LAST_RETRY_S = 5.0
_ACK_S = 10.0

_TOPICS = frozenset(topic.name for topic in ALL_TOPICS)

_log = structlog.get_logger()


class Publisher:
    """Emits events to Kafka through a spool in `spool_dir`, of which it is the only owner.

    `max_bytes` bounds the spool on disk; memory is bounded by the chunk being shipped. Use it from one event
    loop. Up to `events_per_record` events that are shipped together share a record. `ack_timeout` is how long
    to wait for Kafka's acknowledgement, in seconds, before sending again.
    """

    def __init__(
        self,
        spool_dir: Path,
        servers: str,
        *,
        max_bytes: int,
        registry: CollectorRegistry,
        events_per_record: int = 1,
        ack_timeout: float = _ACK_S,
    ) -> None:
        self._spool_dir = spool_dir
        self._servers = servers
        self._max_bytes = max_bytes
        self._events_per_record = events_per_record
        self._ack_timeout = ack_timeout
        self._spool: Spool | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._emitted = asyncio.Event()
        self._released = asyncio.Event()
        self._retry_s = _FIRST_RETRY_S
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Record).decode
        self._measure(registry)

    async def start(self) -> None:
        """Open the spool and begin to ship, first of all what an earlier life left. Kafka may be away.

        Raises AlreadyRunning when another process owns the spool, ConfigError when it cannot be kept there.
        """
        self._spool = spool = await asyncio.to_thread(Spool, self._spool_dir, max_bytes=self._max_bytes)
        self._recovered.inc(spool.owed_frames)
        if spool.owed_frames or spool.cut_bytes:
            _log.info("spool has events of an earlier life", events=spool.owed_frames, torn=spool.cut_bytes)
        self._tasks = [asyncio.create_task(self._ship(spool)), asyncio.create_task(_sync_often(spool))]

    def emit(self, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Take one event; it will reach `topic`, behind all earlier ones with its key.

        Raises TransientError when the spool is full (or not open), MalformedEvent for one so large that
        nobody would read it, and ValueError for a topic that is not ours, as it would hold up all others.
        """
        if topic not in _TOPICS:
            raise ValueError(f"{topic}: no topic of ours; expected one of {sorted(_TOPICS)}")
        if len(value) > MAX_EVENT_BYTES:
            raise MalformedEvent(f"event of {len(value)} bytes: at most {MAX_EVENT_BYTES} are accepted")
        if self._spool is None:
            raise TransientError("the publisher is not running: start() it first")
        try:
            self._spool.append(self._encode((topic, key, value, headers)))
        except TransientError:
            self._journal_errors.inc()
            raise
        self._received.inc()
        self._emitted.set()

    async def flush(self, timeout: float) -> int:
        """Wait until Kafka has everything, at most `timeout` seconds; return the frames still owed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.owed_frames:
                    self._released.clear()
                    await self._released.wait()
        return self.owed_frames

    async def stop(self, timeout: float) -> int:
        """Flush, then close; return the frames still owed, which stay in the spool for the next life."""
        await self.flush(timeout)
        tasks, self._tasks = self._tasks, []
        await end(*tasks)
        owed = self.owed_frames
        spool, self._spool = self._spool, None
        if spool is not None:
            await asyncio.to_thread(spool.close)
        return owed

    @property
    def owed_frames(self) -> int:
        """Events that Kafka has not acknowledged."""
        return self._spool.owed_frames if self._spool else 0

    @property
    def owed_bytes(self) -> int:
        """Bytes on disk of events that Kafka has not acknowledged."""
        return self._spool.owed_bytes if self._spool else 0

    @property
    def free_bytes(self) -> int:
        """How much more the spool can take now."""
        return self._spool.free_bytes if self._spool else 0

    def _measure(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"spendstream_publisher_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"spendstream_publisher_{name}", text, registry=registry)

        self._received = counter("received", "Events taken into the spool.")
        self._recovered = counter("recovered", "Events of an earlier life found in the spool.")
        self._sent = counter("sent", "Events that Kafka acknowledged.")
        self._errors = counter("errors", "Failures, by what failed.", ("stage",))
        self._journal_errors, self._ship_errors = self._errors.labels("journal"), self._errors.labels("ship")
        gauge("owed_frames", "Events not acknowledged yet.").set_function(lambda: self.owed_frames)
        gauge("owed_bytes", "Their bytes on disk.").set_function(lambda: self.owed_bytes)

    async def _ship(self, spool: Spool) -> None:
        """Ship for ever. Whatever Kafka answers, nothing is dropped: it goes again, in order."""
        while True:
            await self._something_owed(spool)
            try:
                connecting = Delivery.connected(
                    self._servers, ack_timeout=self._ack_timeout, events_per_record=self._events_per_record
                )
                async with connecting as delivery:
                    await self._ship_to(delivery, spool)
            except Exception as error:  # noqa: BLE001  # a task's edge; one that ends would stop all shipping
                self._ship_errors.inc()
                _log.warning(
                    "events wait in the spool",
                    reason=str(error) or type(error).__name__,
                    events=spool.owed_frames,
                    retry_s=self._retry_s,
                )
            await asyncio.sleep(self._retry_s)
            self._retry_s = min(2 * self._retry_s, _LAST_RETRY_S)

    async def _ship_to(self, delivery: Delivery, spool: Spool) -> None:
        while True:
            await self._something_owed(spool)
            if spool.owed_bytes < MAX_CHUNK_BYTES:
                await asyncio.sleep(_GATHER_S)
            chunk = spool.read(MAX_CHUNK_BYTES)
            await delivery.deliver(map(self._decode, chunk.payloads))
            spool.release(chunk)
            self._sent.inc(len(chunk.payloads))
            self._released.set()
            self._retry_s = _FIRST_RETRY_S

    async def _something_owed(self, spool: Spool) -> None:
        while not spool.owed_frames:
            self._emitted.clear()
            await self._emitted.wait()


async def _sync_often(spool: Spool) -> None:
    while True:
        await asyncio.sleep(_SYNC_S)
        with suppress(OSError):  # no descriptor is free: try again
            await asyncio.to_thread(sync, spool.unsynced())
