"""What a worker says of itself to Prometheus, and what it waits for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from spendstream.ledger import Admission
from spendstream.patience import Waits
from spendstream.store import Source

__all__ = ["WorkerMetrics"]

_EVENT_BUCKETS = (1, 10, 100, 300, 1000, 3000, 10_000, 30_000, 100_000)
_SECOND_BUCKETS = (0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)

T = TypeVar("T")


class WorkerMetrics:
    """Counters of one worker, by topic; `waits` holds what it waits for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"spendstream_worker_{name}_total", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"spendstream_worker_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], label: str) -> Histogram:
            return Histogram(f"spendstream_worker_{name}", text, [label], registry=registry, buckets=buckets)

        self.waits = Waits()
        self._received = counter("received", "Events read from Kafka, valid or not", "topic")
        self._sent = counter("sent", "Events landed in ClickHouse", "topic")
        self._discarded = counter(
            "discarded",
            "Events that were not landed: duplicates, and dead letters by the stage that refused them",
            "topic",
            "reason",
        )
        self._errors = counter(
            "errors", "Calls of a dependency that failed and are tried again", "topic", "stage"
        )
        self._stumbles = counter(
            "watcher_failures", "Times that a watcher of landed spend failed, and began anew", "watcher"
        )
        self._block = histogram("block_events", "Valid events of a landed block", _EVENT_BUCKETS, "topic")
        self._flush = histogram(
            "flush_seconds", "From an insert's beginning until it can be queried", _SECOND_BUCKETS, "stage"
        )
        self._in_hand = gauge("blocks_in_hand", "Blocks that are being landed")
        self._rebalances = counter("rebalances", "Times that partitions were shared out among the workers")
        self._lag = gauge("lag", "Records in Kafka that have not landed yet", "topic", "partition")
        self._late = counter(
            "late", "Events behind their source's watermark; they correct their windows", "topic"
        )
        self._too_late = counter(
            "too_late", "Those of them later than allowed, which late_usage lists", "topic"
        )
        self._watermark_delay = gauge(
            "watermark_delay_seconds",
            "How far a source's watermark is behind the broker's clock",
            "topic",
            "partition",
        )

    def landed(self, topic: str, events: int, admission: Admission) -> None:
        """Count the valid events of one block."""
        self._received.labels(topic).inc(events)
        self._sent.labels(topic).inc(len(admission.fresh))
        self._discarded.labels(topic, "duplicate").inc(admission.duplicates)
        self._block.labels(topic).observe(events)

    def buried(self, topic: str, stage: str) -> None:
        """Count a dead letter."""
        self._received.labels(topic).inc()
        self._discarded.labels(topic, stage).inc()

    async def patiently(self, topic: str, stage: str, call: Callable[[], Awaitable[T]]) -> T:
        """Return what `call` returns, once it works; count each time that it does not."""
        failed = self._errors.labels(topic, stage).inc
        return await self.waits.patiently(f"{stage} {topic}", call, failed)

    def stumbled(self, watcher: str) -> None:
        """Count a failure of a watcher."""
        self._stumbles.labels(watcher).inc()

    def flushing(self, stage: str) -> AbstractContextManager[object]:
        """Time an insert: of "events", "windows" or "late" ones."""
        return self._flush.labels(stage).time()

    def in_hand(self) -> AbstractContextManager[object]:
        """Count a block while it is being landed."""
        return self._in_hand.track_inprogress()

    def time_passed(self, source: Source, late: int, too_late: int, delay: int) -> None:
        """Count late events, and say how far the watermark is behind (microseconds)."""
        self._late.labels(source.topic).inc(late)
        self._too_late.labels(source.topic).inc(too_late)
        self._watermark_delay.labels(source.topic, str(source.partition)).set(delay / 1_000_000)

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Say how far a partition is behind."""
        self._lag.labels(topic, str(partition)).set(records)

    def assigned(self) -> None:
        """Count a rebalance."""
        self._rebalances.inc()

    def revoked(self, topic: str, partition: int) -> None:
        """Forget a partition that another worker has now."""
        for gauge in (self._lag, self._watermark_delay):
            with suppress(KeyError):  # nothing came from it
                gauge.remove(topic, str(partition))
