"""What a worker says of itself to Prometheus."""

from __future__ import annotations

from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge

from spendstream.ledger import Admission
from spendstream.store import Source

__all__ = ["WorkerMetrics"]


class WorkerMetrics:
    """Counters of one worker, by topic."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._received = Counter(
            "spendstream_worker_received_total",
            "Events read from Kafka, valid or not",
            ["topic"],
            registry=registry,
        )
        self._sent = Counter(
            "spendstream_worker_sent_total", "Events landed in ClickHouse", ["topic"], registry=registry
        )
        self._discarded = Counter(
            "spendstream_worker_discarded_total",
            "Events that were not landed: duplicates, and dead letters by the stage that refused them",
            ["topic", "reason"],
            registry=registry,
        )
        self._errors = Counter(
            "spendstream_worker_errors_total",
            "Calls of a dependency that failed and are tried again",
            ["topic", "stage"],
            registry=registry,
        )
        self._lag = Gauge(
            "spendstream_worker_lag",
            "Records in Kafka that have not landed yet",
            ["topic", "partition"],
            registry=registry,
        )

        self._late = Counter(
            "spendstream_worker_late_total",
            "Events behind their source's watermark; they correct their windows",
            ["topic"],
            registry=registry,
        )
        self._watermark_delay = Gauge(
            "spendstream_worker_watermark_delay_seconds",
            "How far a source's watermark is behind the broker's clock",
            ["topic", "partition"],
            registry=registry,
        )

    def landed(self, topic: str, events: int, admission: Admission) -> None:
        """Count the valid events of one block."""
        self._received.labels(topic).inc(events)
        self._sent.labels(topic).inc(len(admission.fresh))
        self._discarded.labels(topic, "duplicate").inc(admission.duplicates)

    def buried(self, topic: str, stage: str) -> None:
        """Count a dead letter."""
        self._received.labels(topic).inc()
        self._discarded.labels(topic, stage).inc()

    def waited(self, topic: str) -> None:
        """Count a call that has to be tried again."""
        self._errors.labels(topic, "land").inc()

    def time_passed(self, source: Source, late: int, delay: int) -> None:
        """Count late events, and say how far the watermark is behind (microseconds)."""
        self._late.labels(source.topic).inc(late)
        self._watermark_delay.labels(source.topic, str(source.partition)).set(delay / 1_000_000)

    def lag(self, topic: str, partition: int, records: int) -> None:
        """Say how far a partition is behind."""
        self._lag.labels(topic, str(partition)).set(records)

    def revoked(self, topic: str, partition: int) -> None:
        """Forget a partition that another worker has now."""
        for gauge in (self._lag, self._watermark_delay):
            with suppress(KeyError):  # nothing came from it
                gauge.remove(topic, str(partition))
