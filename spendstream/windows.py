"""Event-time windows: which window an event falls into, and what a window adds up.

Windows tumble: 1 minute, 1 hour and 1 day, aligned to 1970 UTC. A window belongs to one source (one partition
of one topic); readers add up the sources. All measures are whole numbers, so any order of adding gives the
same window.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import add
from typing import NamedTuple

from spendstream.events import PodUsage, TokenUsage

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "MONEY_MEASURES",
    "WINDOW_SIZES",
    "Dimensions",
    "Entry",
    "Measures",
    "Usage",
    "WindowKey",
    "newest_starts",
    "window_of",
]

Usage = TokenUsage | PodUsage

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
    dimensions: Dimensions


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
        return Measures(*map(add, self, other))


MONEY_MEASURES = frozenset(
    {"cost", "list_cost", "avoided_by_cache", "avoided_by_routing", "avoided_by_compression"}
)
"""The measures that are picodollars."""


def window_of(event: Usage, size: int) -> WindowKey:
    """Return the window of `size` seconds that an event falls into."""
    second = event.event_time // 1_000_000
    return WindowKey(size, second - second % size, _dimensions(event))


def _dimensions(event: Usage) -> Dimensions:
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
