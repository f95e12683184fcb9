"""One lazily made connection to ClickHouse's tables: rows in, rows out, errors told apart."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.asyncclient import AsyncClient

from spendstream.adapters.clickhouse import connect, landing_errors
from spendstream.config import Secret
from spendstream.errors import RowRejected

__all__ = ["Tables"]

_INSERT_SETTINGS = {"max_partitions_per_insert_block": 0}  # a replay may span more days than the default 100
_TOGETHER = 32  # inserts
_MAX_QUERY_BYTES = 64 << 20  # a question names the ids of a whole block

_Waiting = tuple[pa.Table, asyncio.Future[None]]


class Tables:
    """The tables at `url`, which may be away when this is made. Raises StoreUnavailable and RowRejected."""

    def __init__(self, url: Secret) -> None:
        self._url = url
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()
        self._waiting: dict[str, list[_Waiting]] = {}
        self._inserting: dict[str, asyncio.Task[None]] = {}

    async def insert(self, table: str, rows: pa.Table) -> None:
        """Insert `rows`; they can be queried on return.

        What comes while an insert is under way goes together with the next: a few large inserts cost
        ClickHouse much less than many small ones. If it refuses one of the rows, each goes by itself.
        """
        inserted = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(table, [])
        waiting.append((rows, inserted))
        if table not in self._inserting:
            self._inserting[table] = asyncio.create_task(self._insert_all(table, waiting))
        await inserted

    async def _insert_all(self, table: str, waiting: list[_Waiting]) -> None:
        try:
            while waiting:
                together = waiting[:_TOGETHER]
                del waiting[:_TOGETHER]
                await self._insert(table, together)
        finally:
            del self._inserting[table]

    async def _insert(self, table: str, together: Sequence[_Waiting]) -> None:
        try:
            with landing_errors(f"insert into {table}"):
                client = await self._connected()
                rows = pa.concat_tables([rows for rows, _ in together])
                await client.insert_arrow(table, rows, settings=_INSERT_SETTINGS)
        except Exception as error:  # noqa: BLE001  # it belongs to those who wait
            if isinstance(error, RowRejected) and len(together) > 1:
                for one in together:
                    await self._insert(table, [one])
                return
            _settle(together, error)
        else:
            _settle(together, None)

    async def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        """Return the rows of a query."""
        with landing_errors("query"):
            client = await self._connected()
            answer = await client.query(
                sql, parameters=dict(parameters or {}), settings={"max_query_size": _MAX_QUERY_BYTES}
            )
            return answer.result_rows

    async def run(self, sql: str, parameters: Mapping[str, Any]) -> None:
        """Run a statement that returns nothing."""
        with landing_errors("statement"):
            client = await self._connected()
            await client.command(sql, dict(parameters))

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


def _settle(together: Sequence[_Waiting], error: Exception | None) -> None:
    for _, inserted in together:
        if inserted.done():  # nobody waits any more
            continue
        if error is None:
            inserted.set_result(None)
        else:
            inserted.set_exception(error)
