"""Ending tasks."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from spendstream.ending import end


async def test_a_task_that_loses_a_cancellation_is_ended_all_the_same() -> None:
    lost = 0

    async def careless() -> None:
        nonlocal lost
        while lost < 3:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            lost += 1
        await asyncio.sleep(60)

    async with asyncio.timeout(10):
        task = asyncio.create_task(careless())
        await asyncio.sleep(0)
        (outcome,) = await end(task, again=0.01)
    assert isinstance(outcome, asyncio.CancelledError)
    assert lost == 3


async def test_what_became_of_tasks_is_told_in_their_order() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    broken, running = asyncio.create_task(fail()), asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    first, second = await end(broken, running)
    assert isinstance(first, ValueError)
    assert isinstance(second, asyncio.CancelledError)
    assert await end() == []
