"""Where a command finds Kafka and ClickHouse: configured, running here, or started for the occasion."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click

from infra.local.stack import Stack
from spendstream import running
from spendstream.config import Config, Secret

__all__ = ["Reached", "reach"]


class Reached:
    """Addresses of Kafka and ClickHouse; `own` is the stack that was started for this command, if any."""

    def __init__(self, kafka: str, clickhouse: str, own: Stack | None = None) -> None:
        self.kafka = kafka
        self.clickhouse = Secret(clickhouse)
        self.own = own


@asynccontextmanager
async def reach(config: Config, parts: frozenset[str] = frozenset()) -> AsyncIterator[Reached]:
    """Yield the addresses of a pipeline to send to; with no `parts`, of a ClickHouse to ask.

    Where there is none, neither configured nor running, `parts` are started on the data directory, and
    stopped again at the end.
    """
    there = running.find(config.data_dir)
    kafka = config.kafka or (there.kafka if there else "")
    clickhouse = str(config.clickhouse) or (there.clickhouse if there else "")
    if kafka if parts else clickhouse:
        yield Reached(kafka, clickhouse)
        return
    click.echo(
        f"nothing runs here yet: starting a local stack on {config.data_dir} for this command", err=True
    )
    async with Stack(config, parts) as stack:
        yield Reached(stack.kafka, stack.clickhouse, stack)
