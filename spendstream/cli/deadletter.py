"""`spendstream deadletter`: look at what could not be processed, and send it back."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any, get_args

import click
import msgspec
from rich.console import Console
from rich.table import Table

from producers.letters import send_back
from sinks.clickhouse.letters import Wanted, find
from sinks.clickhouse.tables import Tables
from spendstream.cli.context import clickhouse_url, kafka_servers, load_config
from spendstream.cli.local import reach
from spendstream.config import Config
from spendstream.deadletters import DeadLetter, Stage
from spendstream.errors import ConfigError

__all__ = ["command"]

_filters = [
    click.option("--topic", help="Letters from this topic."),
    click.option("--stage", type=click.Choice(get_args(Stage)), help="Letters that this stage refused."),
    click.option("--reason", help="Letters whose reason contains this."),
    click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The newest N."),
]


def _filtered(function: Any) -> Any:
    for option in reversed(_filters):
        function = option(function)
    return function


@click.group("deadletter")
def command() -> None:
    """Look at records that could not be processed, and send them back once that is mended."""


@command.command("list")
@_filtered
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(*, as_json: bool, **filters: Any) -> None:
    """List dead letters, oldest first."""
    letters = _found(load_config(), Wanted(**filters), bodies=False)
    if as_json:
        click.echo(msgspec.json.encode([_row(letter) for letter in letters]))
        return
    table = Table(header_style="bold")
    for name in ("arrived", "topic", "partition", "offset", "line", "stage", "reason"):
        table.add_column(
            name, overflow="fold", justify="right" if name in ("partition", "offset", "line") else "left"
        )
    for letter in letters:
        table.add_row(*map(str, _row(letter).values()))
    Console().print(table if letters else "no dead letters")


@command.command("show")
@click.argument("topic")
@click.argument("partition", type=int)
@click.argument("offset", type=int)
@click.argument("line", type=int, default=0)
def show(*, topic: str, partition: int, offset: int, line: int) -> None:
    """Write the bytes of one letter to standard output, and its reason to standard error."""
    wanted = Wanted(topic=topic, partition=partition, offset=offset, line=line)
    letters = _found(load_config(), wanted, bodies=True)
    if not letters:
        raise ConfigError(f"no dead letter from {topic}, partition {partition}, offset {offset}, line {line}")
    for letter in letters[-1:]:
        click.echo(f"{letter.stage}: {letter.reason}", err=True)
        sys.stdout.buffer.write(letter.value or b"")


@command.command("replay")
@_filtered
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
def replay(*, dry_run: bool, **filters: Any) -> None:
    """Send letters back to their topics, byte for byte; those still wrong come back as letters."""
    config = load_config()
    servers, _ = kafka_servers(config), clickhouse_url(config)
    letters = _found(config, Wanted(**filters), bodies=True)
    if dry_run:
        click.echo(f"{len(letters)} letters would be sent")
        return
    click.echo(f"{asyncio.run(send_back(servers, letters))} letters sent")


def _found(config: Config, wanted: Wanted, *, bodies: bool) -> list[DeadLetter]:
    async def ask() -> list[DeadLetter]:
        async with reach(config) as reached:
            tables = Tables(reached.clickhouse)
            try:
                return list(await find(tables, wanted, bodies=bodies))
            finally:
                await tables.close()

    return asyncio.run(ask())


def _row(letter: DeadLetter) -> dict[str, Any]:
    return {
        "arrived": datetime.fromtimestamp(letter.timestamp / 1000, UTC).isoformat(timespec="milliseconds"),
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "line": letter.line,
        "stage": letter.stage,
        "reason": letter.reason,
    }
