"""Which answers are worth keeping, and for how long.

The value of an answer is 0.4 of what a hit would save, 0.4 of how often it is asked and 0.2 of how stable it
is, each between 0 and 1.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from spendstream.caching.identity import Shape

__all__ = [
    "Admission",
    "Policy",
    "RecentMedian",
    "Value",
    "is_complete",
    "reusability",
    "stability",
    "stateful",
    "ttl",
]

_SECOND = 10**6
_COMPLETE = frozenset(
    {"stop", "tool_calls", "function_call", "end_turn", "tool_use", "stop_sequence", "completed"}
)
_PROVIDER_TOOLS = ("web_search", "web_fetch", "file_search", "code_", "mcp", "image_generation", "x_search")
_PROVIDER_STATE = ("conversation", "background", "container", "mcp_servers", "web_search_options")
_NOW = frozenset(
    {
        "current", "currently", "latest", "newest", "now", "nowadays", "recent", "recently", "today",
        "tomorrow", "tonight", "yesterday",
    }
)  # fmt: skip
_WORD = re.compile(r"[a-z]+")
_KIN = 16
_OK = 200


class Policy(Struct, frozen=True, kw_only=True):
    """How generous the cache is: the least value that is kept, and the times to live in microseconds."""

    least_value: float = 0.3
    least_ttl: int = 60 * _SECOND
    most_ttl: int = 24 * 3600 * _SECOND
    most_bytes: int = 1 << 20


class Value(Struct, frozen=True, kw_only=True):
    """What keeping an answer is worth, and why."""

    cost: float
    reusability: float
    stability: float

    @property
    def total(self) -> float:
        """The value, between 0 and 1."""
        return 0.4 * self.cost + 0.4 * self.reusability + 0.2 * self.stability


class RecentMedian:
    """The median of the last values, 255 at most."""

    def __init__(self, size: int = 255) -> None:
        self._arrived: deque[int] = deque()
        self._ordered: list[int] = []
        self._size = size

    def add(self, value: int) -> None:
        """Take one more value; the oldest leaves."""
        if len(self._arrived) == self._size:
            del self._ordered[bisect_left(self._ordered, self._arrived.popleft())]
        self._arrived.append(value)
        insort(self._ordered, value)

    @property
    def value(self) -> int | None:
        """The median (of two, the upper one); None before there is a value."""
        return self._ordered[len(self._ordered) // 2] if self._ordered else None


class Admission:
    """Judges answers by what others cost lately."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._costs = RecentMedian()

    def ttl(self, cost: int | None, reusability: float, stability: float, size: int) -> int:
        """Return for how many microseconds to keep an answer; 0 for not at all.

        `cost` is what it cost in picodollars (None if no price is known), `size` the bytes of its body. Told
        once of every answer that may be kept, worth it or not, so that costs are compared with all.
        """
        value = Value(cost=self._cost(cost), reusability=reusability, stability=stability)
        if size > self._policy.most_bytes or value.total < self._policy.least_value:
            return 0
        return ttl(self._policy, value)

    def _cost(self, cost: int | None) -> float:
        """Return a cost's share of itself and the recent median: a half if it is the median."""
        if cost is None:
            return 0.5  # unknown is not nothing
        median = self._costs.value
        self._costs.add(cost)
        if median is None:
            return 0.5
        return cost / (cost + median) if cost else 0.0


def ttl(policy: Policy, value: Value) -> int:
    """Return how long an answer of this value lives, in microseconds, on a scale of powers.

    What is worth most and asked often has the most; what is tied to now has the least.
    """
    if not value.stability:
        return policy.least_ttl
    share = (value.total + value.reusability) / 2
    growth: float = (policy.most_ttl / policy.least_ttl) ** share
    return round(policy.least_ttl * growth)


def reusability(seen: int, kin: int) -> float:
    """Return how likely a request comes again: 0 at first, and each sighting halves what is missing to 1.

    `seen` is how often the same request was seen before, `kin` how often one that differs in the user's last
    words only; sixteen of these count as one.
    """
    missing: float = 0.5 ** (seen + kin / _KIN)
    return 1.0 - missing


def stability(body: Mapping[str, Any], text: str) -> float:
    """Return how likely the same request has the same answer: 1, half of it if sampled, half with tools.

    And 0 if the user's last words `text` tie it to now, as "today" and "latest" do. English only.
    """
    lower = text.lower()
    for word in _NOW:  # what is seldom there is looked for in the fastest way
        if word in lower and not _NOW.isdisjoint(_WORD.findall(lower)):
            return 0.0
    sampled = body.get("temperature") != 0 and body.get("seed") is None
    tools = bool(body.get("tools") or body.get("functions"))
    return (0.5 if sampled else 1.0) * (0.5 if tools else 1.0)


def stateful(body: Mapping[str, Any]) -> bool:
    """Return whether the answer depends on what is not in the request, and changes.

    A conversation or container at the provider, the web, files: no answer to that is kept or looked up.
    """
    if any(body.get(name) for name in _PROVIDER_STATE):
        return True
    tools = body.get("tools")
    return isinstance(tools, list) and any(map(_run_by_provider, tools))


def is_complete(shape: Shape, status: int, finish_reasons: Iterable[str | None]) -> bool:
    """Return whether a reply is whole, and so may be kept, by the finish reasons of all its choices.

    Not: an error; one that was cut by a length limit, which the same request with luck does not reach; one
    that a filter or a refusal ended, which often is chance, and would be repeated to everybody.
    """
    if status != _OK:
        return False
    reasons = list(finish_reasons)
    return shape == "embeddings" or (bool(reasons) and _COMPLETE.issuperset(reasons))


def _run_by_provider(tool: Any) -> bool:
    kind = tool.get("type") if isinstance(tool, dict) else None
    return isinstance(kind, str) and kind.startswith(_PROVIDER_TOOLS)
