"""Where a command finds Kafka and ClickHouse: configured, running here, or started for the occasion."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click

from infra.local.stack import Stack, clickhouse_folder
from spendstream import running
from spendstream.config import Config, Secret
from spendstream.errors import StoreUnavailable

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
    stopped again at the end. Raises StoreUnavailable where there is nothing to ask either.
    """
    there = running.find(config.data_dir)
    kafka = config.kafka or (there.kafka if there else "")
    clickhouse = str(config.clickhouse) or (there.clickhouse if there else "")
    if kafka if parts else clickhouse:
        yield Reached(kafka, clickhouse)
        return
    if not parts and not clickhouse_folder(config).is_dir():
        raise StoreUnavailable(
            f"no ClickHouse is configured or running, and {config.data_dir} holds no data to ask: "
            "run `spendstream up` or `spendstream replay`, or set SPENDSTREAM_CLICKHOUSE"
        )
    click.echo(
        f"nothing runs here yet: starting a local stack on {config.data_dir} for this command", err=True
    )
    async with Stack(config, parts) as stack:
        yield Reached(stack.kafka, stack.clickhouse, stack)
