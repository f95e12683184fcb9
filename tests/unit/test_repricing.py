"""An event that gets its price later counts once, at that price, whatever crashes, repeats or comes twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from producers.repricing import reprice
from spendstream.batches import Batch
from spendstream.codec import TOKENS
from spendstream.events import TokenUsage
from spendstream.ids import derived_id, repricing_id
from spendstream.pricing.book import MILLION, PriceBook, Rates, table
from spendstream.repricing import repriced
from spendstream.store import Source
from spendstream.tally import tally
from spendstream.testing import MemoryOffice, MemoryStore
from spendstream.windows import HOUR, MONEY_MEASURES, Entry, Measures
from stream_processors.metrics import WorkerMetrics
from stream_processors.processor import RecordBlock, SourceProcessor
from tests.fixtures.accounting import distinct, windows

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
RATES = Rates(input=3 * MILLION, output=5 * MILLION, cache_read=MILLION, cache_write=4 * MILLION)
NEWS = START + 60 * SECOND
_SINCE = msgspec.structs.replace(RATES, effective_from=NEWS)
_DEAR = msgspec.structs.replace(RATES, input=2**63)
BOOK = PriceBook(table([("", "new", RATES), ("", "since", _SINCE), ("", "dear", _DEAR)]))


class Crash(BaseException):
    """The process dies here."""


def call(row: int, *, seconds: int = 0, **fields: Any) -> TokenUsage:
    time = START + seconds * SECOND
    made = {"team": "a", "model": "new", "input_tokens": 100, "output_tokens": 10, "duration": 1000, **fields}
    return TokenUsage(id=derived_id(time, b"unpriced", row), event_time=time, source="test", **made)


def priced(event: TokenUsage) -> TokenUsage:
    found = repriced(event, BOOK)
    assert found is not None
    return found


class TestPrice:
    def test_a_repricing_is_the_event_with_the_cost_of_its_time(self) -> None:
        event = call(1, seconds=60, model="since", cache_read_tokens=20, cache_write_tokens=30, status=500)
        new = priced(event)
        assert new.cost == new.list_cost == 50 * 3 + 10 * 5 + 20 * 1 + 30 * 4
        same = msgspec.structs.replace(new, id=event.id, reprices=None, cost=None, list_cost=None)
        assert same == event
        assert (new.reprices, new.id) == (event.id, repricing_id(event.event_time, event.id))

    def test_a_cache_write_for_an_hour_has_the_price_that_it_has_at_the_gateway(self) -> None:
        book = PriceBook(table([("", "new", msgspec.structs.replace(RATES, cache_write_1h=6 * MILLION))]))
        new = repriced(call(1, cache_write_tokens=30, cache_write_1h_tokens=20), book)
        assert new is not None
        assert new.cost == 70 * 3 + 10 * 5 + 10 * 4 + 20 * 6

    @pytest.mark.parametrize(
        "fields",
        [
            {"model": "unknown"},
            {"model": "since", "seconds": 59},
            {"cache_read_tokens": 101},
            {"cache_write_tokens": 2, "cache_write_1h_tokens": 3},
            {"model": "dear", "input_tokens": 2**21},
        ],
        ids=[
            "no price",
            "no price yet",
            "impossible tokens",
            "impossible parts",
            "more than an event can hold",
        ],
    )
    def test_what_no_price_can_be_right_for_stays_unpriced(self, fields: dict[str, Any]) -> None:
        assert repriced(call(1, **fields), BOOK) is None

    def test_every_event_has_one_repricing_and_it_sorts_by_the_event_s_time(self) -> None:
        ids = {repricing_id(START, call(row).id) for row in range(1000)}
        assert len(ids) == 1000
        assert {one.int >> 80 for one in ids} == {START // 1000}
        assert {one.version for one in ids} == {7}


class TestRun:
    @staticmethod
    def run(chunks: Sequence[Sequence[TokenUsage]]) -> tuple[Any, list[TokenUsage]]:
        sent: list[TokenUsage] = []

        async def unpriced() -> AsyncIterator[Sequence[TokenUsage]]:
            for chunk in chunks:
                yield chunk

        async def send(events: Sequence[TokenUsage]) -> None:
            sent.extend(events)

        return asyncio.run(reprice(unpriced(), BOOK, send)), sent

    def test_it_tells_what_was_priced_and_what_was_not_by_model(self) -> None:
        old = call(3, model="old", provider="x")
        done, sent = self.run([[call(1), old], [call(2)]])
        assert sent == [priced(call(1)), priced(call(2))]
        assert dict(done.events) == {("", "new"): 2}
        assert dict(done.cost) == {("", "new"): 2 * 350}
        assert dict(done.unpriced) == {("x", "old"): 1}

    def test_a_second_run_sends_the_same_events(self) -> None:
        chunks = [[call(row) for row in range(5)]]
        assert self.run(chunks) == self.run(chunks)


class TestWindows:
    def test_a_repricing_adds_its_cost_and_takes_back_that_there_was_none(self) -> None:
        event = call(1, cache_outcome="exact", status=500, avoided_by_cache=3)
        batch = Batch([Entry(7, priced(event), 0)])
        for key, added in tally(batch).items():
            assert added.measures == Measures(unpriced=-1, cost=350, list_cost=350), key
            assert (added.first, added.last, dict(added.latency)) == (7, 7, {})

    def test_an_event_and_its_repricing_add_up_to_a_priced_event(self) -> None:
        event = call(1, avoided_by_routing=9, cache_outcome="semantic")
        other = call(2, seconds=5, cost=77, list_cost=77)
        both = tally(Batch([Entry(at, one, 0) for at, one in enumerate([event, other, priced(event)])]))
        at_once = msgspec.structs.replace(event, cost=350, list_cost=350)
        expected = tally(Batch([Entry(at, one, 0) for at, one in enumerate([at_once, other])]))
        assert {key: added.measures for key, added in both.items()} == windows([at_once, other])
        assert [one.latency for one in both.values()] == [one.latency for one in expected.values()]

    def test_money_of_repricings_does_not_wrap_around(self) -> None:
        most = 2**63 - 1
        rich = [msgspec.structs.replace(priced(call(row)), cost=most, list_cost=most) for row in range(5)]
        [added, *_] = tally(Batch([Entry(row, event, 0) for row, event in enumerate(rich)])).values()
        assert all(getattr(added.measures, name) in (0, 5 * most) for name in MONEY_MEASURES)


def story(seed: int) -> list[TokenUsage]:
    """Return events of which some have no price, and repricings: due, double, or of nothing."""
    rnd = random.Random(seed)
    told: list[TokenUsage] = []
    for row in range(80):
        seen = [event for event in told if event.reprices is None]
        kind = rnd.random()
        if seen and kind < 0.3:
            told.append(priced(rnd.choice(seen)))
        elif seen and kind < 0.4:
            told.append(rnd.choice(told))
        elif kind < 0.45:
            told.append(priced(call(10_000 + row)))
        else:
            cost = rnd.choice([None, None, 5])
            told.append(
                call(row, seconds=rnd.randrange(4000), team=rnd.choice("ab"), cost=cost, list_cost=cost)
            )
    return told


def truth(told: Sequence[TokenUsage]) -> list[TokenUsage]:
    """Return the distinct events, each with the cost it had in the end."""
    events: dict[object, TokenUsage] = {}
    for event in told:
        if event.reprices is None:
            events.setdefault(event.id, event)
        elif event.reprices in events and events[event.reprices].cost is None:
            costs = {"cost": event.cost, "list_cost": event.list_cost}
            events[event.reprices] = msgspec.structs.replace(events[event.reprices], **costs)
    return list(events.values())


async def life(
    store: MemoryStore, told: Sequence[TokenUsage], first: int, size: int, incarnation: str
) -> int:
    """Process what is told from `first` on, as one life of a worker does; return how far it came."""
    worker = SourceProcessor(
        Source("tokens", "usage.tokens", 0, incarnation), TOKENS, store, MemoryOffice(),
        WorkerMetrics(CollectorRegistry()), horizon=600 * SECOND, allowed_lateness=3600 * SECOND,
    )  # fmt: skip
    try:
        await worker.recover()
        while first < len(told):
            records = [
                SimpleNamespace(
                    offset=at, timestamp=START // 1000 + HOUR * 24_000, key=b"k", value=TOKENS.encode(one)
                )
                for at, one in enumerate(told[first : first + size], first)
            ]
            await worker.process(RecordBlock(first=first, last=records[-1].offset, records=records))
            first += len(records)
    except Crash:
        pass
    return first


@given(seed=st.integers(0, 10**6), odds=st.sampled_from([0.0, 0.01, 0.03]), size=st.integers(1, 30))
@settings(max_examples=25)
def test_windows_equal_the_rows_at_their_final_prices_after_any_crashes(
    seed: int, odds: float, size: int
) -> None:
    told, rnd = story(seed), random.Random(seed)

    def strike(_operation: str) -> None:
        if rnd.random() < odds:
            raise Crash

    store = MemoryStore(strike)

    async def lives() -> None:
        for incarnation in ("one", "two"):  # the second delivers all of it again
            done = 0
            while done < len(told):
                done = await life(store, told, max(0, done - rnd.choice([0, 5, 50])), size, incarnation)

    asyncio.run(lives())
    assert sorted(store.events(), key=lambda event: event.id) == sorted(
        truth(told), key=lambda event: event.id
    )
    assert store.totals() == windows(truth(told))
    hours = [state for (_, key), state in store.states().items() if key.size == HOUR]
    calls = [event for event in distinct(told) if event.reprices is None]
    assert sum(sum(state.latency.values()) for state in hours) == len(calls)


def test_a_price_that_comes_to_another_incarnation_of_the_topic_adds_up() -> None:
    store, event = MemoryStore(), call(1)

    async def both() -> None:
        await life(store, [event], 0, 1, "one")
        await life(store, [priced(event)], 0, 1, "two")

    asyncio.run(both())
    assert store.totals() == windows([msgspec.structs.replace(event, cost=350, list_cost=350)])
    assert {state.measures.unpriced for state in store.states().values()} == {1, -1}


def test_a_price_that_comes_hours_after_its_call_is_not_late_usage() -> None:
    store, forgotten = MemoryStore(), call(1)
    told = [forgotten, call(2, seconds=7200), priced(forgotten), call(3)]
    assert asyncio.run(life(store, told, 0, 1, "first")) == len(told)
    assert [late.entry.event.id for late in store.late().values()] == [told[3].id]
