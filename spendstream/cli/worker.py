"""`spendstream worker`: a stream processor that lands in ClickHouse."""

from __future__ import annotations

import click

from sinks.clickhouse.store import ClickHouseStore
from spendstream.cli.context import clickhouse_url, kafka_servers, load_config, log_to_stderr
from stream_processors.worker import run

__all__ = ["command"]


@click.command("worker")
def command() -> None:
    """Run a stream processor: usage events in, exact windows out.

    Start as many as there are partitions to share; each takes over what a dead one leaves.
    """
    config = load_config()
    log_to_stderr(config)
    run(config, kafka_servers(config), ClickHouseStore(clickhouse_url(config)))
