"""Waiting for a dead dependency: try again until it answers, and tell; nothing is dropped meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from spendstream.errors import TransientError

__all__ = ["Waits", "patiently"]

_log = structlog.get_logger(__name__)

T = TypeVar("T")


async def patiently(call: Callable[[], Awaitable[T]], on_wait: Callable[[], None]) -> T:
    """Return what `call` returns, once it works; `on_wait` is told of every time that it does not."""
    while True:
        try:
            return await call()
        except TransientError as error:
            on_wait()
            _log.warning("waiting", why=str(error), seconds=error.retry_after)
            await asyncio.sleep(error.retry_after)


class Waits:
    """What a process waits for now: calls that have failed, and are tried again."""

    def __init__(self) -> None:
        self._waiting: dict[object, str] = {}

    @property
    def now(self) -> Sequence[str]:
        """What is waited for, each thing once, in order."""
        return sorted(set(self._waiting.values()))

    async def patiently(self, what: str, call: Callable[[], Awaitable[T]], on_wait: Callable[[], None]) -> T:
        """Return what `call` returns, once it works; until then `what` is waited for."""
        this = object()

        def waiting() -> None:
            self._waiting[this] = what
            on_wait()

        try:
            return await patiently(call, waiting)
        finally:
            self._waiting.pop(this, None)
