"""Lanes: blocks of one partition in order, those of different partitions side by side.

Landing a block is mostly waiting for ClickHouse. Meanwhile another partition's block can be decoded, and what
waits together is inserted together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from functools import partial

__all__ = ["Lanes"]

_BYTES_AT_ONCE = 8 << 20  # blocks in hand are decoded, which takes ten times the memory of those that wait

_Work = Callable[[], Awaitable[None]]


class Lanes:
    """Does work that must not raise: one piece at a time in each lane, a few at a time in all."""

    def __init__(self) -> None:
        self._lanes: dict[Hashable, asyncio.Queue[tuple[int, _Work]]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._room = asyncio.Condition()
        self._in_hand: list[int] = []
        self._rest = asyncio.Event()
        self._rest.set()
        self._open = True

    async def put(self, lane: Hashable, size: int, work: _Work) -> None:
        """Return when `work` on a block of `size` bytes waits in its lane, where there is room for one."""
        if lane not in self._lanes:
            self._lanes[lane] = asyncio.Queue(maxsize=1)
            self._tasks.append(asyncio.create_task(self._drive(self._lanes[lane])))
        await self._lanes[lane].put((size, work))

    async def close(self, timeout: float) -> None:
        """Begin with nothing more, and wait `timeout` seconds at most until what is in hand is done."""
        self._open = False
        with suppress(TimeoutError):  # what is not done by then is not acknowledged, and will be done again
            async with asyncio.timeout(timeout):
                await self._rest.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _drive(self, waiting: asyncio.Queue[tuple[int, _Work]]) -> None:
        while True:
            size, work = await waiting.get()
            async with self._room:
                await self._room.wait_for(partial(self._has_room, size))
                if not self._open:
                    return
                self._in_hand.append(size)
                self._rest.clear()
            await work()
            async with self._room:
                self._in_hand.remove(size)
                if not self._in_hand:
                    self._rest.set()
                self._room.notify_all()

    def _has_room(self, size: int) -> bool:
        return not self._in_hand or sum(self._in_hand) + size <= _BYTES_AT_ONCE
