"""Asks ClickHouse what people want to know: reads only, within bounds, over one lazily made connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clickhouse_connect.driver.asyncclient import AsyncClient

from spendstream.adapters.clickhouse import connect, query_errors
from spendstream.config import Secret

__all__ = ["Reader"]

_BOUNDS = {
    "readonly": 2,  # 1 would refuse the bounds below
    "max_execution_time": 50,  # seconds: it is to say so itself before the client gives up
    "max_result_rows": 1_000_000,
    "result_overflow_mode": "throw",  # half an answer is a wrong one
    "session_timezone": "UTC",
}


class Reader:
    """The ClickHouse at `url`, for reading. Raises QueryError and StoreUnavailable."""

    def __init__(self, url: Secret) -> None:
        self._url = url
        self._client: AsyncClient | None = None

    async def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        """Return the rows of a query."""
        with query_errors("report"):
            if self._client is None:
                self._client = await connect(self._url)
            return (await self._client.query(sql, settings=_BOUNDS)).result_rows

    async def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            await self._client.close()
            self._client = None
