"""Migrations: applied once each, in order; edited or unknown ones stop the release; retention follows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
from clickhouse_connect.driver.asyncclient import AsyncClient

from sinks.clickhouse.migrations import Migration, migrate, shipped
from spendstream.adapters.clickhouse import DATABASE, connect
from spendstream.config import Config, Secret
from spendstream.errors import ConfigError, StoreUnavailable
from tests.fixtures.stack import Pipeline

DAYS = Config(raw_retention_days=7, window_retention_days=30)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secret]:
    """A ClickHouse whose database other tests do not need."""
    pipeline = Pipeline(tmp_path_factory.mktemp("migrations"))
    try:
        yield Secret(pipeline.start("clickhouse").clickhouse)
    finally:
        pipeline.close()


@pytest.fixture
async def client(endpoint: Secret) -> AsyncIterator[AsyncClient]:
    """A connection to a ClickHouse that has no database of ours."""
    connection = await connect(endpoint, database="default")
    await connection.command(f"DROP DATABASE IF EXISTS {DATABASE} SYNC")
    yield connection
    await connection.close()


async def tables(client: AsyncClient) -> dict[str, str]:
    answer = await client.query(f"SELECT name, engine_full FROM system.tables WHERE database = '{DATABASE}'")
    return {str(name): str(engine) for name, engine in answer.result_rows}


async def test_a_fresh_clickhouse_gets_all_tables_and_views(endpoint: Secret, client: AsyncClient) -> None:
    assert await migrate(endpoint, Config()) == shipped()
    expected = {"token_usage", "pod_usage", "cost_window", "dead_letter"}
    assert (await tables(client)).keys() >= expected | {"token_usage_raw", "cost_window_state"}
    for view in expected:
        assert (await client.query(f"SELECT count() FROM {DATABASE}.{view}")).result_rows == [(0,)]


async def test_repeating_applies_nothing_and_keeps_what_is_there(
    endpoint: Secret, client: AsyncClient
) -> None:
    await migrate(endpoint, Config())
    before = await tables(client)
    assert await migrate(endpoint, Config()) == []
    assert await tables(client) == before


async def test_a_new_one_is_applied_after_those_that_are_there(endpoint: Secret, client: AsyncClient) -> None:
    await migrate(endpoint, Config())
    new = Migration(number=9000, name="more", sql="CREATE TABLE more (a UInt8) ENGINE = Log;\n")
    assert await migrate(endpoint, Config(), [*shipped(), new]) == [new]
    assert "more" in await tables(client)


async def test_one_that_was_killed_half_way_is_finished(endpoint: Secret, client: AsyncClient) -> None:
    await client.command(f"CREATE DATABASE {DATABASE} ENGINE = Atomic")
    for step in shipped()[:2]:
        await client.command(step.statements[0].replace("CREATE TABLE ", f"CREATE TABLE {DATABASE}."))
    assert await migrate(endpoint, Config()) == shipped()
    assert (await client.query(f"SELECT count() FROM {DATABASE}.token_usage")).result_rows == [(0,)]


async def test_an_edited_file_is_found_out(endpoint: Secret, client: AsyncClient) -> None:
    del client
    await migrate(endpoint, Config())
    first, *rest = shipped()
    edited = msgspec.structs.replace(first, sql=f"{first.sql}\n-- harmless, they said\n")
    with pytest.raises(ConfigError, match=r"migration 1 \(token_usage\) was edited after it was applied"):
        await migrate(endpoint, Config(), [edited, *rest])


async def test_a_database_ahead_of_this_release_is_not_touched(endpoint: Secret, client: AsyncClient) -> None:
    await migrate(endpoint, Config())
    before = await tables(client)
    with pytest.raises(
        ConfigError, match=rf"the database has migration {shipped()[-1].number}, this release"
    ):
        await migrate(endpoint, DAYS, shipped()[:-1])
    assert await tables(client) == before


async def test_retention_follows_the_configuration(endpoint: Secret, client: AsyncClient) -> None:
    await migrate(endpoint, Config())
    await migrate(endpoint, DAYS)
    engines = await tables(client)
    for table in ("token_usage_raw", "pod_usage_raw", "dead_letter_raw"):
        assert "TTL toDateTime(arrived_at) + toIntervalDay(7)" in engines[table]
    assert "TTL toDateTime(arrived_at) + toIntervalDay(30)" in engines["cost_window_state"]


async def test_a_clickhouse_that_is_away_is_told_by_its_address_without_its_password() -> None:
    with pytest.raises(StoreUnavailable, match=r"http://127\.0\.0\.1:1: ") as caught:
        await migrate(Secret("http://me:hunter2@127.0.0.1:1"), Config())
    assert "hunter2" not in str(caught.value)


def test_files_are_numbered_from_one_without_a_hole() -> None:
    assert [step.number for step in shipped()] == list(range(1, len(shipped()) + 1))
