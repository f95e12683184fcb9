"""Ending tasks that run until they are cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

__all__ = ["end"]

_AGAIN_S = 1.0


async def end(*tasks: asyncio.Task[Any], again: float = _AGAIN_S) -> Sequence[Any]:
    """Cancel tasks until all have ended; return their results and exceptions.

    Once is not always enough: `asyncio.wait_for` of Python 3.11 loses a cancellation that comes together with
    what it waits for, and clients of Kafka wait with it. So it is repeated, each `again` seconds.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again)
    return await asyncio.gather(*tasks, return_exceptions=True)
