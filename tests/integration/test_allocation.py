"""What the views of allocation show: lines that add up to the bill, whatever order samples came in."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from clickhouse_connect.driver.asyncclient import AsyncClient

from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.store import ClickHouseStore
from spendstream.adapters.clickhouse import connect
from spendstream.allocation import (
    GIB,
    NANO,
    AllocationDimensions,
    AllocationMeasures,
    Sharing,
    distributed,
    idle_and_overcommit,
)
from spendstream.allocation.reading import slices_by, slices_of
from spendstream.batches import Batch
from spendstream.clock import now_micros
from spendstream.config import Config, Secret
from spendstream.events import PodUsage
from spendstream.ledger import Ledger
from spendstream.money import dollars, parse_usd
from spendstream.queries import pico
from spendstream.store import Source
from spendstream.tally import tally
from spendstream.windows import Entry, Usage, plus
from tests.fixtures.clusters import HOUR, MINUTE, NOON, PRICE, SECOND, asset, cluster, node, pod, shuffled

ARRIVED = now_micros() // 1000  # retention counts from here


@pytest.fixture(scope="session")
def migrated(clickhouse_url: str) -> Secret:
    url = Secret(clickhouse_url)
    asyncio.run(migrate(url, Config()))
    return url


@pytest.fixture
async def client(migrated: Secret) -> AsyncIterator[AsyncClient]:
    """A connection to ClickHouse, whose tables are empty."""
    connection = await connect(migrated)
    windows = ("cost_window_state", "allocation_window_state", "container_day_state")
    for table in ("pod_usage_raw", "node_usage_raw", *windows):
        await connection.command(f"TRUNCATE TABLE {table}")
    yield connection
    await connection.close()


@pytest.fixture
async def store(migrated: Secret, client: AsyncClient) -> AsyncIterator[ClickHouseStore]:
    del client  # it has emptied the tables
    found = ClickHouseStore(migrated)
    yield found
    await found.close()


async def land(store: ClickHouseStore, events: Sequence[Usage], size: int = 50, partition: int = 0) -> None:
    """Land events of one kind in blocks, and their windows, as a worker does."""
    kind: Any = "pods" if isinstance(events[0], PodUsage) else "nodes"
    source = Source(kind, f"usage.{kind}", partition, "one")
    ledger = Ledger(horizon=24 * HOUR)
    entries = [Entry(position, event, ARRIVED) for position, event in enumerate(events)]
    for place in range(0, len(entries), size):
        admission = ledger.admit(entries[place : place + size], {})
        if admission.fresh:
            await store.land_events(source, admission.fresh)
        added = tally(admission.counted)
        await store.land_windows(source, ledger.count(admission.counted, added, ()), ARRIVED)


def hours(events: Sequence[Usage]) -> dict[tuple[int, str], AllocationMeasures]:
    """Return what samples add to the hours of each node."""
    found: dict[tuple[int, str], AllocationMeasures] = {}
    batch = Batch([Entry(position, event, ARRIVED) for position, event in enumerate(events)])
    for key, added in tally(batch).items():
        of = key.dimensions
        if isinstance(of, AllocationDimensions) and of.kind in {"container", "node"}:
            place = key.start, of.node
            found[place] = plus(found.get(place, AllocationMeasures()), added.measures)
    return found


async def rows(client: AsyncClient, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in (await client.query(sql)).result_rows]


async def lines(client: AsyncClient, columns: str = "cost") -> dict[str, tuple[Any, ...]]:
    names = ", ".join(f"sum({name.strip()})" for name in columns.split(","))
    return {
        row[0]: row[1:] for row in await rows(client, f"SELECT line, {names} FROM allocation GROUP BY line")
    }


class TestLines:
    async def test_what_nobody_was_allocated_of_a_node_is_idle(
        self, store: ClickHouseStore, client: AsyncClient
    ) -> None:
        machine = node(NOON, NOON + HOUR)
        await land(store, [machine])
        await land(store, [pod(NOON, NOON + HOUR, 1, machine, cpu_request=2 * NANO, memory_usage=8 * GIB)])
        found = await lines(client, "cpu_cost, memory_cost, cost, cpu_capacity, cpu_requested")
        quarter = [dollars(part) / 4 for part in (machine.cpu_cost, machine.memory_cost, PRICE)]
        assert found["workload"] == (*quarter, 0, 2 * 3600)
        assert found["idle"] == (*[3 * part for part in quarter], 8 * 3600, 0)

    async def test_overcommit_is_a_line_of_its_own_and_no_negative_idle(
        self, store: ClickHouseStore, client: AsyncClient
    ) -> None:
        machine = node(NOON, NOON + HOUR)
        await land(store, [machine])
        await land(store, [pod(NOON, NOON + HOUR, 1, machine, cpu_request=16 * NANO, memory_request=8 * GIB)])
        found = await lines(client, "cpu_cost, memory_cost")
        cpu, memory = dollars(machine.cpu_cost), dollars(machine.memory_cost)
        assert found == {
            "workload": (2 * cpu, memory / 4),
            "idle": (0, memory * 3 / 4),
            "overcommit": (-cpu, 0),
        }

    async def test_a_ten_second_pod_is_allocated_ten_seconds(
        self, store: ClickHouseStore, client: AsyncClient
    ) -> None:
        machine = node(NOON, NOON + HOUR)
        await land(store, [machine])
        await land(store, [pod(NOON + 7, NOON + 7 + 10 * SECOND, 1, machine, cpu_request=8 * NANO)])
        [(allocated,)] = await rows(client, "SELECT cost FROM allocation WHERE line = 'workload'")
        assert abs(allocated - dollars(machine.cpu_cost) / 360) <= dollars(1)
        assert sum(cost for (cost,) in (await lines(client)).values()) == dollars(PRICE)

    async def test_volumes_share_out_as_nodes_do_and_what_is_not_mounted_is_idle(
        self, store: ClickHouseStore, client: AsyncClient
    ) -> None:
        volume, machine = asset("volume", NOON, NOON + HOUR, 700), node(NOON, NOON + HOUR)
        await land(store, [volume])
        await land(store, [pod(NOON, NOON + HOUR, 1, machine, storage_cost=300, storage_request=1)])
        assert await lines(client, "storage_cost") == {"workload": (dollars(300),), "idle": (dollars(400),)}

    async def test_control_plane_and_load_balancers_are_shared(
        self, store: ClickHouseStore, client: AsyncClient
    ) -> None:
        plane = asset("control-plane", NOON, NOON + HOUR, parse_usd("0.10"))
        balancer = asset("load-balancer", NOON, NOON + HOUR, parse_usd("0.0225"))
        await land(store, [plane, balancer])
        assert await lines(client) == {"shared": (Decimal("0.1225"),)}

    async def test_what_has_no_price_takes_part_in_nothing_and_is_counted(
        self, store: ClickHouseStore, client: AsyncClient
    ) -> None:
        priced, unpriced = node(NOON, NOON + HOUR), node(NOON, NOON + HOUR, "node-2", hourly_price=None)
        await land(store, [unpriced])
        await land(store, [
            pod(NOON, NOON + HOUR, 1, unpriced, cpu_request=NANO),
            pod(NOON, NOON + HOUR, 2, msgspec.structs.replace(priced, node="node-2"), cpu_request=NANO),
        ])  # fmt: skip
        found = await lines(client, "unpriced, cost")
        assert found["idle"] == (1, 0)
        assert found["workload"] == (1, dollars(priced.cpu_cost) / 8)
        assert "overcommit" not in found

    async def test_a_spot_price_that_changes_in_mid_hour_is_billed_from_when_it_holds(
        self, store: ClickHouseStore, client: AsyncClient
    ) -> None:
        changes = [(NOON, PRICE), (NOON + 20 * MINUTE, parse_usd("0.188"))]
        assets, containers = [], []
        for (start, price), end in zip(changes, (NOON + 20 * MINUTE, NOON + HOUR), strict=True):
            assets.append(node(start, end, hourly_price=price))
            containers.append(pod(start, end, 1, assets[-1], cpu_request=8 * NANO, memory_request=32 * GIB))
        await land(store, assets)
        await land(store, containers)
        bill = dollars(PRICE) / 3 + Decimal("0.188") * 2 / 3
        found = await lines(client)
        assert abs(found["workload"][0] - bill) < dollars(5)
        assert found["idle"] == (0,)


class TestTheBill:
    """Several nodes, hundreds of containers, shuffled, repeated, in two partitions: sums equal the bill."""

    @pytest.mark.parametrize("seed", range(3))
    async def test_the_lines_of_every_hour_of_a_node_add_up_to_its_price(
        self, store: ClickHouseStore, client: AsyncClient, seed: int
    ) -> None:
        rnd = random.Random(seed)
        assets, containers = cluster(rnd)
        await land(store, shuffled(rnd, assets), 17)
        half = len(containers) // 2
        await land(store, shuffled(rnd, containers[:half]), 41)
        await land(store, shuffled(rnd, containers[half:]), 97, partition=1)

        bill: dict[tuple[Any, str], int] = defaultdict(int)
        for each in assets:
            bill[each.event_time // HOUR * 3600, each.node] += each.cost or 0
        found = await rows(
            client,
            "SELECT toUnixTimestamp(hour) AS start, node, sum(cpu_cost + memory_cost + gpu_cost) "
            "FROM allocation WHERE node LIKE 'node-%' GROUP BY start, node",
        )
        assert {(start, name): cost for start, name, cost in found} == {
            place: dollars(cost) for place, cost in bill.items() if place[1].startswith("node-")
        }

        network = sum(each.network_cost or 0 for each in containers)
        whole = await rows(client, "SELECT sum(cost), min(cost) FROM allocation WHERE line != 'overcommit'")
        overcommit = (await lines(client))["overcommit"][0]
        assert whole[0][0] + overcommit == dollars(sum(bill.values()) + network)
        assert whole[0][1] >= 0 > overcommit

    async def test_slices_with_shared_cost_distributed_are_the_bill(
        self, store: ClickHouseStore, client: AsyncClient
    ) -> None:
        assets, containers = cluster(random.Random(7))
        await land(store, assets)
        await land(store, containers)
        sharing = Sharing(namespaces=("kube-system",))
        sql, parameters = slices_by(["team", "namespace"], since=NOON, until=NOON + 9 * HOUR, sharing=sharing)
        slices = slices_of((await client.query(sql, parameters=parameters)).result_rows)
        found = distributed(slices, sharing)
        paid = {each.name: each for each in found if each.line == "workload"}
        assert set(paid) == {("a", "web"), ("b", "web")}
        assert sum(each.shared_cost for each in found) == sum(
            each.cost for each in slices if each.line == "shared"
        )
        network = sum(each.network_cost or 0 for each in containers)
        assert sum(each.cost for each in found) == network + sum(each.cost or 0 for each in assets)
        mine = [each for each in containers if (each.team, each.namespace) == ("a", "web")]
        lasted = [each.end_time - each.event_time for each in mine]
        assert paid["a", "web"].measures.cpu_requested == sum(
            each.cpu_request * time for each, time in zip(mine, lasted, strict=True)
        )
        assert paid["a", "web"].measures.cost == sum(each.cost or 0 for each in mine)

    async def test_idle_and_overcommit_of_every_hour_of_a_node_are_those_of_the_rule(
        self, store: ClickHouseStore, client: AsyncClient
    ) -> None:
        assets, containers = cluster(random.Random(11))
        await land(store, assets)
        await land(store, containers)
        paid, allocated = hours(assets), hours(containers)
        expected = set()
        for (start, name), sums in paid.items():
            idle, overcommit = idle_and_overcommit(sums, allocated.get((start, name), AllocationMeasures()))
            expected.add((start, name, "idle", *idle[2:5]))
            if overcommit.cost:
                expected.add((start, name, "overcommit", *overcommit[2:5]))
        costs = ", ".join(pico(f"{name}_cost") for name in ("cpu", "memory", "gpu"))
        found = await rows(
            client,
            f"SELECT toUnixTimestamp(hour), node, line, {costs} FROM allocation WHERE kind = 'node'",
        )
        assert set(found) == expected
        assert len(found) == len(expected)
