"""Waiting for a dead dependency: try again until it answers, and tell; nothing is dropped meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from spendstream.errors import TransientError

__all__ = ["patiently"]

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
