"""`spendstream query`: read-only SQL on whichever ClickHouse is configured."""

from __future__ import annotations

import asyncio
import json
from typing import Literal, cast

import click
from rich.console import Console
from rich.table import Table

from spendstream.adapters.clickhouse import connect, query_errors
from spendstream.cli.context import load_config
from spendstream.cli.local import reach
from spendstream.config import Secret

__all__ = ["command"]

Format = Literal["table", "csv", "json"]

_FORMATS: dict[Format, str] = {
    "table": "JSONCompactStringsEachRowWithNamesAndTypes",
    "csv": "CSVWithNames",
    "json": "JSONEachRow",
}
_NUMBERS = ("Int", "UInt", "Float", "Decimal", "Nullable(Int", "Nullable(UInt", "Nullable(F", "Nullable(D")


@click.command("query")
@click.argument("sql")
@click.option("--format", "form", type=click.Choice(list(_FORMATS)), default="table", show_default=True)
def command(*, sql: str, form: str) -> None:
    """Run SQL on the configured ClickHouse, in the database `spendstream`; it cannot change anything.

    Ask `token_usage` and `pod_usage` for events, `cost_window` for aggregates, `allocation` for who pays for
    what of a cluster, `dead_letter` for what could not be read. Example: spendstream query "SELECT team,
    sum(cost) FROM token_usage GROUP BY team"
    """
    config = load_config()
    wanted = cast("Format", form)

    async def run() -> bytes:
        async with reach(config) as reached:
            return await _ask(reached.clickhouse, sql, wanted)

    answer = asyncio.run(run())
    if wanted == "table":
        Console().print(_table(answer))
    elif wanted == "json":
        click.echo("[" + ",\n ".join(answer.decode().splitlines()) + "]")
    else:
        click.echo(answer, nl=False)


async def _ask(url: Secret, sql: str, form: Format) -> bytes:
    client = await connect(url)
    try:
        with query_errors("query"):
            answer: bytes = await client.raw_query(
                sql.rstrip().rstrip(";"), fmt=_FORMATS[form], settings={"readonly": 1}
            )
            return answer
    finally:
        await client.close()


def _table(answer: bytes) -> Table:
    names, types, *rows = [json.loads(line) for line in answer.decode().splitlines()]
    table = Table(header_style="bold")
    for name, kind in zip(names, types, strict=True):
        table.add_column(name, justify="right" if kind.startswith(_NUMBERS) else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else cell for cell in row))
    return table
