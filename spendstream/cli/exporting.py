"""Spend as a FOCUS file: day after day, so that memory holds one day and one row group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import click

from spendstream.adapters.reading import Reader
from spendstream.cli.context import load_config, log_to_stderr
from spendstream.cli.local import reach
from spendstream.cli.reporting import destination, waiting
from spendstream.focus import clusters, tokens
from spendstream.focus.charge import Charge
from spendstream.focus.columns import Version
from spendstream.focus.writing import Writer
from spendstream.money import format_usd
from spendstream.pricing import PriceBook, book_from
from spendstream.reports import questions
from spendstream.reports.span import Span

__all__ = ["export"]


def export(span: Span, version: Version, out: Path | None) -> None:
    """Write the charges of a span's hours; say on standard error how many, their sum, and what is missing."""
    span = span.in_hours()
    config = load_config()
    log_to_stderr(config)
    book = book_from(config)

    async def run() -> tuple[int, int, int]:
        async with reach(config) as reached:
            reader = Reader(reached.clickhouse)
            try:
                return await _write(reader, book, span, version, out)
            finally:
                await reader.close()

    with waiting("reading from ClickHouse"):
        rows, cost, missing = asyncio.run(run())
    click.echo(f"{rows:,} charges of FOCUS {version}, {format_usd(cost)}", err=True)
    if missing:
        click.secho(
            f"{missing:,} events have no price yet and are left out: a charge must have a cost. "
            "See `spendstream reprice`.",
            err=True,
            fg="yellow",
        )


async def _write(
    reader: Reader, book: PriceBook, span: Span, version: Version, out: Path | None
) -> tuple[int, int, int]:
    """Return the number of charges, the picodollars in them, and how many events have no price."""
    form = "parquet" if out is not None and out.suffix == ".parquet" else "csv"
    cost = 0
    with destination(out) as file, Writer(file, version, form) as writer:
        async for charge in _charges(reader, book, span):
            writer.add(charge)
            cost += charge.billed
    [[missing]] = await reader.rows(questions.unpriced(span).sql)
    return writer.written, cost, int(missing)


async def _charges(reader: Reader, book: PriceBook, span: Span) -> AsyncIterator[Charge]:
    for (start,) in await reader.rows(questions.days(span).sql):
        day = span.day(start)
        found = tokens.groups(await reader.rows(tokens.ask(day).sql))
        for charge in tokens.charges(found, book):
            yield charge
        lines = clusters.lines(await reader.rows(clusters.ask(day).sql))
        for charge in clusters.charges(lines):
            yield charge
