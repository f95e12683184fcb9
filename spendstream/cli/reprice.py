"""`spendstream reprice`: costs for events that had no price, once there is one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table

from producers.progress import told
from producers.repricing import Repriced, reprice
from producers.sender import Sender
from sinks.clickhouse.repricings import unpriced
from sinks.clickhouse.tables import Tables
from spendstream.adapters.price_feed import PriceFeed
from spendstream.cli.context import clickhouse_url, kafka_servers, load_config, log_to_stderr
from spendstream.config import Config
from spendstream.events import TokenUsage
from spendstream.money import format_usd
from spendstream.pricing import PriceBook, live_book_from

__all__ = ["command"]


@click.command("reprice")
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
def command(*, dry_run: bool) -> None:
    """Price the stored events that had no price when they happened, with the prices there are now.

    Prices are the gateway's: of the price file, of the admin API, and the published ones. Events take the
    price of their own time. Running it again changes nothing about those that are priced.
    """
    config = load_config()
    log_to_stderr(config)
    done = asyncio.run(_dry(config) if dry_run else _run(config))
    events = done.events.total()
    if events or done.unpriced:
        Console().print(_table(done))
    click.echo(
        f"{events:,} events {'would be sent' if dry_run else 'sent'} with their costs, "
        f"{format_usd(done.cost.total())}; {done.unpriced.total():,} stay unpriced"
    )


async def _run(config: Config) -> Repriced:
    with told("reprice", None) as progress:
        async with Sender(
            kafka_servers(config), progress, events_per_record=config.events_per_record
        ) as sender:
            return await _repriced(config, sender)


async def _dry(config: Config) -> Repriced:
    return await _repriced(config, None)


async def _repriced(config: Config, sender: Sender | None) -> Repriced:
    async def keep(_: Sequence[TokenUsage]) -> None:
        """Send nothing."""

    book = await _book(config)
    tables = Tables(clickhouse_url(config))
    try:
        return await reprice(unpriced(tables), book, sender.send if sender else keep)
    finally:
        await tables.close()


async def _book(config: Config) -> PriceBook:
    """Return the book that a gateway has now."""
    book = live_book_from(config)
    feed = PriceFeed(kafka_servers(config), book)
    try:
        await feed.read()
    finally:
        await feed.close()
    return book


def _table(done: Repriced) -> Table:
    table = Table(header_style="bold")
    for name in ("provider", "model"):
        table.add_column(name, overflow="fold")
    for name in ("priced", "cost", "still unpriced"):
        table.add_column(name, justify="right")
    for model in sorted(done.events.keys() | done.unpriced.keys()):
        table.add_row(
            *model, f"{done.events[model]:,}", format_usd(done.cost[model]), f"{done.unpriced[model]:,}"
        )
    return table
