"""`spendstream worker`: a stream processor that lands in ClickHouse."""

from __future__ import annotations

from functools import partial

import click

from sinks.clickhouse.alerts import ClickHouseBudgetStore
from sinks.clickhouse.store import ClickHouseStore
from spendstream.budgets import load
from spendstream.cli.context import clickhouse_url, kafka_servers, load_config, log_to_stderr
from stream_processors.evaluator import Evaluator
from stream_processors.worker import run

__all__ = ["command"]


@click.command("worker")
def command() -> None:
    """Run a stream processor: usage events in, exact windows out.

    Start as many as there are partitions to share; each takes over what a dead one leaves. With a
    budget_file, one of them watches the budgets.
    """
    config = load_config()
    log_to_stderr(config)
    url = clickhouse_url(config)
    watchers = []
    if config.budget_file is not None:
        watchers.append(partial(Evaluator, load(config.budget_file), ClickHouseBudgetStore(url)))
    run(config, kafka_servers(config), ClickHouseStore(url), watchers)
