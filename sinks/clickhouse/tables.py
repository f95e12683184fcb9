"""One lazily made connection to ClickHouse's tables: rows in, rows out, errors told apart."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.asyncclient import AsyncClient

from spendstream.adapters.clickhouse import connect, landing_errors
from spendstream.config import Secret

__all__ = ["Tables"]

_INSERT_SETTINGS = {"max_partitions_per_insert_block": 0}  # a replay may span more days than the default 100
_MAX_QUERY_BYTES = 64 << 20  # a question names the ids of a whole block


class Tables:
    """The tables at `url`, which may be away when this is made. Raises StoreUnavailable and RowRejected."""

    def __init__(self, url: Secret) -> None:
        self._url = url
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()

    async def insert(self, table: str, rows: pa.Table) -> None:
        """Insert `rows`; they can be queried on return."""
        with landing_errors(f"insert into {table}"):
            client = await self._connected()
            await client.insert_arrow(table, rows, settings=_INSERT_SETTINGS)

    async def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        """Return the rows of a query."""
        with landing_errors("query"):
            client = await self._connected()
            answer = await client.query(
                sql, parameters=dict(parameters or {}), settings={"max_query_size": _MAX_QUERY_BYTES}
            )
            return answer.result_rows

    async def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _connected(self) -> AsyncClient:
        async with self._connecting:  # or two that come first would make a client each, and lose one
            if self._client is None:
                self._client = await connect(self._url)
            return self._client
