"""When an event is sent: gaps shrink by the speed, and what is late does not wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from producers.pace import MAX_SPEED, Pace, chunks
from spendstream.events import TokenUsage
from spendstream.ids import derived_id

SECOND = 10**6


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def at(*times: int) -> list[TokenUsage]:
    return [
        TokenUsage(id=derived_id(time, b"", row), event_time=time, source="test", model="m")
        for row, time in enumerate(times)
    ]


async def sent(times: list[int], speed: float, size: int = 10) -> list[tuple[float, list[int]]]:
    """When each chunk came, in seconds from the first, and the times of its events."""
    fake = FakeTime()
    pace = Pace(speed, monotonic=lambda: fake.now, sleep=fake.sleep)
    return [
        (round(fake.now - 100, 6), [event.event_time for event in chunk])
        async for chunk in chunks(at(*times), pace, size)
    ]


async def test_gaps_are_as_long_as_they_were_at_speed_one() -> None:
    assert await sent([5 * SECOND, 6 * SECOND, 9 * SECOND], 1) == [
        (0, [5 * SECOND]),
        (1, [6 * SECOND]),
        (4, [9 * SECOND]),
    ]


async def test_gaps_shrink_by_the_speed() -> None:
    assert [when for when, _ in await sent([0, 60 * SECOND, 180 * SECOND], 60)] == [0, 1, 3]


async def test_at_full_speed_nothing_waits_and_chunks_are_full() -> None:
    assert await sent([0, 10**12, 2 * 10**12, 3 * 10**12], MAX_SPEED, size=3) == [
        (0, [0, 10**12, 2 * 10**12]),
        (0, [3 * 10**12]),
    ]


async def test_an_event_earlier_than_the_one_before_it_is_due_at_once_and_keeps_its_place() -> None:
    assert await sent([0, 2 * SECOND, 1 * SECOND, 3 * SECOND], 1) == [
        (0, [0]),
        (2, [2 * SECOND, 1 * SECOND]),
        (3, [3 * SECOND]),
    ]


@given(
    times=st.lists(st.integers(0, 10**10), max_size=30), speed=st.floats(0.1, 10**6), size=st.integers(1, 7)
)
async def test_every_event_is_sent_once_in_its_order_and_never_before_its_time(
    times: list[int], speed: float, size: int
) -> None:
    chunked = await sent(times, speed, size)
    assert [time for _, chunk in chunked for time in chunk] == times
    for when, chunk in chunked:
        assert len(chunk) <= size
        assert all(when >= (time - times[0]) / SECOND / speed - 1e-3 for time in chunk)
