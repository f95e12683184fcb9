"""Bringing the tables up to date: numbered SQL files, applied once each and in order, never edited."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files

import msgspec
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import Error

from spendstream.adapters.clickhouse import DATABASE, connect, landing_errors
from spendstream.config import Config, Secret
from spendstream.errors import ConfigError

__all__ = ["Migration", "migrate", "pending", "shipped"]

_TABLE_EXISTS = 57
_NAME = re.compile(r"(\d{4})_(\w+)\.sql")

_LOG = """
CREATE TABLE IF NOT EXISTS schema_migration
(
    number     UInt32,
    name       String,
    sha256     FixedString(64),
    applied_at DateTime('UTC') DEFAULT now()
)
ENGINE = ReplacingMergeTree
ORDER BY number
"""
# A statement: the driver's own insert imports pandas, which takes longer than all migrations.
_APPLIED = """
INSERT INTO schema_migration (number, name, sha256) VALUES ({number:UInt32}, {name:String}, {sha256:String})
"""


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One numbered step."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """The digest by which an edited file is found out."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """The file's statements; each ends with a semicolon at the end of a line."""
        return [part.strip() for part in re.split(r";\s*\n", self.sql) if part.strip()]


def shipped() -> list[Migration]:
    """Return the migrations of this release, in order."""
    folder = files("infra").joinpath("clickhouse")
    found = [
        Migration(number=int(match[1]), name=match[2], sql=file.read_text("utf-8"))
        for file in folder.iterdir()
        if (match := _NAME.fullmatch(file.name))
    ]
    return sorted(found, key=lambda migration: migration.number)


async def migrate(
    url: Secret, config: Config, migrations: Sequence[Migration] | None = None
) -> list[Migration]:
    """Create the database if needed, apply what is missing, set retention; return what was applied.

    Raises ConfigError when an applied file was edited since, or when the database is ahead of this release.
    """
    steps = shipped() if migrations is None else list(migrations)
    await _create_database(url)
    client = await connect(url)
    try:
        with landing_errors("migration"):
            await client.command(_LOG)
            applied = await _applied(client)
            _check(steps, applied)
            missing = [step for step in steps if step.number not in applied]
            for step in missing:
                await _apply(client, step)
            await _retain(client, config)
        return missing
    finally:
        await client.close()


async def pending(url: Secret) -> list[Migration]:
    """Return what `migrate` would apply. Raises what it would raise, and StoreUnavailable for no database."""
    client = await connect(url)
    try:
        with landing_errors("migrations"):
            steps, applied = shipped(), await _applied(client)
        _check(steps, applied)
        return [step for step in steps if step.number not in applied]
    finally:
        await client.close()


async def _create_database(url: Secret) -> None:
    client = await connect(url, database="default")
    try:
        with landing_errors("migration"):
            await client.command(f"CREATE DATABASE IF NOT EXISTS {DATABASE} ENGINE = Atomic")
    finally:
        await client.close()


async def _applied(client: AsyncClient) -> dict[int, str]:
    answer = await client.query("SELECT number, sha256 FROM schema_migration FINAL")
    return {
        number: digest.decode() if isinstance(digest, bytes) else digest
        for number, digest in answer.result_rows
    }


def _check(steps: Sequence[Migration], applied: dict[int, str]) -> None:
    known = {step.number: step for step in steps}
    for number, digest in sorted(applied.items()):
        if number not in known:
            raise ConfigError(
                f"the database has migration {number}, this release has not: upgrade Spendstream"
            )
        if known[number].sha256 != digest:
            raise ConfigError(
                f"migration {number} ({known[number].name}) was edited after it was applied: "
                "restore the file and add a new one"
            )


async def _apply(client: AsyncClient, step: Migration) -> None:
    for statement in step.statements:
        try:
            await client.command(statement)
        except Error as error:
            if error.code != _TABLE_EXISTS:  # an earlier try was killed between this statement and the log
                raise
    await client.command(_APPLIED, {"number": step.number, "name": step.name, "sha256": step.sha256})


async def _retain(client: AsyncClient, config: Config) -> None:
    """Set how long rows are kept after they arrived; tables that have it already are left alone."""
    retention = {
        "token_usage_raw": config.raw_retention_days,
        "pod_usage_raw": config.raw_retention_days,
        "node_usage_raw": config.raw_retention_days,
        "dead_letter_raw": config.raw_retention_days,
        "late_usage_raw": config.raw_retention_days,
        "allocation_window_state": config.window_retention_days,
        "caller_day_state": config.window_retention_days,
        "container_day_state": config.window_retention_days,
        "cost_window_state": config.window_retention_days,
    }
    answer = await client.query(
        "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()"
    )
    engines = {str(row[0]): str(row[1]) for row in answer.result_rows}
    for table, days in retention.items():
        if f"toIntervalDay({days})" not in engines[table]:
            await client.command(
                f"ALTER TABLE {table} MODIFY TTL toDateTime(arrived_at) + toIntervalDay({days})"
            )
