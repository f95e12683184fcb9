"""Effectively once: windows equal the distinct events, whatever crashes, repeats or comes late."""

import asyncio
import random
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from spendstream.codec import TOKENS
from spendstream.events import TokenUsage
from spendstream.ids import derived_id
from spendstream.store import Source
from spendstream.testing import MemoryOffice, MemoryStore
from stream_processors.metrics import WorkerMetrics
from stream_processors.processor import RecordBlock, SourceProcessor
from tests.fixtures.accounting import distinct, windows
from tests.fixtures.stepping import Hand, PausingStore

START = 1_700_000_000_000_000
SECOND = 1_000_000
ALLOWED = 600 * SECOND


class Crash(BaseException):
    """The process dies here."""


def usage(row, seconds, *, team="a", model="gpt-4", cost=7):
    return TokenUsage(
        id=derived_id(START + seconds * SECOND, b"test", row),
        event_time=START + seconds * SECOND,
        source="test",
        team=team,
        model=model,
        input_tokens=row,
        cost=cost,
        list_cost=cost,
    )


def record(offset, event):
    value = event if isinstance(event, bytes) else TOKENS.encode(event)
    return SimpleNamespace(offset=offset, timestamp=START // 1000 + 86_400_000, key=b"k", value=value)


def processor(store, *, incarnation="one", horizon=60 * SECOND, office=None):
    source = Source("tokens", "usage.tokens", 0, incarnation)
    metrics = WorkerMetrics(CollectorRegistry())
    return SourceProcessor(
        source, TOKENS, store, office or MemoryOffice(), metrics, horizon=horizon, allowed_lateness=ALLOWED
    )


async def run(store, records, *, bounds=lambda: 5, **options):
    """Process all records as one life of a worker does, and return how many were committed."""
    worker = processor(store, **options)
    committed = 0
    try:
        await worker.recover()
        while committed < len(records):
            part = records[committed : committed + bounds()]
            await worker.process(RecordBlock(first=part[0].offset, last=part[-1].offset, records=part))
            committed += len(part)
    except Crash:
        pass
    return committed


def stream(seed, length):
    """Return events with duplicates, disorder, and some that are very late."""
    rnd = random.Random(seed)
    events = []
    for row in range(length):
        if events and rnd.random() < 0.15:
            events.append(rnd.choice(events[-30:] if rnd.random() < 0.7 else events))
            continue
        late = 4000 if rnd.random() < 0.05 else rnd.randrange(20)
        events.append(
            usage(row, 10_000 + 2 * row - late, team=rnd.choice("ab"), cost=rnd.choice([None, 3, 10**9]))
        )
    return events


def too_late(events):
    """Return (source, id) of what came later than allowed, and the watermark that it met, one by one."""
    found, newest = {}, -1
    for event in distinct(events):
        watermark = max(newest - 10 * SECOND, -1)
        if watermark - event.event_time > ALLOWED:
            found["usage.tokens/0@one", event.id.int] = watermark
        newest = max(newest, event.event_time)
    return found


@given(seed=st.integers(0, 10**6), odds=st.sampled_from([0.0, 0.005, 0.02]))
@settings(max_examples=60)
def test_windows_equal_distinct_events_after_any_crashes(seed, odds):
    rnd = random.Random(seed)
    events = stream(seed, 120)
    records = [record(offset, event) for offset, event in enumerate(events)]

    def strike(_operation):
        if rnd.random() < odds:
            raise Crash

    store = MemoryStore(strike)

    async def lives():
        committed = 0
        while committed < len(records):
            # the commit is lost now and then, so that a new life reads again what has landed
            committed = max(0, committed - rnd.choice([0, 0, 10, 200]))
            committed += await run(store, records[committed:], bounds=lambda: rnd.randrange(1, 40))

    asyncio.run(lives())
    straight = MemoryStore()
    asyncio.run(run(straight, records, bounds=lambda: 50))
    assert store.states() == straight.states()
    assert store.late() == straight.late()
    assert {key: late.watermark for key, late in store.late().items()} == too_late(events)
    assert store.totals() == windows(events)
    assert {event.id for event in store.events()} == {event.id for event in events}


async def test_a_recording_replayed_into_a_new_incarnation_changes_nothing():
    events = stream(3, 200)
    records = [record(offset, event) for offset, event in enumerate(events)]
    store = MemoryStore()
    await run(store, records)
    await run(store, records, incarnation="two")
    await run(store, [record(1000 + offset, event) for offset, event in enumerate(events)])
    assert store.totals() == windows(events)


async def test_new_events_of_a_new_incarnation_count_though_their_offsets_start_again():
    first, second = stream(1, 50), [usage(1000 + row, 20_000 + row) for row in range(50)]
    store = MemoryStore()
    await run(store, [record(offset, event) for offset, event in enumerate(first)])
    await run(store, [record(offset, event) for offset, event in enumerate(second)], incarnation="two")
    assert store.totals() == windows(first + second)


async def test_malformed_records_are_buried_with_reason_and_bytes_and_the_rest_lands():
    good = [usage(row, row) for row in range(3)]
    far = usage(9, 10 * 86_400)
    values = [good[0], b"{nonsense", good[1], b'{"v":1}', TOKENS.encode(far), good[2]]
    office, store = MemoryOffice(), MemoryStore()
    await run(store, [record(offset, value) for offset, value in enumerate(values)], office=office)
    assert {event.id for event in store.events()} == {event.id for event in good}
    buried = {letter.offset: letter for letter in office.letters}
    assert sorted(buried) == [1, 3, 4]
    assert buried[1].value == b"{nonsense"
    assert "malformed" in buried[1].reason
    assert "missing required field" in buried[3].reason
    assert buried[4].stage == "validate"


async def test_a_gap_between_blocks_is_never_jumped():
    worker = processor(MemoryStore())
    await worker.recover()
    await worker.process(RecordBlock(first=0, last=0, records=[record(0, usage(0, 0))]))
    with pytest.raises(RuntimeError, match="gap"):
        await worker.process(RecordBlock(first=2, last=2, records=[record(2, usage(2, 0))]))


async def test_two_blocks_at_once_are_refused_since_a_commit_could_pass_the_first():
    worker = processor(PausingStore())
    blocks = [RecordBlock(first=n, last=n, records=[record(n, usage(n, 0))]) for n in range(2)]
    first, second = (Hand(worker.process(block)) for block in blocks)
    assert not first.step()
    with pytest.raises(RuntimeError, match="concurrency must be 1"):
        second.step()
    while not first.step():
        pass
    assert worker.next_offset == 1


async def test_what_comes_later_than_allowed_is_counted_and_listed_with_the_watermark_that_it_met():
    on_time, just, beyond = usage(0, 5000), usage(1, 5000 - 610), usage(2, 5000 - 611)
    store = MemoryStore()
    await run(store, [record(place, event) for place, event in enumerate([on_time, just, beyond])])
    [late] = store.late().values()
    assert late.entry.event == beyond
    assert late.watermark == on_time.event_time - 10 * SECOND
    assert late.lateness == 601 * SECOND
    assert store.totals() == windows([on_time, just, beyond])


async def test_a_duplicate_is_never_late_and_makes_nothing_late():
    store = MemoryStore()
    first = [usage(0, 9000)]
    await run(store, [record(0, first[0])], incarnation="one")
    await run(store, [record(0, first[0]), record(1, usage(1, 0))], incarnation="two")
    assert store.late() == {}


async def test_a_block_that_is_read_again_in_the_same_life_lists_nothing_new():
    events = [usage(0, 5000), usage(1, 100), usage(2, 9000), usage(3, 4900)]
    records = [record(offset, event) for offset, event in enumerate(events)]
    store = MemoryStore()
    worker = processor(store)
    await worker.recover()
    await worker.process(RecordBlock(first=0, last=3, records=records))
    before = store.late()
    await worker.process(RecordBlock(first=1, last=3, records=records[1:]))
    assert store.late() == before
    assert {late.entry.event.id for late in before.values()} == {events[1].id, events[3].id}
