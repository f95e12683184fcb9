"""`spendstream gateway`: the OpenAI-compatible proxy that meters every call."""

from __future__ import annotations

import click
import uvloop

from gateway.serve import serve
from sinks.clickhouse.budgets import ClickHouseBudgetStore
from spendstream.cli.context import clickhouse_url, kafka_servers, load_config, log_to_stderr
from spendstream.config import Config
from spendstream.errors import ConfigError

__all__ = ["command"]


@click.command("gateway")
def command() -> None:
    """Run the gateway: answer OpenAI's clients, and journal what each call uses and costs."""
    config = load_config()
    log_to_stderr(config)
    uvloop.run(serve(config, kafka_servers(config), ledger=_ledger(config)))


def _ledger(config: Config) -> ClickHouseBudgetStore | None:
    """Return the ClickHouse that calls are compared with, or None: a gateway needs none."""
    try:
        return ClickHouseBudgetStore(clickhouse_url(config))
    except ConfigError:
        return None
