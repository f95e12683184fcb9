"""What the sinks of a process say of themselves to Prometheus, and what they wait for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram

from spendstream.patience import Waits

__all__ = ["OneSink", "SinkMetrics"]

_RECORD_BUCKETS = (1, 3, 10, 30, 100, 300, 1000)
_SECOND_BUCKETS = (0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)

T = TypeVar("T")


class SinkMetrics:
    """The metrics of all sinks in a process, by `sink`; `waits` holds what they wait for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"spendstream_sink_{name}_total", text, ["sink", *labels], registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"spendstream_sink_{name}", text, ["sink"], registry=registry, buckets=buckets)

        self.waits = Waits()
        self.received = counter("received", "Records read from Kafka")
        self.sent = counter("sent", "Records that reached their destination")
        self.discarded = counter("discarded", "Records that did not, and never will", "reason")
        self.errors = counter("errors", "Calls that failed and are tried again", "stage")
        self.rebalances = counter("rebalances", "Times that partitions were shared out among the sinks")
        self.batch = histogram("batch_records", "Records that are sent together", _RECORD_BUCKETS)
        self.flush = histogram(
            "flush_seconds", "From sending a batch until its destination has it", _SECOND_BUCKETS
        )

    def of(self, sink: str) -> OneSink:
        """Return those of one sink."""
        return OneSink(self, sink)


class OneSink:
    """The metrics of one sink."""

    def __init__(self, metrics: SinkMetrics, name: str) -> None:
        self.name = name
        self._metrics = metrics

    def received(self, records: int) -> None:
        """Count records read from Kafka."""
        self._metrics.received.labels(self.name).inc(records)

    def sent(self, records: int) -> None:
        """Count a batch that has reached its destination."""
        self._metrics.sent.labels(self.name).inc(records)
        self._metrics.batch.labels(self.name).observe(records)

    def discarded(self, reason: str) -> None:
        """Count a record that never will."""
        self._metrics.discarded.labels(self.name, reason).inc()

    def failed(self, stage: str) -> None:
        """Count a call that is tried again."""
        self._metrics.errors.labels(self.name, stage).inc()

    def assigned(self) -> None:
        """Count a rebalance."""
        self._metrics.rebalances.labels(self.name).inc()

    def flushing(self) -> AbstractContextManager[object]:
        """Time the sending of a batch."""
        return self._metrics.flush.labels(self.name).time()

    async def patiently(self, stage: str, call: Callable[[], Awaitable[T]]) -> T:
        """Return what `call` returns, once it works; count each time that it does not."""
        return await self._metrics.waits.patiently(f"{stage} {self.name}", call, lambda: self.failed(stage))
