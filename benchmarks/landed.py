"""Whether what was counted is in ClickHouse: every event once, to the picodollar, in all windows."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

from benchmarks.children import BenchmarkError
from spendstream.adapters.clickhouse import connect
from spendstream.config import Secret
from spendstream.money import PICO
from spendstream.windows import WINDOW_SIZES

__all__ = ["check_events", "check_letters", "check_windows"]


def check_events(url: str, peer: str, events: int, cost: int | None) -> None:
    """Raise BenchmarkError unless `events` distinct events are stored; and `cost`, unless it is None."""
    sql = f"SELECT count(), uniqExact(event_id), toInt128(sum(cost) * {PICO}) FROM token_usage"
    rows, distinct, stored = _rows(url, sql)[0]
    found, expected = (rows, distinct, stored if cost is not None else None), (events, events, cost)
    if found != expected:
        raise BenchmarkError(f"{peer}: (rows, events, picodollars) are {found}, expected {expected}")


def check_windows(url: str, peer: str, events: int, cost: int) -> None:
    """Raise BenchmarkError unless the windows of each size count all events and all of their cost."""
    counted = f"SELECT window_seconds, sum(events), toInt128(sum(cost) * {PICO}) FROM cost_window"
    found = sorted(tuple(row) for row in _rows(url, f"{counted} GROUP BY window_seconds"))
    expected = [(size, events, cost) for size in WINDOW_SIZES]
    if found != expected:
        raise BenchmarkError(f"{peer}: windows hold {found}, expected {expected}")


def check_letters(url: str, peer: str, sent: Collection[str], perhaps: Collection[str]) -> None:
    """Raise BenchmarkError unless all that was `sent` is a dead letter, and nothing else but `perhaps`.

    A letter has one row for each place in the topic, and two places only if its broker lost its answer.
    """
    sql = "SELECT count(), uniqExact(topic, partition, offset), groupUniqArray(value) FROM dead_letter"
    rows, places, values = _rows(url, sql)[0]
    missing, strange = set(sent).difference(values), set(values).difference(sent, perhaps)
    if rows != places or missing or strange:
        found = f"{rows} rows of {places} places, {len(missing)} missing, {len(strange)} never sent"
        raise BenchmarkError(f"{peer}: dead letters: {found}")


def _rows(url: str, sql: str) -> Sequence[Sequence[Any]]:
    async def ask() -> Sequence[Sequence[Any]]:
        client = await connect(Secret(url))
        try:
            return (await client.query(sql)).result_rows
        finally:
            await client.close()

    return asyncio.run(ask())
