"""What looks at the landed spend and has something to tell: one worker at a time lets the watchers look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from spendstream.alerts import Alert

__all__ = ["Publish", "Watcher"]

Publish = Callable[[Sequence[Alert]], Awaitable[None]]
"""Sends alerts to Kafka; on return they are durable. Raises BrokerUnavailable."""


class Watcher(Protocol):
    """Looks again and again, about once a second, for as long as its worker owns the first partition.

    What it remembers is a cache: the worker that takes over asks ClickHouse, and says the same thing once.
    """

    async def look(self, now: int) -> Sequence[Alert]:
        """Publish and return what is new at `now` (microseconds); raise TransientError to be asked again."""

    def rest(self) -> None:
        """Forget what was told: someone else looks from now on."""

    async def close(self) -> None:
        """Let go of connections."""
