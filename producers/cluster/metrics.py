"""What the collector tells of itself."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

__all__ = ["CollectorMetrics"]

_KIND = ("kind",)


class CollectorMetrics:
    """The collector's counters and gauges, in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.lists = self._counter("lists", "Times that all objects of a kind were listed.", _KIND)
        self.changes = self._counter("changes", "Changes of objects that a watch told of.", _KIND)
        self.expired = self._counter("expired", "Times that the API forgot where a watch was.", _KIND)
        self.errors = self._counter("errors", "Requests that the API failed or refused.", _KIND)
        self.unreadable = self._counter("unreadable", "Objects left out, as they make no sense.", _KIND)
        self.readings = self._counter("readings", "Readings of usage.")
        self.reading_errors = self._counter("reading_errors", "Times that usage could not be read.")
        self.samples = self._counter("samples", "Samples emitted, by their topic.", ("topic",))
        self.pods = self._gauge("pods", "Pods that are known.")
        self.nodes = self._gauge("nodes", "Nodes that are known.")
        self.behind = self._gauge("behind_seconds", "How long ago that is up to which samples have left.")
        self.api_up = self._gauge("api_up", "Whether all that is needed is followed.")
        self.unpriced = self._counter("unpriced", "Samples without a price, by topic.", ("topic",))

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"spendstream_collector_{name}", text, registry=self._registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"spendstream_collector_{name}", text, labels, registry=self._registry)
