"""Blocks of one partition are done in order, those of several side by side, within a bound of bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable

import pytest

from stream_processors.lanes import Lanes

HALF = 4 << 20  # bytes: two such blocks may be in hand at once
SOON = 5.0


class Works:
    """Work that begins when its lane lets it, and ends when the test does."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self._may_end: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Condition()

    def work(self, name: str) -> Callable[[], Awaitable[None]]:
        may_end = self._may_end[name] = asyncio.Event()

        async def do() -> None:
            await self._note(self.begun, name)
            await may_end.wait()
            await self._note(self.ended, name)

        return do

    async def end(self, name: str) -> None:
        """Let a work end, and wait until it has."""
        self._may_end[name].set()
        await self.until(lambda: name in self.ended)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(SOON), self._changed:
            await self._changed.wait_for(condition)

    async def _note(self, names: list[str], name: str) -> None:
        async with self._changed:
            names.append(name)
            self._changed.notify_all()


async def all_wait() -> None:
    """Return when all that can happen without anything from outside has happened."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture
def works() -> Works:
    return Works()


@pytest.fixture
async def lanes() -> AsyncIterator[Lanes]:
    made = Lanes()
    yield made
    await made.close(timeout=0)


async def put(lanes: Lanes, works: Works, lane: Hashable, *names: str, size: int = 1) -> None:
    async with asyncio.timeout(SOON):
        for name in names:
            await lanes.put(lane, size, works.work(name))


async def test_a_lane_does_one_thing_after_the_other(lanes: Lanes, works: Works) -> None:
    await put(lanes, works, "lane", "first", "second")
    await works.until(lambda: works.begun == ["first"])
    await all_wait()
    assert works.begun == ["first"]
    await works.end("first")
    await works.until(lambda: works.begun == ["first", "second"])
    await works.end("second")


async def test_a_lane_that_waits_holds_up_no_other(lanes: Lanes, works: Works) -> None:
    await put(lanes, works, 0, "slow")
    await put(lanes, works, 1, "fast", "faster")
    await works.end("fast")
    await works.end("faster")
    assert works.ended == ["fast", "faster"]


async def test_a_lane_takes_one_block_ahead_and_lets_its_reader_wait_with_the_next(
    lanes: Lanes, works: Works
) -> None:
    await put(lanes, works, "lane", "in hand")
    await works.until(lambda: works.begun == ["in hand"])
    await put(lanes, works, "lane", "ahead")
    third = asyncio.create_task(lanes.put("lane", 1, works.work("third")))
    await all_wait()
    assert not third.done()
    await works.end("in hand")
    await asyncio.wait_for(third, SOON)


async def test_large_blocks_wait_until_there_is_room_for_their_bytes(lanes: Lanes, works: Works) -> None:
    for name in ("one", "two", "three"):
        await put(lanes, works, name, name, size=HALF)
    await works.until(lambda: len(works.begun) == 2)
    await all_wait()
    assert works.begun == ["one", "two"]
    await works.end("one")
    await works.until(lambda: works.begun == ["one", "two", "three"])


async def test_a_block_larger_than_the_bound_is_done_alone(lanes: Lanes, works: Works) -> None:
    await put(lanes, works, 0, "huge", size=100 * HALF)
    await works.until(lambda: works.begun == ["huge"])
    await put(lanes, works, 1, "small")
    await all_wait()
    assert works.begun == ["huge"]
    await works.end("huge")
    await works.until(lambda: works.begun == ["huge", "small"])


async def test_closing_waits_for_what_is_in_hand_and_begins_nothing_more(lanes: Lanes, works: Works) -> None:
    await put(lanes, works, 0, "in hand", "next")
    await works.until(lambda: works.begun == ["in hand"])
    closing = asyncio.create_task(lanes.close(SOON))
    await all_wait()
    assert not closing.done()
    await works.end("in hand")
    await asyncio.wait_for(closing, SOON)
    assert works.begun == works.ended == ["in hand"]


async def test_closing_does_not_wait_longer_than_it_was_told(lanes: Lanes, works: Works) -> None:
    await put(lanes, works, 0, "hangs")
    await works.until(lambda: works.begun == ["hangs"])
    await asyncio.wait_for(lanes.close(timeout=0.01), SOON)
    assert works.ended == []


async def test_lanes_without_work_close_at_once(lanes: Lanes, works: Works) -> None:
    await put(lanes, works, 0, "done")
    await works.end("done")
    await asyncio.wait_for(lanes.close(timeout=60), SOON)
