"""What the live view shows: spend and its causes from ClickHouse, flow and lag from the parts' metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import msgspec
from clickhouse_connect.driver.asyncclient import AsyncClient
from prometheus_client.parser import text_string_to_metric_families

from infra.local.stack import Stack
from spendstream.adapters.clickhouse import connect, query_errors
from spendstream.config import Secret
from spendstream.errors import StoreUnavailable
from spendstream.queries import RECONCILE, miscounted, pico

__all__ = ["Reader", "Reading", "Spend"]

_TOTALS = f"""
SELECT
    {pico("sum(cost)")}, sum(events), sum(unpriced), sum(errors), sum(cache_hits),
    sum(input_tokens), sum(output_tokens), sumIf(events, kind = 'tokens')
FROM cost_window WHERE window_seconds = 86400
"""
_TEAMS = f"""
SELECT team, {pico("sum(cost)")} AS spend, sum(events), sum(input_tokens + output_tokens)
FROM cost_window WHERE window_seconds = 86400 GROUP BY team ORDER BY spend DESC, team LIMIT 6
"""
_MINUTES = f"""
SELECT toUnixTimestamp(window_start) AS minute, {pico("sum(cost)")}
FROM cost_window WHERE window_seconds = 60 AND window_start > now() - INTERVAL 40 MINUTE
GROUP BY minute ORDER BY minute
"""
_ALERTS = "SELECT title FROM alert WHERE state = 'firing' ORDER BY started_at DESC, title LIMIT 4"


class Spend(msgspec.Struct, frozen=True, kw_only=True):
    """Spend and traffic of one team; money in picodollars."""

    team: str
    cost: int
    events: int
    tokens: int


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the stack. Money is in picodollars; `minutes` are (start, cost) of the last 40.

    `alerts` are the titles of the newest that are firing.
    """

    cost: int = 0
    events: int = 0
    unpriced: int = 0
    errors: int = 0
    cache_hits: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    calls: int = 0
    teams: Sequence[Spend] = ()
    minutes: Sequence[tuple[int, int]] = ()
    alerts: Sequence[str] = ()
    emitted: int = 0
    received: int = 0
    landed: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    lag: int = 0

    @property
    def cache_hit_ratio(self) -> float | None:
        """Cache hits per call, or None before the first."""
        return self.cache_hits / self.calls if self.calls else None


class Reader:
    """Reads one stack; keeps its connections between readings."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2))
        self._client: AsyncClient | None = None

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.close()
        if self._client is not None:
            await self._client.close()

    async def read(self) -> Reading:
        """Return a reading; raise StoreUnavailable while ClickHouse is away."""
        with query_errors("reading"):
            totals = (await self._rows(_TOTALS))[0]
            names = (
                "cost",
                "events",
                "unpriced",
                "errors",
                "cache_hits",
                "input_tokens",
                "output_tokens",
                "calls",
            )
            return Reading(
                **dict(zip(names, totals, strict=True)),
                teams=[
                    Spend(team=team, cost=cost, events=events, tokens=tokens)
                    for team, cost, events, tokens in await self._rows(_TEAMS)
                ],
                minutes=[(minute, cost) for minute, cost in await self._rows(_MINUTES)],
                alerts=[title for (title,) in await self._rows(_ALERTS)],
                **await self._flow(),
            )

    async def miscounted(self) -> Mapping[str, tuple[object, object]]:
        """Return (events, cost) of each window size that does not count every stored row once."""
        with query_errors("reconciliation"):
            return miscounted(await self._rows(RECONCILE))

    async def _rows(self, sql: str) -> Sequence[Sequence[Any]]:
        if self._client is None:
            self._client = await connect(Secret(self._stack.clickhouse))
        return (await self._client.query(sql)).result_rows

    async def _flow(self) -> dict[str, int]:
        worker = await self._metrics(self._stack.address("worker"))
        gateway = self._stack.address("gateway")
        emitted = await self._metrics(f"{gateway}/metrics") if gateway else {}
        return {
            "emitted": int(emitted.get("spendstream_gateway_sent_total", 0)),
            "received": int(worker.get("spendstream_worker_received_total", 0)),
            "landed": int(worker.get("spendstream_worker_sent_total", 0)),
            "duplicates": int(worker.get("duplicate", 0)),
            "dead_letters": int(sum(worker.get(stage, 0) for stage in ("decode", "validate", "land"))),
            "lag": int(worker.get("spendstream_worker_lag", 0)),
        }

    async def _metrics(self, url: str) -> dict[str, float]:
        """Return a part's metrics, summed over their labels; a discard also counts under its reason."""
        sums: dict[str, float] = {}
        try:
            async with self._http.get(url) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return sums  # the part is being restarted
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0) + sample.value
                if sample.name.endswith("_discarded_total"):
                    reason = sample.labels.get("reason", "")
                    sums[reason] = sums.get(reason, 0) + sample.value
        return sums


async def patient_reading(reader: Reader) -> Reading | None:
    """Return a reading, or None while ClickHouse is away."""
    try:
        return await reader.read()
    except StoreUnavailable:
        return None
