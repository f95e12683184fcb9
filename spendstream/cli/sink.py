"""`spendstream sink`: what leaves Kafka for other places."""

from __future__ import annotations

import asyncio

import click

from sinks.run import run
from spendstream.cli.context import clickhouse_url, kafka_servers, load_config, log_to_stderr

__all__ = ["command"]


@click.command("sink")
def command() -> None:
    """Run the sinks: dead letters, alerts and recommendations into ClickHouse, and alerts to people.

    On sink_metrics_port they answer /metrics, /health and /ready, on loopback.
    """
    config = load_config()
    log_to_stderr(config)
    asyncio.run(run(config, kafka_servers(config), clickhouse_url(config)))
