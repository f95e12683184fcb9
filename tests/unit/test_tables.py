"""Inserts that wait together go to ClickHouse together, and each learns what became of its own rows."""

from __future__ import annotations

import asyncio

import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from sinks.clickhouse import tables
from sinks.clickhouse.tables import Tables
from spendstream.config import Secret
from spendstream.errors import RowRejected, StoreUnavailable

SOON = 5.0
BAD = -1  # a row that ClickHouse refuses


class Client:
    """A ClickHouse that holds its first answer back until it is told to, so that others come to wait."""

    def __init__(self) -> None:
        self.inserts: list[tuple[str, list[int]]] = []
        self.away = False
        self.entered = asyncio.Event()
        self.released = asyncio.Event()

    async def insert_arrow(self, table: str, rows: pa.Table, **_: object) -> None:
        numbers = rows["number"].to_pylist()
        self.inserts.append((table, numbers))
        self.entered.set()
        await self.released.wait()
        if self.away:
            raise OperationalError("nobody answers")
        if BAD in numbers:
            raise refusal()

    async def close(self) -> None:
        pass


def refusal() -> DatabaseError:
    error = DatabaseError("cannot parse a row")
    error.code = 6  # CANNOT_PARSE_TEXT
    return error


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    made = Client()

    async def connect(_: Secret) -> Client:
        return made

    monkeypatch.setattr(tables, "connect", connect)
    return made


def rows(*numbers: int) -> pa.Table:
    return pa.table({"number": list(numbers)})


async def waiting(client: Client, *batches: tuple[int, ...]) -> list[asyncio.Task[None]]:
    """Begin an insert of `batches[0]`, and others while it is under way."""
    to = Tables(Secret("http://unused"))
    tasks = [asyncio.create_task(to.insert("usage", rows(*batches[0])))]
    await asyncio.wait_for(client.entered.wait(), SOON)
    tasks += [asyncio.create_task(to.insert("usage", rows(*batch))) for batch in batches[1:]]
    await asyncio.sleep(0)  # each has put its rows down
    return tasks


async def outcomes(client: Client, tasks: list[asyncio.Task[None]]) -> list[type[BaseException] | None]:
    client.released.set()
    found = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), SOON)
    return [None if one is None else type(one) for one in found]


async def test_what_comes_while_an_insert_is_under_way_goes_together_with_the_next(client: Client) -> None:
    tasks = await waiting(client, (1, 2), (3,), (4, 5))
    assert await outcomes(client, tasks) == [None, None, None]
    assert client.inserts == [("usage", [1, 2]), ("usage", [3, 4, 5])]


async def test_a_refused_row_fails_its_own_insert_and_no_other(client: Client) -> None:
    tasks = await waiting(client, (1,), (2,), (3, BAD), (4,))
    assert await outcomes(client, tasks) == [None, None, RowRejected, None]
    assert client.inserts[2:] == [("usage", [2]), ("usage", [3, BAD]), ("usage", [4])]


async def test_all_who_wait_learn_that_clickhouse_is_away(client: Client) -> None:
    tasks = await waiting(client, (1,), (2,), (3,))
    client.away = True
    assert await outcomes(client, tasks) == [StoreUnavailable] * 3
    assert len(client.inserts) == 2, "nobody tries again but those who asked"


async def test_one_who_no_longer_waits_keeps_nobody_from_learning_what_became_of_theirs(
    client: Client,
) -> None:
    tasks = await waiting(client, (1,), (2,), (3, BAD))
    tasks[0].cancel()
    tasks[1].cancel()
    assert await outcomes(client, tasks) == [asyncio.CancelledError, asyncio.CancelledError, RowRejected]


async def test_tables_do_not_wait_for_each_other(client: Client) -> None:
    to = Tables(Secret("http://unused"))
    tasks = [asyncio.create_task(to.insert(name, rows(1))) for name in ("usage", "windows")]
    async with asyncio.timeout(SOON):
        while len(client.inserts) < 2:
            await client.entered.wait()
            client.entered.clear()
    assert await outcomes(client, tasks) == [None, None]


async def test_after_a_failure_the_next_insert_goes_through(client: Client) -> None:
    to = Tables(Secret("http://unused"))
    client.released.set()
    client.away = True
    with pytest.raises(StoreUnavailable):
        await to.insert("usage", rows(1))
    client.away = False
    await to.insert("usage", rows(1))
    assert client.inserts == [("usage", [1])] * 2


async def test_a_long_queue_goes_in_several_inserts_in_order(client: Client) -> None:
    tasks = await waiting(client, *[(number,) for number in range(70)])
    assert set(await outcomes(client, tasks)) == {None}
    assert [number for _, numbers in client.inserts for number in numbers] == list(range(70))
    assert len(client.inserts) == 4
