"""What every usage store promises: in memory, and on ClickHouse."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from clickhouse_connect.driver.asyncclient import AsyncClient

from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.store import ClickHouseStore
from spendstream.allocation.windows import AllocationDimensions, AllocationMeasures
from spendstream.config import Config, Secret
from spendstream.errors import StoreUnavailable
from spendstream.events import NodeUsage, PodUsage, TokenUsage
from spendstream.ids import repricing_id
from spendstream.ledger import ELSEWHERE, Ledger, WindowState
from spendstream.queries import RECONCILE, miscounted
from spendstream.store import UsageStore
from spendstream.tally import tally
from spendstream.testing import MemoryStore
from spendstream.windows import DAY, HOUR, MINUTE, Measures, WindowKey
from tests.fixtures.landing import (
    ARRIVED,
    HORIZON,
    PICO_DIGITS,
    SECOND,
    START,
    call,
    emptied,
    entries,
    late,
    source,
    state,
)


@pytest.fixture(scope="session")
def migrated(clickhouse_url: str) -> Secret:
    url = Secret(clickhouse_url)
    asyncio.run(migrate(url, Config()))
    return url


@pytest.fixture
async def client(migrated: Secret) -> AsyncIterator[AsyncClient]:
    """A connection to ClickHouse, whose tables are empty."""
    connection = await emptied(migrated)
    yield connection
    await connection.close()


@pytest.fixture(params=["memory", "clickhouse"])
async def store(request: pytest.FixtureRequest, migrated: Secret) -> AsyncIterator[UsageStore]:
    """An empty store of each kind."""
    if request.param == "memory":
        yield MemoryStore()
        return
    await (await emptied(migrated)).close()
    on_clickhouse = ClickHouseStore(migrated)
    yield on_clickhouse
    await on_clickhouse.close()


class TestEvents:
    async def test_an_empty_store_left_nothing(self, store: UsageStore) -> None:
        left = await store.recover(source(), HORIZON)
        assert (left.floor, list(left.first_positions), dict(left.newest_stored)) == (0, [], {})

    async def test_the_first_delivery_of_an_id_wins_whatever_the_order_of_arrival(
        self, store: UsageStore
    ) -> None:
        event = call(1)
        for offset in (7, 3, 9):
            await store.land_events(source(), entries(event, first=offset))
        assert await store.first_positions(source(), [event]) == {event.id.int: 3}
        left = await store.recover(source(), HORIZON)
        assert list(left.first_positions) == [(event.id.int, event.event_time, 3)]

    async def test_ids_of_another_source_are_elsewhere(self, store: UsageStore) -> None:
        here, there, unknown = call(1), call(2), call(3)
        await store.land_events(source(), entries(here, first=4))
        await store.land_events(source("two"), entries(there, first=5))
        asked = [here, there, unknown]
        assert await store.first_positions(source(), asked) == {here.id.int: 4, there.id.int: ELSEWHERE}
        assert await store.first_positions(source("two"), asked) == {here.id.int: ELSEWHERE, there.id.int: 5}

    async def test_an_id_that_another_source_delivered_first_is_elsewhere_when_recovered(
        self, store: UsageStore
    ) -> None:
        event = call(1)
        await store.land_events(source("two"), entries(event, first=2))
        left = await store.recover(source("one"), HORIZON)
        assert list(left.first_positions) == [(event.id.int, event.event_time, ELSEWHERE)]

    async def test_ids_are_recovered_from_the_floor_on(self, store: UsageStore) -> None:
        events = [call(row, seconds=100 * row) for row in range(20)]
        await store.land_events(source(), entries(*events))
        left = await store.recover(source(), HORIZON)
        assert left.floor == events[-1].event_time - HORIZON
        assert sorted(left.first_positions) == sorted(
            (event.id.int, event.event_time, offset)
            for offset, event in enumerate(events)
            if event.event_time >= left.floor
        )
        assert len(left.first_positions) == 7

    async def test_a_question_about_9000_events_is_answered(self, store: UsageStore) -> None:
        events = [call(row, seconds=row) for row in range(9000)]
        await store.land_events(source(), entries(*events[::2]))
        found = await store.first_positions(source(), events)
        assert found == {event.id.int: place for place, event in enumerate(events[::2])}

    async def test_events_of_more_than_a_hundred_days_land_in_one_go(self, store: UsageStore) -> None:
        events = [call(day, seconds=day * DAY) for day in range(150)]
        assert await store.land_events(source(), entries(*events)) == ()
        assert len(await store.first_positions(source(), events)) == 150

    async def test_pods_and_calls_are_kept_apart(self, store: UsageStore) -> None:
        pod = PodUsage(
            id=uuid.uuid4(), event_time=START, end_time=START + 1, source="test", cluster="c",
            namespace="n", pod="p", labels={"app": "web"},
        )  # fmt: skip
        pods = source(kind="pods")
        await store.land_events(pods, entries(pod, first=11))
        assert await store.first_positions(pods, [pod]) == {pod.id.int: 11}


class TestNewestTime:
    async def test_it_is_that_of_the_source_s_rows_below_the_position(self, store: UsageStore) -> None:
        events = [call(0, seconds=50), call(1, seconds=90), call(2, seconds=70)]
        await store.land_events(source(), entries(*events, first=10))
        await store.land_events(source("two"), entries(call(3, seconds=99)))
        found = [await store.newest_time(source(), before) for before in (10, 11, 12, 13, 2**60)]
        assert found == [None, *(START + seconds * SECOND for seconds in (50, 90, 90, 90))]

    async def test_it_is_found_though_a_later_position_was_counted_on_a_newer_day(
        self, store: UsageStore
    ) -> None:
        await store.land_events(source(), entries(call(0), call(1, seconds=3 * DAY)))
        newer = state(START // SECOND + 3 * DAY, 1, Measures(events=1), size=DAY)
        await store.land_windows(source(), [newer], ARRIVED)
        assert await store.newest_time(source(), 1) == START
        assert await store.newest_time(source(), 2) == START + 3 * DAY * SECOND


def repricing(event: TokenUsage, cost: int | None = 7, **fields: Any) -> TokenUsage:
    """Return the event that prices `event`."""
    changed = {
        "id": repricing_id(event.event_time, event.id),
        "reprices": event.id,
        "cost": cost,
        "list_cost": cost,
        **fields,
    }
    return msgspec.structs.replace(event, **changed)


class TestRepricings:
    async def test_original_and_repricing_are_known_each_by_its_own_id(self, store: UsageStore) -> None:
        event = call(1, cost=None)
        price = repricing(event)
        await store.land_events(source(), entries(event, first=4))
        assert await store.land_events(source(), entries(price, first=9)) == ()
        positions = {event.id.int: 4, price.id.int: 9}
        assert await store.first_positions(source(), [price, event]) == positions
        left = await store.recover(source(), HORIZON)
        assert {key: position for key, _, position in left.first_positions} == positions
        assert {time for _, time, _ in left.first_positions} == {event.event_time}
        elsewhere = await store.first_positions(source("two"), [event, price])
        assert elsewhere == dict.fromkeys(positions, ELSEWHERE)

    async def test_a_repricing_may_land_in_the_same_batch_and_twice(self, store: UsageStore) -> None:
        event, other = call(1, cost=None), call(2)
        batch = entries(event, repricing(event), other)
        for _ in range(2):
            assert await store.land_events(source(), batch) == ()
        events = [event, repricing(event), other]
        found = await store.first_positions(source(), events)
        assert found == {each.id.int: place for place, each in enumerate(events)}

    async def test_what_belongs_to_no_unpriced_row_is_refused_and_the_rest_lands(
        self, store: UsageStore
    ) -> None:
        names = {"team": "it's \\ \t odd"}
        good, priced, unknown = call(1, cost=None, **names), call(2), call(3, cost=None)
        await store.land_events(source(), entries(good, priced))
        refused = await store.land_events(source(), entries(
            repricing(unknown),
            repricing(priced),
            repricing(good, id=uuid.uuid4()),
            repricing(good, None),
            repricing(good, team="another"),
            repricing(good, project="another"),
            repricing(good, event_time=good.event_time + 1),
            repricing(good),
            call(4),
            first=10,
        ))  # fmt: skip
        assert sorted(refusal.position for refusal in refused) == list(range(10, 17))
        assert all(str(unknown.id) in refusal.reason for refusal in refused if refusal.position == 10)
        assert await store.first_positions(source(), [repricing(good)]) == {repricing(good).id.int: 17}


class TestWindows:
    async def test_the_highest_version_wins_whatever_the_order_of_arrival(self, store: UsageStore) -> None:
        versions = [state(120, version, Measures(events=version, cost=version)) for version in (5, 9, 7)]
        for version in versions:
            await store.land_windows(source(), [version], ARRIVED)
        assert list(await store.windows(source(), [versions[0].key])) == [versions[1]]

    async def test_a_window_belongs_to_its_source(self, store: UsageStore) -> None:
        mine, other = state(120, 5, Measures(events=1)), state(120, 9, Measures(events=2))
        await store.land_windows(source(), [mine], ARRIVED)
        await store.land_windows(source(partition=1), [other], ARRIVED)
        assert list(await store.windows(source(), [mine.key])) == [mine]
        assert list(await store.windows(source("two"), [mine.key])) == []

    async def test_only_the_windows_asked_for_are_returned(self, store: UsageStore) -> None:
        states = [
            state(start, 1, Measures(events=1), size=size, team=team)
            for start in (0, HOUR) for size in (MINUTE, HOUR) for team in ("a", "b")
        ]  # fmt: skip
        await store.land_windows(source(), states, ARRIVED)
        wanted = [states[0].key, states[3].key, state(HOUR, 1, Measures(), team="c").key]
        found = await store.windows(source(), wanted)
        assert sorted(found) == sorted([states[0], states[3]])

    async def test_a_question_about_9000_windows_is_answered(self, store: UsageStore) -> None:
        states = [state(MINUTE * row, 1, Measures(events=row)) for row in range(9000)]
        await store.land_windows(source(), states, ARRIVED)
        assert sorted(await store.windows(source(), [each.key for each in states])) == states

    async def test_the_newest_window_of_each_size_is_recovered_for_the_source_alone(
        self, store: UsageStore
    ) -> None:
        await store.land_events(source(), entries(call(1)))
        starts = [(MINUTE, 60), (MINUTE, 180), (HOUR, 3600), (DAY, 0)]
        states = [state(start, 1, Measures(events=1), size=size) for size, start in starts]
        await store.land_windows(source(), states, ARRIVED)
        await store.land_windows(source(partition=1), [state(6000, 1, Measures(events=1))], ARRIVED)
        left = await store.recover(source(), HORIZON)
        assert dict(left.newest_stored) == {MINUTE: 180, HOUR: 3600, DAY: 0}

    @pytest.mark.parametrize("pico", [1, 10**12 + 1, 2**63, 2**64 + 3, PICO_DIGITS])
    async def test_sums_of_money_are_exact_up_to_38_digits(self, store: UsageStore, pico: int) -> None:
        rich = state(0, 1, Measures(events=1, cost=pico, list_cost=pico - 1, avoided_by_cache=1))
        await store.land_windows(source(), [rich], ARRIVED)
        assert list(await store.windows(source(), [rich.key])) == [rich]


class TestAllocation:
    """Hours of allocation are windows like those of costs, in a table of their own."""

    @staticmethod
    def hour(version: int, *, start: int = HOUR, node: str = "n", **measures: int) -> WindowState:
        names = dict.fromkeys(AllocationDimensions._fields, "") | {"kind": "node", "node": node}
        key = WindowKey(HOUR, start, AllocationDimensions(**names))
        return WindowState(key, version, AllocationMeasures(events=version, **measures))

    async def test_the_highest_version_wins_whatever_the_order_of_arrival(self, store: UsageStore) -> None:
        nodes = source(kind="nodes")
        versions = [self.hour(version, cpu_cost=version) for version in (5, 9, 7)]
        for version in versions:
            await store.land_windows(nodes, [version], ARRIVED)
        assert list(await store.windows(nodes, [versions[0].key])) == [versions[1]]

    async def test_windows_of_both_kinds_are_landed_and_asked_for_together(self, store: UsageStore) -> None:
        pods = source(kind="pods")
        states = [self.hour(3), state(HOUR, 3, Measures(events=1), size=HOUR), self.hour(4, node="other")]
        await store.land_windows(pods, states, ARRIVED)
        found = await store.windows(pods, [*(each.key for each in states), self.hour(1, node="none").key])
        assert {each.key: each for each in found} == {each.key: each for each in states}

    async def test_sums_are_exact_up_to_38_digits(self, store: UsageStore) -> None:
        rich = self.hour(1, cpu_cost=PICO_DIGITS, other_cost=7, cpu_capacity=PICO_DIGITS, memory_used=2**90)
        await store.land_windows(source(kind="nodes"), [rich], ARRIVED)
        assert list(await store.windows(source(kind="nodes"), [rich.key])) == [rich]

    @pytest.mark.parametrize("kind", ["pods", "nodes"])
    async def test_the_newest_hour_is_recovered(self, store: UsageStore, kind: str) -> None:
        usage = source(kind=kind)
        place = {
            "id": uuid.uuid4(),
            "source": "test",
            "event_time": START,
            "end_time": START + 1,
            "cluster": "c",
        }
        event = PodUsage(**place, namespace="n", pod="p") if kind == "pods" else NodeUsage(**place, node="n")
        await store.land_events(usage, entries(event))
        await store.land_windows(usage, [self.hour(1), self.hour(1, start=5 * HOUR)], ARRIVED)
        assert dict((await store.recover(usage, HORIZON)).newest_stored) == {HOUR: 5 * HOUR}
        assert await store.newest_time(usage, 1) == START


class TestOnClickHouse:
    """What can only be seen in the tables themselves."""

    @pytest.fixture
    async def tables(self, migrated: Secret) -> AsyncIterator[ClickHouseStore]:
        found = ClickHouseStore(migrated)
        yield found
        await found.close()

    async def test_an_unpriced_event_has_no_cost_rather_than_none_at_all(
        self, tables: ClickHouseStore, client: AsyncClient
    ) -> None:
        await tables.land_events(source(), entries(call(1, cost=None), call(2, cost=0)))
        answer = await client.query("SELECT cost FROM token_usage ORDER BY cost NULLS FIRST")
        assert [row[0] for row in answer.result_rows] == [None, Decimal(0)]

    @pytest.mark.parametrize("merged", [False, True], ids=["unmerged", "merged"])
    @pytest.mark.parametrize("again", [False, True], ids=["once", "again"])
    async def test_a_repriced_event_stays_one_row_whatever_is_delivered_again_or_merged(
        self, tables: ClickHouseStore, client: AsyncClient, *, merged: bool, again: bool
    ) -> None:
        event = call(1, cost=None, input_tokens=12)
        await tables.land_events(source(), entries(event))  # nothing wins over the position 0 but a price
        await tables.land_events(source(), entries(repricing(event), first=9))
        if again:  # as a worker that lost its partition might
            await tables.land_events(source("two"), entries(event))
            await tables.land_events(source("two"), entries(repricing(event, 8)))
        if merged:
            await client.command("OPTIMIZE TABLE token_usage_raw FINAL")
            assert (await client.query("SELECT count() FROM token_usage_raw")).result_rows[0] == (1,)
        rows = (
            await client.query("SELECT event_id, repriced_by, cost, input_tokens FROM token_usage")
        ).result_rows
        cost = 8 if again else 7  # of two repricings, the one at the first position
        assert list(rows) == [(event.id, repricing(event).id, Decimal(cost).scaleb(-12), 12)]
        assert await tables.first_positions(source(), [event]) == {event.id.int: 0}

    async def test_a_merge_between_a_crash_and_the_count_loses_nothing(
        self, tables: ClickHouseStore, client: AsyncClient
    ) -> None:
        event = call(1, cost=None)
        block = entries(event, repricing(event), first=4)
        await tables.land_events(source(), block)  # and here the worker was killed
        await client.command("OPTIMIZE TABLE token_usage_raw FINAL")
        left = await tables.recover(source(), HORIZON)
        ledger = Ledger(horizon=HORIZON)
        ledger.restore(left.first_positions, left.floor, left.newest_stored)
        admission = ledger.admit(block.entries, {})
        assert (len(admission.counted), len(admission.fresh)) == (2, 0)
        counted = ledger.count(admission.counted, tally(admission.counted), ())
        await tables.land_windows(source(), counted, ARRIVED)
        answer = (await client.query(RECONCILE)).result_rows
        assert len(answer) == 4
        assert not miscounted(answer)

    async def test_an_original_s_position_outlives_its_row(
        self, tables: ClickHouseStore, client: AsyncClient
    ) -> None:
        event = call(1, cost=None)
        await tables.land_events(source(), entries(event, first=4))
        await tables.land_events(source("two"), entries(repricing(event), first=1))
        await client.command("OPTIMIZE TABLE token_usage_raw FINAL")
        asked = [event, repricing(event)]
        positions = await tables.first_positions(source(), asked)
        assert list(positions.values()).count(ELSEWHERE) == 1
        assert positions[event.id.int] == 4
        assert await tables.first_positions(source("two"), asked) == {
            event.id.int: ELSEWHERE,
            repricing(event).id.int: 1,
        }

    async def test_unpriced_events_of_one_source_may_be_fewer_than_none(
        self, tables: ClickHouseStore, client: AsyncClient
    ) -> None:
        start = state(0, 1, Measures(events=1, unpriced=1))
        later = state(0, 1, Measures(unpriced=-1, cost=10**12))
        await tables.land_windows(source("one"), [start], ARRIVED)
        await tables.land_windows(source("two"), [later], ARRIVED)
        assert list(await tables.windows(source("two"), [later.key])) == [later]
        seen = await client.query("SELECT events, unpriced, cost FROM cost_window")
        assert list(seen.result_rows) == [(1, 0, Decimal(1))]

    async def test_a_row_that_is_refused_is_found_and_the_rest_lands(
        self, tables: ClickHouseStore, client: AsyncClient
    ) -> None:
        events = [call(row, input_tokens=666 if row in {3, 17, 18} else row) for row in range(40)]
        await client.command("ALTER TABLE token_usage_raw ADD CONSTRAINT no_666 CHECK input_tokens != 666")
        try:
            refused = await tables.land_events(source(), entries(*events, first=100))
        finally:
            await client.command("ALTER TABLE token_usage_raw DROP CONSTRAINT no_666")
        assert [refusal.position for refusal in refused] == [103, 117, 118]
        assert all("no_666" in refusal.reason for refusal in refused)
        assert len(await tables.first_positions(source(), events)) == 37

    async def test_a_clickhouse_that_is_away_is_unavailable_and_not_empty(self) -> None:
        away = ClickHouseStore(Secret("http://127.0.0.1:1"))
        key = state(0, 1, Measures()).key
        for attempt in (
            away.recover(source(), HORIZON),
            away.first_positions(source(), [call(1)]),
            away.newest_time(source(), 1),
            away.windows(source(), [key]),
            away.land_late(source(), late(call(1))),
            away.land_events(source(), entries(call(1))),
            away.land_windows(source(), [state(0, 1, Measures(events=1))], ARRIVED),
        ):
            with pytest.raises(StoreUnavailable):
                await attempt

    async def test_readers_see_each_event_once_and_windows_summed_over_sources(
        self, tables: ClickHouseStore, client: AsyncClient
    ) -> None:
        for incarnation in ("one", "two"):
            await tables.land_events(source(incarnation), entries(call(1), call(2)))
            await tables.land_windows(
                source(incarnation), [state(0, 1, Measures(events=1, cost=10**12))], ARRIVED
            )
        assert (await client.query("SELECT count() FROM token_usage")).result_rows[0] == (2,)
        seen = await client.query("SELECT events, cost FROM cost_window")
        assert list(seen.result_rows) == [(2, Decimal(2))]

    async def test_a_late_event_is_listed_once_however_often_it_lands(
        self, tables: ClickHouseStore, client: AsyncClient
    ) -> None:
        events = late(call(1, cost=None), call(2, seconds=10, cost=7))
        for landed in (events[:1], events, events[1:]):
            await tables.land_late(source(), landed)
        answer = await client.query(
            "SELECT event_id, kind, team, model, namespace, reinterpretAsInt128(cost), late_seconds, src, "
            "src_off, toUnixTimestamp64Micro(watermark), toUnixTimestamp64Milli(arrived_at) "
            "FROM late_usage ORDER BY src_off"
        )
        common = ("usage.tokens/0@one",)
        place = (START + HOUR * SECOND, ARRIVED)
        assert list(answer.result_rows) == [
            (call(1).id, "tokens", "a", "gpt-4", "", None, 3600.0, *common, 0, *place),
            (call(2, seconds=10).id, "tokens", "a", "gpt-4", "", 7, 3590.0, *common, 1, *place),
        ]

    async def test_late_containers_are_listed_by_namespace(
        self, tables: ClickHouseStore, client: AsyncClient
    ) -> None:
        pod = PodUsage(
            id=uuid.uuid4(), event_time=START, end_time=START + 1, source="test", cluster="c",
            namespace="n", pod="p",
        )  # fmt: skip
        await tables.land_late(source(kind="pods"), late(pod))
        answer = await client.query("SELECT kind, model, namespace, late_seconds FROM late_usage")
        assert list(answer.result_rows) == [("pods", "", "n", 3600.0)]
