"""`spendstream migrate`: tables and topics."""

from __future__ import annotations

import asyncio

import click

from sinks.clickhouse.migrations import migrate
from spendstream.adapters.kafka import ensure_topics
from spendstream.cli.context import clickhouse_url, kafka_servers, load_config

__all__ = ["command"]


@click.command("migrate")
def command() -> None:
    """Bring ClickHouse's tables and Kafka's topics up to date. Safe to repeat."""
    config = load_config()
    servers, url = kafka_servers(config), clickhouse_url(config)

    async def both() -> list[str]:
        await ensure_topics(servers)
        return [f"{step.number:04}_{step.name}" for step in await migrate(url, config)]

    applied = asyncio.run(both())
    click.echo(f"applied {', '.join(applied)}" if applied else "everything is up to date")
