"""What a sink says of itself to Prometheus."""

from __future__ import annotations

from typing import NamedTuple, Self

from prometheus_client import CollectorRegistry, Counter

__all__ = ["SinkMetrics"]


class SinkMetrics(NamedTuple):
    """The counters of all sinks in a process, by `sink`; take one sink's with `of`."""

    received: Counter
    sent: Counter
    discarded: Counter
    errors: Counter

    @classmethod
    def registered(cls, registry: CollectorRegistry) -> Self:
        """Return counters for a process."""

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"spendstream_sink_{name}_total", text, ["sink", *labels], registry=registry)

        return cls(
            received=counter("received", "Records read from Kafka"),
            sent=counter("sent", "Records that reached their destination"),
            discarded=counter("discarded", "Records that did not, and never will", "reason"),
            errors=counter("errors", "Calls that failed and are tried again", "stage"),
        )
