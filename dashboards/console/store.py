"""The one connection of the console to ClickHouse, made when it is first needed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal
from uuid import UUID

from clickhouse_connect.driver.asyncclient import AsyncClient

from dashboards.answers import Answer, ask, choices
from dashboards.macros import TimeRange
from spendstream.adapters.clickhouse import connect, query_errors
from spendstream.config import Secret

__all__ = ["Decision", "Store"]

Decision = Literal["accepted", "dismissed", "none"]
"""What people decide; "none" takes a decision back."""

_AT_ONCE = 4  # questions: a page has a dozen, and landing must go on beside them


class Store:
    """ClickHouse at `url`, which may be away. Raises StoreUnavailable and QueryError."""

    def __init__(self, url: Secret) -> None:
        self._url = url
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def answer(self, sql: str, time: TimeRange, chosen: Mapping[str, Sequence[str]]) -> Answer:
        """Return the answer to a panel's SQL."""
        async with self._turn:
            return await ask(await self._connected(), sql, time, chosen)

    async def choices(self, sql: str, time: TimeRange) -> Sequence[str]:
        """Return what a variable can be."""
        async with self._turn:
            return await choices(await self._connected(), sql, time)

    async def decide(self, recommendation: UUID, decision: Decision, at: int) -> None:
        """Keep what was decided on a recommendation, at microseconds UTC; the newest decision counts."""
        client = await self._connected()
        with query_errors("decision"):
            await client.command(
                "INSERT INTO recommendation_decision_raw SELECT {id:UUID}, {decision:String}, "
                "fromUnixTimestamp64Micro({at:Int64}, 'UTC')",
                parameters={"id": str(recommendation), "decision": decision, "at": at},
            )

    async def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            await self._client.close()

    async def _connected(self) -> AsyncClient:
        async with self._connecting:
            if self._client is None:
                self._client = await connect(self._url)
            return self._client
