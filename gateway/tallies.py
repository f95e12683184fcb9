"""Counters, histograms and gauges of what calls do: plain numbers, told to Prometheus when it asks.

prometheus_client locks for each number, and a call moves a dozen; these cost a tenth of it. They belong to
one event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

__all__ = ["Counter", "Histogram", "Reading", "Tallies"]

Reading = tuple[Sequence[str], float]
"""Label values, and what is measured of them."""


class Counter:
    """A number that grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def add(self, amount: float = 1) -> None:
        """Let it grow."""
        self.value += amount


class Histogram:
    """How often which sizes were seen."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, size: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, size)] += 1
        self._sum += size

    def told(self) -> tuple[list[tuple[str, float]], float]:
        """Return the number up to each bound, and the sum of all sizes."""
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            buckets.append((str(floatToGoString(bound)), total))  # type: ignore[no-untyped-call]
        return buckets, self._sum


T = TypeVar("T")


class _Made(dict[Sequence[str], T]):
    """Makes what is asked for first."""

    def __init__(self, make: Callable[[], T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, labels: Sequence[str]) -> T:
        made = self[labels] = self._make()
        return made


class Tallies(Collector):
    """Counters, histograms and gauges by name and label values."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counters: dict[str, tuple[str, Sequence[str], dict[Sequence[str], Counter]]] = {}
        self._histograms: dict[str, tuple[str, Sequence[str], dict[Sequence[str], Histogram]]] = {}
        self._gauges: dict[str, tuple[str, Sequence[str], Callable[[], Iterable[Reading]]]] = {}
        self._registry = registry

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Mapping[Sequence[str], Counter]:
        """Declare a counter; return its values by their labels. One without labels is there at once."""
        values: dict[Sequence[str], Counter] = _Made(Counter)
        self._counters[name.removesuffix("_total")] = text, labels, values
        if not labels:
            _ = values[()]
        return values

    def histogram(
        self, name: str, text: str, bounds: Sequence[float], labels: Sequence[str] = ()
    ) -> Mapping[Sequence[str], Histogram]:
        """Declare a histogram; return its values by their labels. One without labels is there at once."""
        values: dict[Sequence[str], Histogram] = _Made(lambda: Histogram(bounds))
        self._histograms[name] = text, labels, values
        if not labels:
            _ = values[()]
        return values

    def gauge(
        self, name: str, text: str, labels: Sequence[str], read: Callable[[], Iterable[Reading]]
    ) -> None:
        """Declare a gauge, which is read when Prometheus asks."""
        self._gauges[name] = text, labels, read

    def register(self) -> None:
        """Let Prometheus see what was declared."""
        self._registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Return what was declared."""
        return self.collect()

    def collect(self) -> Iterable[Metric]:
        """Return everything as it is now."""
        for name, (text, labels, counters) in self._counters.items():
            family = CounterMetricFamily(name, text, labels=labels)
            for values, counter in counters.items():
                family.add_metric(values, counter.value)
            yield family
        for name, (text, labels, histograms) in self._histograms.items():
            sizes = HistogramMetricFamily(name, text, labels=labels)
            for values, histogram in histograms.items():
                buckets, total = histogram.told()
                sizes.add_metric(values, buckets, total)
            yield sizes
        for name, (text, labels, read) in self._gauges.items():
            readings = GaugeMetricFamily(name, text, labels=labels)
            for values, value in read():
                readings.add_metric(values, value)
            yield readings
