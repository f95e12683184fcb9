"""How calls were spread over providers within a sliding window, so that none gets more than its limit."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from spendstream.routing.definition import FULL, Limit

__all__ = ["Spread"]

_SLOTS = 60


class Spread:
    """Counts calls by provider in sixty slots of a window; a slot leaves the window as a whole."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._width = max(limit.window // _SLOTS, 1)
        self._slots: deque[tuple[int, dict[str, int]]] = deque()
        self._calls: dict[str, int] = {}
        self._total = 0

    def admitted(self, providers: Collection[str], now: int) -> Collection[str]:
        """Return the providers that may get one more call; those with the fewest if none may.

        Everyone may get a first one: of n calls in a window nobody has more than n · share, rounded up.
        """
        self._forget(now)
        most = -(-(self._total + 1) * self._limit.share // FULL)
        within = [provider for provider in providers if self._calls.get(provider, 0) < most]
        if within:
            return within
        fewest = min(self._calls.get(provider, 0) for provider in providers)
        return [provider for provider in providers if self._calls.get(provider, 0) == fewest]

    def count(self, provider: str, now: int) -> None:
        """Count a call."""
        self._forget(now)
        slot = now // self._width
        if not self._slots or self._slots[-1][0] < slot:
            self._slots.append((slot, {}))
        counts = self._slots[-1][1]
        counts[provider] = counts.get(provider, 0) + 1
        self._calls[provider] = self._calls.get(provider, 0) + 1
        self._total += 1

    def _forget(self, now: int) -> None:
        first = now // self._width - _SLOTS
        while self._slots and self._slots[0][0] <= first:
            for provider, calls in self._slots.popleft()[1].items():
                self._total -= calls
                self._calls[provider] -= calls
                if not self._calls[provider]:
                    del self._calls[provider]
