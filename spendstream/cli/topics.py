"""`spendstream topics`: what Kafka has to hold for us, and whether it does."""

from __future__ import annotations

import asyncio
from typing import Literal

import click
import msgspec
from rich.console import Console
from rich.table import Table

from spendstream.adapters.kafka import ensure_topics, missing_topics
from spendstream.cli.context import kafka_servers, load_config
from spendstream.errors import ConfigError
from spendstream.topics import ALL_TOPICS, Topic

__all__ = ["command"]

_DAY_MS = 24 * 3600 * 1000


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One topic. `retention_ms` is None where the newest record of each key is kept for ever."""

    name: str
    state: Literal["there", "missing", "wrong partitions"]
    partitions: int
    retention_ms: int | None
    keyed_by: str
    holds: str


@click.group("topics")
def command() -> None:
    """Create the topics, or look at them."""


@command.command("create")
def create() -> None:
    """Create the topics that are missing. Safe to repeat; a topic that is there is never changed."""
    servers = kafka_servers(load_config())

    async def run() -> list[str]:
        missing = await missing_topics(servers)
        await ensure_topics(servers)
        return missing

    created = asyncio.run(run())
    click.echo(f"created {', '.join(created)}" if created else f"all {len(ALL_TOPICS)} are there")


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(*, as_json: bool) -> None:
    """List all topics: whether they are there, how many partitions, how long kept, and what they hold."""
    servers = kafka_servers(load_config())

    async def look() -> list[Row]:
        return [await _row(servers, topic) for topic in ALL_TOPICS]

    rows = asyncio.run(look())
    if as_json:
        click.echo(msgspec.json.encode(rows))
    else:
        _show(rows)


async def _row(servers: str, topic: Topic) -> Row:
    try:
        state: Literal["there", "missing", "wrong partitions"] = (
            "missing" if await missing_topics(servers, [topic]) else "there"
        )
    except ConfigError:
        state = "wrong partitions"
    return Row(
        name=topic.name,
        state=state,
        partitions=topic.partitions,
        retention_ms=None if topic.cleanup == "compact" else topic.retention_ms,
        keyed_by=topic.keyed_by,
        holds=topic.holds,
    )


def _show(rows: list[Row]) -> None:
    table = Table(header_style="bold")
    table.add_column("topic", no_wrap=True)
    for name in ("state", "partitions", "kept", "keyed by", "holds"):
        table.add_column(name, overflow="fold", justify="right" if name == "partitions" else "left")
    for row in rows:
        kept = "newest of each key" if row.retention_ms is None else f"{row.retention_ms // _DAY_MS} days"
        mark = row.state if row.state == "there" else f"[bold red]{row.state}[/]"
        table.add_row(row.name, mark, str(row.partitions), kept, row.keyed_by, row.holds)
    Console().print(table)
