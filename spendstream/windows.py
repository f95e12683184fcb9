"""Event-time windows: which window an event falls into, and what a window adds up.

Windows tumble: 1 minute, 1 hour and 1 day, aligned to 1970 UTC. A window belongs to one source (one partition
of one topic); readers add up the sources. All measures are whole numbers, so any order of adding gives the
same window.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import add, attrgetter
from typing import NamedTuple, cast

from spendstream.events import PodUsage, TokenUsage

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "WINDOW_SIZES",
    "Dimensions",
    "Entry",
    "Measures",
    "Usage",
    "WindowKey",
    "by_minute",
    "newest_starts",
]

Usage = TokenUsage | PodUsage

MINUTE, HOUR, DAY = 60, 3_600, 86_400
WINDOW_SIZES = (MINUTE, HOUR, DAY)
"""Seconds, finest first; each divides the next, so that a finer window lies in one coarser window."""

_MICROS_PER_MINUTE = MINUTE * 1_000_000


class Entry(NamedTuple):
    """An event, the offset that it was delivered at, and when the broker got it (milliseconds, UTC)."""

    offset: int
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

    def widened(self, size: int) -> WindowKey:
        """Return the window of a coarser `size` in which this one lies."""
        return WindowKey(size, self.start - self.start % size, self.dimensions)


class Measures(NamedTuple):
    """What a window adds up: counts, tokens, and picodollars."""

    events: int = 0
    unpriced: int = 0
    errors: int = 0
    cache_hits: int = 0
    cost: int = 0
    list_cost: int = 0
    avoided_by_cache: int = 0
    avoided_by_routing: int = 0
    avoided_by_compression: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def plus(self, other: Measures) -> Measures:
        """Return both added up."""
        return Measures(*map(add, self, other))

    @classmethod
    def of(cls, events: Sequence[Usage]) -> Measures:
        """Return what `events`, all of one type, add up to."""
        if events and isinstance(events[0], TokenUsage):
            return _of_tokens(cast("Sequence[TokenUsage]", events))
        return Measures(
            events=len(events),
            unpriced=sum(event.cost is None for event in events),
            cost=sum(event.cost or 0 for event in events),
            list_cost=sum(event.cost or 0 for event in events),
        )


_HTTP_ERROR = 400


def _of_tokens(events: Sequence[TokenUsage]) -> Measures:
    return Measures(
        events=len(events),
        unpriced=sum([event.cost is None for event in events]),
        errors=sum([event.status >= _HTTP_ERROR for event in events]),
        cache_hits=sum([event.cache_outcome != "none" for event in events]),
        cost=sum([event.cost or 0 for event in events]),
        list_cost=sum([event.list_cost or 0 for event in events]),
        avoided_by_cache=sum([event.avoided_by_cache for event in events]),
        avoided_by_routing=sum([event.avoided_by_routing for event in events]),
        avoided_by_compression=sum([event.avoided_by_compression for event in events]),
        input_tokens=sum([event.input_tokens for event in events]),
        output_tokens=sum([event.output_tokens for event in events]),
        cache_read_tokens=sum([event.cache_read_tokens for event in events]),
        cache_write_tokens=sum([event.cache_write_tokens for event in events]),
        reasoning_tokens=sum([event.reasoning_tokens for event in events]),
    )


_token_dimensions = attrgetter("org", "team", "project", "environment", "provider", "model")
_pod_dimensions = attrgetter("org", "team", "project", "environment", "cluster", "namespace")


def by_minute(entries: Sequence[Entry]) -> dict[WindowKey, list[Entry]]:
    """Return `entries`, all of one type, by the finest window that each falls into."""
    tokens = bool(entries) and isinstance(entries[0].event, TokenUsage)
    values = _token_dimensions if tokens else _pod_dimensions
    groups: defaultdict[tuple[int, tuple[str, ...]], list[Entry]] = defaultdict(list)
    for entry in entries:
        event = entry.event
        groups[event.event_time // _MICROS_PER_MINUTE, values(event)].append(entry)
    return {
        WindowKey(MINUTE, minute * MINUTE, _dimensions(values, tokens=tokens)): group
        for (minute, values), group in groups.items()
    }


def _dimensions(values: tuple[str, ...], *, tokens: bool) -> Dimensions:
    org, team, project, environment, first, second = values
    if tokens:
        return Dimensions("tokens", org, team, project, environment, first, second, "", "")
    return Dimensions("pods", org, team, project, environment, "", "", first, second)


def newest_starts(keys: Iterable[WindowKey]) -> dict[int, int]:
    """Return, for each window size in `keys`, the start of its newest window."""
    newest: dict[int, int] = {}
    for key in keys:
        newest[key.size] = max(key.start, newest.get(key.size, key.start))
    return newest
