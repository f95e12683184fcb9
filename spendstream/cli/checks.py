"""What `spendstream doctor` looks at. A check returns what is well, or raises what is not and what to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from sinks.clickhouse.migrations import pending
from sinks.clickhouse.tables import Tables
from spendstream.adapters.kafka import committed_offsets, end_offsets, missing_topics
from spendstream.adapters.probes import ask_ready
from spendstream.budgets import load as load_budgets
from spendstream.cli.context import clickhouse_url, kafka_servers
from spendstream.clock import now_micros
from spendstream.config import Config
from spendstream.errors import SpendstreamError
from spendstream.money import format_usd
from spendstream.pricing import book_from
from spendstream.queries import RECONCILE, miscounted
from spendstream.topics import ALL_TOPICS, USAGE_TOPICS, WORKER_GROUP

__all__ = ["CHECKS", "Check", "Doubtful", "Unwell", "reconciliation"]

Check = Callable[[Config], Awaitable[str]]

_SKEW_S = 5.0
_TRIES = 20
_PAUSE_S = 0.25
_NAMED = 5
_UNPRICED = """
SELECT model, sum(unpriced) AS calls FROM cost_window
WHERE window_seconds = 3600 AND kind = 'tokens' AND window_start > now() - INTERVAL 1 DAY AND unpriced > 0
GROUP BY model ORDER BY calls DESC, model
"""


class Unwell(SpendstreamError):
    """A check failed."""


class Doubtful(SpendstreamError):
    """A check found what may be meant so: a warning, and no failure."""


async def _broker(config: Config) -> str:
    asked = time.monotonic()
    await missing_topics(kafka_servers(config), ())
    return f"{kafka_servers(config)} answers in {time.monotonic() - asked:.2f} s"


async def _topics(config: Config) -> str:
    missing = await missing_topics(kafka_servers(config))
    if missing:
        raise Unwell(f"missing: {', '.join(missing)}; run `spendstream topics create`")
    return f"all {len(ALL_TOPICS)} there, with the right number of partitions"


async def _lag(config: Config) -> str:
    servers = kafka_servers(config)
    landed = await committed_offsets(servers, WORKER_GROUP)
    behind = 0
    for topic in USAGE_TOPICS:
        for partition, end in (await end_offsets(servers, topic.name)).items():
            behind += end - landed.get((topic.name, partition), 0)
    return f"{behind:,} records have not landed yet"


async def _clickhouse(config: Config) -> str:
    asked = time.monotonic()
    [(number,)] = await _rows(config, "SELECT version()")
    return f"version {number} answers in {time.monotonic() - asked:.2f} s"


async def _migrations(config: Config) -> str:
    steps = await pending(clickhouse_url(config))
    if steps:
        raise Unwell(f"{len(steps)} not applied: run `spendstream migrate`")
    return "up to date"


async def _clocks(config: Config) -> str:
    asked = time.monotonic()
    [(theirs,)] = await _rows(config, "SELECT toUnixTimestamp64Micro(now64(6))")
    took = time.monotonic() - asked
    skew = abs(now_micros() - theirs) / 1_000_000
    if skew > _SKEW_S + took:
        raise Doubtful(f"ClickHouse's clock and ours are {skew:.1f} s apart: set both by NTP")
    return f"ClickHouse's clock is within {max(skew, took):.1f} s of ours"


async def _prices(config: Config) -> str:
    rates = book_from(config).rates("openai", "gpt-4", now_micros())
    source = f"{config.price_file} over " if config.price_file else ""
    return (
        f"{source}genai-prices {version('genai-prices')}; "
        f"gpt-4 costs {format_usd(rates.input)} a million input tokens"
    )


async def _unpriced(config: Config) -> str:
    found = await _rows(config, _UNPRICED)
    if found:
        calls = sum(row[1] for row in found)
        names = ", ".join(str(model) or "(no name)" for model, _ in found[:_NAMED])
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise Doubtful(
            f"no price covers {calls:,} calls of the last day, of {names}{more}: "
            "add [[price]] entries to the price_file"
        )
    return "every call of the last day has a price"


async def _budgets(config: Config) -> str:
    if config.budget_file is None:
        return "no budget_file is set"
    budgets = {budget.id for budget in load_budgets(config.budget_file).budgets}
    return f"{len(budgets)} in {config.budget_file}"


async def _worker(config: Config) -> str:
    return await _ready("worker", config.worker_metrics_port)


async def _sink(config: Config) -> str:
    return await _ready("sink", config.sink_metrics_port)


CHECKS: Mapping[str, Check] = {
    "broker": _broker,
    "topics": _topics,
    "lag": _lag,
    "clickhouse": _clickhouse,
    "migrations": _migrations,
    "clocks": _clocks,
    "prices": _prices,
    "unpriced": _unpriced,
    "budgets": _budgets,
    "worker": _worker,
    "sink": _sink,
}


async def reconciliation(config: Config) -> str:
    """Compare windows with rows; since rows land first, events in flight are given time to be counted."""
    for _ in range(_TRIES):
        wrong = miscounted(await _rows(config, RECONCILE))
        if not wrong:
            return "every window counts every stored row once"
        await asyncio.sleep(_PAUSE_S)
    raise Unwell(f"windows of these sizes differ from the rows in (events, picodollars): {dict(wrong)}")


async def _ready(part: str, port: int) -> str:
    if not port:
        return f"not asked: {part}_metrics_port is not set"
    reasons = await ask_ready(port)
    if reasons:
        raise Unwell(f"not ready: {'; '.join(f'{name}: {why}' for name, why in reasons.items())}")
    return f"ready, on port {port}"


async def _rows(config: Config, sql: str) -> Sequence[Sequence[Any]]:
    tables = Tables(clickhouse_url(config))
    try:
        return await tables.rows(sql)
    finally:
        await tables.close()
