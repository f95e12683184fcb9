"""Thirty days of spend, made by ClickHouse itself: calls, windows as a worker counts them, nodes.

Twelve teams of two projects make calls of two models each, by 420 users with a key for every 84; two clusters
have twenty nodes of ten containers.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.asyncclient import AsyncClient

from spendstream.adapters.clickhouse import DATABASE

__all__ = ["DAYS", "fill"]

DAYS = 30
_PATIENCE_S = 1800
_BATCH = 1_000_000  # rows in one insert
_LONG = f"{DAYS} * 86400000000"  # microseconds

_CALLS = f"""
INSERT INTO token_usage_raw (
    event_time, event_id, event_source, org, team, project, environment, service, user, key_id, provider,
    model, request_model, operation, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
    reasoning_tokens, cost, list_cost, avoided_by_cache, avoided_by_routing, avoided_by_compression,
    duration_us, status, error_type, retries, usage_source, cache_outcome, route, route_reason, src, src_off,
    arrived_at)
WITH
    cityHash64(number) AS chance,
    chance % 12 AS team_number,
    intDiv(chance, 13) % 420 AS user_number,
    ['gpt-4', 'gpt-3.5-turbo', 'claude-haiku', 'gpt-4o-mini'] AS names,
    names[1 + (team_number + intDiv(chance, 12) % 2) % 4] AS name,
    intDiv(chance, 100) % 4000 AS size,
    intDiv(chance, 1000) % 10 < 3 AS hit,
    toDecimal128(size * 30 / 1000000, 12) AS price,
    toDecimal128(0, 12) AS nothing
SELECT
    fromUnixTimestamp64Micro(toInt64({{now:Int64}} - {_LONG} + number * {_LONG} / {{events:Int64}})),
    generateUUIDv4(number), 'benchmark', 'acme', concat('team-', toString(team_number)),
    concat('project-', toString(team_number), '-', toString(intDiv(chance, 7) % 2)),
    if(intDiv(chance, 11) % 8 = 0, 'staging', 'production'), '',
    concat('user-', toString(team_number), '-', toString(user_number)),
    concat('key-', toString(team_number), '-', toString(user_number % 5)),
    if(name = 'claude-haiku', 'anthropic', 'openai'), name, name, 'chat',
    size, intDiv(size, 4), intDiv(size, 3), 0, intDiv(size, 20),
    if(hit, nothing, price), price, if(hit, price, nothing), nothing, nothing,
    100000 + chance % 9000000, if(intDiv(chance, 19) % 50 = 0, 500, 200), '', 0,
    if(hit, 'cached', 'provider'), if(hit, 'exact', 'none'),
    if(intDiv(chance, 23) % 3 = 0, 'cheapest', ''), '', 'usage.tokens/0@benchmark', number, now()
FROM numbers({{first:UInt64}}, {{count:UInt64}})
"""

_WINDOWS = """
INSERT INTO cost_window_state (
    window_seconds, window_start, kind, org, team, project, environment, provider, model, src, ver, events,
    errors, cache_hits, cache_hit_tokens, cost, list_cost, avoided_by_cache, input_tokens, output_tokens,
    cache_read_tokens, reasoning_tokens, latency, arrived_at)
SELECT
    {size:UInt32}, toStartOfInterval(event_time, toIntervalSecond({size:UInt32})) AS start, 'tokens', org,
    team, project, environment, provider, model, src, max(src_off), count(), countIf(status >= 400),
    countIf(cache_outcome != 'none'), sumIf(input_tokens + output_tokens, cache_outcome != 'none'),
    sum(assumeNotNull(cost)), sum(assumeNotNull(list_cost)), sum(avoided_by_cache), sum(input_tokens),
    sum(output_tokens), sum(cache_read_tokens), sum(reasoning_tokens),
    if({size:UInt32} = 3600,
        sumMap(map(toUInt16(ceil(log(duration_us) / log(101 / 99))), toUInt64(1))), map()),
    now()
FROM token_usage_raw
GROUP BY start, org, team, project, environment, provider, model, src
"""

_CLUSTERS = f"""
INSERT INTO allocation_window_state (
    window_seconds, window_start, kind, cluster, node, instance_type, purchase_option, namespace, workload,
    workload_kind, team, project, src, ver, events, cpu_cost, memory_cost, cpu_capacity, cpu_requested,
    cpu_used, memory_capacity, memory_requested, memory_used, arrived_at)
WITH number % 11 AS part, intDiv(number, 11) % 40 AS machine, part = 0 AS whole
SELECT
    3600, toStartOfHour(fromUnixTimestamp64Micro({{now:Int64}})) - 3600 * (intDiv(number, 440) + 1),
    if(whole, 'node', 'container'), if(machine < 20, 'east', 'west'), concat('node-', toString(machine)),
    'm5.2xlarge', if(machine % 2, 'spot', 'on-demand'),
    if(whole, '', concat('namespace-', toString(part % 5))),
    if(whole, '', concat('workload-', toString(part))),
    'Deployment', if(whole, '', concat('team-', toString(part))), '', 'usage.nodes/0@benchmark', number, 1,
    toDecimal128(if(whole, 0.3, 0.02), 12), toDecimal128(if(whole, 0.1, 0.008), 12),
    toDecimal128(if(whole, 28800, 0), 15), toDecimal128(if(whole, 0, 2000), 15),
    toDecimal128(if(whole, 0, 900), 15), toDecimal128(if(whole, 1e14, 0), 6),
    toDecimal128(if(whole, 0, 8e12), 6), toDecimal128(if(whole, 0, 5e12), 6), now()
FROM numbers({DAYS} * 24 * 440)
"""


async def fill(url: str, now: int, events: int, told: Callable[[int], None]) -> None:
    """Fill the tables with so many calls until `now` (microseconds); `told` hears how many more there are."""
    address = urlsplit(url)
    client = await clickhouse_connect.get_async_client(
        host=address.hostname or "",
        port=address.port or 0,
        database=DATABASE,
        autogenerate_session_id=False,
        send_receive_timeout=_PATIENCE_S,
    )
    try:
        await _fill(client, now, events, told)
    finally:
        await client.close()


async def _fill(client: AsyncClient, now: int, events: int, told: Callable[[int], None]) -> None:
    settings = {"max_partitions_per_insert_block": 0, "max_insert_threads": 2}
    for first in range(0, events, _BATCH):
        count = min(_BATCH, events - first)
        given = {"now": now, "events": events, "first": first, "count": count}
        await client.command(_CALLS, parameters=given, settings=settings)
        told(count)
    for size in (60, 3600, 86_400):
        await client.command(_WINDOWS, parameters={"size": size}, settings=settings)
    await client.command(_CLUSTERS, parameters={"now": now}, settings=settings)
    for table in ("token_usage_raw", "cost_window_state", "allocation_window_state"):
        await client.command(f"OPTIMIZE TABLE {table} FINAL")  # as merges leave them after a while
