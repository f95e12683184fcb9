"""Every field of any event comes back from ClickHouse as it went in."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from clickhouse_connect.driver.asyncclient import AsyncClient
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.store import ClickHouseStore
from spendstream.adapters.clickhouse import connect
from spendstream.config import Config, Secret
from spendstream.events import NodeUsage, PodUsage, TokenUsage
from spendstream.windows import Usage
from tests.fixtures.landing import (
    entries,
    source,
)
from tests.fixtures.samples import samples


@pytest.fixture(scope="session")
def migrated(clickhouse_url: str) -> Secret:
    url = Secret(clickhouse_url)
    asyncio.run(migrate(url, Config()))
    return url


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_COUNT = st.integers(0, 2**53)
_PICO = st.integers(0, 2**63 - 1)
_MICROS = st.integers(0, 4_102_444_799_999_999)
_COMMON = {
    "id": st.uuids(),
    "event_time": _MICROS,
    **dict.fromkeys(("source", "org", "team", "project", "environment", "service", "domain"), _TEXT),
    "cost": st.none() | _PICO,
}
_CALLS = st.builds(
    TokenUsage,
    **_COMMON,
    **dict.fromkeys(("user", "key_id", "provider", "model", "request_model", "error_type"), _TEXT),
    **dict.fromkeys(("route", "route_reason"), _TEXT),
    **dict.fromkeys(("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"), _COUNT),
    **dict.fromkeys(("cache_write_1h_tokens", "reasoning_tokens", "duration"), _COUNT),
    **dict.fromkeys(("avoided_by_cache", "avoided_by_routing", "avoided_by_compression"), _PICO),
    list_cost=st.none() | _PICO,
    time_to_first_token=st.none() | _COUNT,
    operation=st.sampled_from(["chat", "text_completion", "embeddings"]),
    status=st.integers(0, 999),
    retries=st.integers(0, 65_535),
    usage_source=st.sampled_from(["provider", "estimated", "cached", "interrupted"]),
    cache_outcome=st.sampled_from(["none", "exact", "semantic"]),
    cache_similarity=st.none() | st.floats(0, 1),
)
_CLUSTER = {
    **{name: strategy for name, strategy in _COMMON.items() if name != "event_time"},
    **dict.fromkeys(("cluster", "region", "node", "instance_type"), _TEXT),
    **dict.fromkeys(("cpu_usage", "memory_usage", "gpu_usage"), _COUNT),
    **dict.fromkeys(("cpu_cost", "memory_cost", "gpu_cost", "storage_cost"), st.none() | _PICO),
    "purchase_option": st.sampled_from(["on-demand", "spot", "reserved", "unknown"]),
    "labels": st.dictionaries(_TEXT, _TEXT, max_size=3),
}
_PODS = samples(
    PodUsage,
    **_CLUSTER,
    **dict.fromkeys(("namespace", "workload", "workload_kind", "revision", "pod", "pod_uid"), _TEXT),
    **dict.fromkeys(("container", "scaled_on"), _TEXT),
    **dict.fromkeys(("cpu_request", "cpu_limit", "memory_request", "memory_limit", "memory_peak"), _COUNT),
    **dict.fromkeys(("gpu_request", "storage_request", "network_received", "network_sent"), _COUNT),
    **dict.fromkeys(("oom_kills", "restarts"), _COUNT),
    **dict.fromkeys(("node_hourly_price", "network_cost"), st.none() | _PICO),
)
_NODES = samples(
    NodeUsage,
    **_CLUSTER,
    **dict.fromkeys(("cpu_capacity", "memory_capacity", "gpu_capacity", "storage_capacity"), _COUNT),
    asset=st.sampled_from(["node", "volume", "load-balancer", "control-plane"]),
    hourly_price=st.none() | _PICO,
)
_COLUMNS = {"id": "event_id", "source": "event_source", "duration": "duration_us"} | {
    "time_to_first_token": "time_to_first_token_us"
}
_TIMES = {"event_time", "end_time"}


async def _read_back(client: AsyncClient, kind: type[Usage], view: str) -> dict[uuid.UUID, Usage]:
    """Return the events that a view shows, with all their fields."""
    names = [name for name in kind.__struct_fields__ if name != "reprices"]
    rows = (await client.query(f"SELECT {', '.join(map(_column, names))} FROM {view}")).result_rows
    events = [kind(**dict(zip(names, row, strict=True))) for row in rows]
    return {event.id: event for event in events}


def _column(field: str) -> str:
    if field.endswith(("cost", "price")) or field.startswith("avoided_by"):
        return f"reinterpretAsInt128({field})"
    return f"toUnixTimestamp64Micro({field})" if field in _TIMES else _COLUMNS.get(field, field)


@pytest.mark.parametrize(
    ("events", "kind", "view"),
    [(_CALLS, "tokens", "token_usage"), (_PODS, "pods", "pod_usage"), (_NODES, "nodes", "node_usage")],
    ids=["calls", "pods", "nodes"],
)
def test_every_field_of_any_event_is_read_back_as_it_was(
    migrated: Secret, events: st.SearchStrategy[Usage], kind: str, view: str
) -> None:
    async def round_trip(landed: list[Usage]) -> dict[uuid.UUID, Usage]:
        store, client = ClickHouseStore(migrated), await connect(migrated)
        try:
            await client.command(f"TRUNCATE TABLE {view}_raw")
            assert await store.land_events(source(kind=kind), entries(*landed)) == ()
            return await _read_back(client, type(landed[0]), view)
        finally:
            await client.close()
            await store.close()

    @given(st.lists(events, min_size=1, max_size=20, unique_by=lambda event: event.id))
    @settings(max_examples=25)
    def every_field(landed: list[Usage]) -> None:
        assert asyncio.run(round_trip(landed)) == {event.id: event for event in landed}

    every_field()
