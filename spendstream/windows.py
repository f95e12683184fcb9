"""Event-time windows: which window an event falls into, and what a window adds up.

Windows tumble: 1 minute, 1 hour and 1 day, aligned to 1970 UTC. A window belongs to one source (one partition
of one topic); readers add up the sources. All measures are whole numbers, so any order of adding gives the
same window.

There are three kinds of windows, told apart by their dimensions: what calls and containers cost, in windows
of all sizes; how clusters are allocated (`spendstream.allocation`), in windows of an hour; and what
containers used (`spendstream.rightsizing`), in windows of a day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import add
from typing import Any, NamedTuple, TypeVar, cast

from spendstream.allocation.windows import AllocationDimensions, AllocationMeasures, allocation_of
from spendstream.events import NodeUsage, PodUsage, TokenUsage
from spendstream.rightsizing.days import Container, ContainerDay, container_of

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "MONEY_MEASURES",
    "WINDOW_SIZES",
    "Added",
    "Dimensions",
    "Entry",
    "Measures",
    "Usage",
    "WindowKey",
    "newest_starts",
    "plus",
    "window_of",
    "windows_of",
]

Usage = TokenUsage | PodUsage | NodeUsage

S = TypeVar("S", bound=tuple[Any, ...])

MINUTE, HOUR, DAY = 60, 3_600, 86_400
WINDOW_SIZES = (MINUTE, HOUR, DAY)
"""Seconds, finest first; each divides the next, so that a finer window lies in one coarser window."""


class Entry(NamedTuple):
    """An event, its position in its source, and when the broker got it (milliseconds, UTC)."""

    position: int
    event: Usage
    arrived: int


class Dimensions(NamedTuple):
    """Whose spend, and on what. `kind` is "tokens" or "pods"; what does not apply is empty."""

    kind: str
    org: str
    team: str
    project: str
    environment: str
    provider: str
    model: str
    cluster: str
    namespace: str


class WindowKey(NamedTuple):
    """One window of one combination of dimensions; `size` and `start` are seconds since 1970 UTC."""

    size: int
    start: int
    dimensions: Dimensions | AllocationDimensions | Container


class Measures(NamedTuple):
    """What a window adds up: counts, tokens, and picodollars."""

    events: int = 0
    unpriced: int = 0
    errors: int = 0
    cache_hits: int = 0
    cache_hit_tokens: int = 0
    cost: int = 0
    list_cost: int = 0
    avoided_by_cache: int = 0
    avoided_by_routing: int = 0
    avoided_by_compression: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0

    def plus(self, other: Measures) -> Measures:
        """Return both added up."""
        return plus(self, other)


def plus(one: S, other: S) -> S:
    """Return both measures, of the same kind, added up."""
    if isinstance(one, ContainerDay):
        return cast("S", one.plus(cast("ContainerDay", other)))
    return type(one)(*map(add, one, other))


MONEY_MEASURES = frozenset(
    {"cost", "list_cost", "avoided_by_cache", "avoided_by_routing", "avoided_by_compression"}
)
"""The measures that are picodollars."""


class Added(NamedTuple):
    """What a batch adds to one window: sums, latencies, and the positions of the first and last event."""

    first: int
    last: int
    measures: Measures | AllocationMeasures | ContainerDay
    latency: Mapping[int, int] = {}


def windows_of(event: Usage) -> Iterable[WindowKey]:
    """Return the windows that an event falls into."""
    if not isinstance(event, NodeUsage):
        yield from [window_of(event, size) for size in WINDOW_SIZES]
    if not isinstance(event, TokenUsage):
        yield WindowKey(HOUR, *allocation_of(event))
    if isinstance(event, PodUsage):
        second = event.event_time // 1_000_000
        yield WindowKey(DAY, second - second % DAY, container_of(event))


def window_of(event: TokenUsage | PodUsage, size: int) -> WindowKey:
    """Return the window of costs, of `size` seconds, that an event falls into."""
    second = event.event_time // 1_000_000
    return WindowKey(size, second - second % size, _dimensions(event))


def _dimensions(event: TokenUsage | PodUsage) -> Dimensions:
    who = event.org, event.team, event.project, event.environment
    if isinstance(event, TokenUsage):
        return Dimensions("tokens", *who, event.provider, event.model, "", "")
    return Dimensions("pods", *who, "", "", event.cluster, event.namespace)


def newest_starts(keys: Iterable[WindowKey]) -> dict[int, int]:
    """Return, for each window size in `keys`, the start of its newest window."""
    newest: dict[int, int] = {}
    for key in keys:
        newest[key.size] = max(key.start, newest.get(key.size, key.start))
    return newest
