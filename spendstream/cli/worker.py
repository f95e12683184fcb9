"""`spendstream worker`: a stream processor that lands in ClickHouse."""

from __future__ import annotations

import click

from sinks.clickhouse.anomalies import ClickHouseAnomalyStore
from sinks.clickhouse.budgets import ClickHouseBudgetStore
from sinks.clickhouse.recommendations import ClickHouseRecommendationStore
from sinks.clickhouse.store import ClickHouseStore
from spendstream.adapters.budget_feed import BudgetFeed
from spendstream.arrow import without_pandas
from spendstream.budgets import BudgetFile, load
from spendstream.cli.context import clickhouse_url, kafka_servers, load_config, log_to_stderr
from stream_processors.detection import AnomalyWatcher
from stream_processors.evaluator import Evaluator
from stream_processors.outlet import Outlet
from stream_processors.rightsizing import RecommendationWatcher
from stream_processors.watcher import Watcher
from stream_processors.worker import run

__all__ = ["command"]


@click.command("worker")
def command() -> None:
    """Run a stream processor: usage events in, exact windows out.

    Start as many as there are partitions to share; each takes over what a dead one leaves. One of them
    watches the budgets: those in the budget_file, and those set through the gateway's admin API; it looks for
    anomalies; and it recommends what containers should request.

    On worker_metrics_port it answers /metrics, /health and /ready, on loopback.
    """
    config = load_config()
    log_to_stderr(config)
    without_pandas()
    url = clickhouse_url(config)
    servers = kafka_servers(config)
    budgets = load(config.budget_file) if config.budget_file else BudgetFile()

    def evaluator(outlet: Outlet) -> Watcher:
        return Evaluator(BudgetFeed(servers, budgets), ClickHouseBudgetStore(url), outlet.announce)

    def anomalies(outlet: Outlet) -> Watcher:
        return AnomalyWatcher(ClickHouseAnomalyStore(url), outlet.announce)

    def rightsizing(outlet: Outlet) -> Watcher:
        return RecommendationWatcher(ClickHouseRecommendationStore(url), outlet.recommend)

    run(config, servers, ClickHouseStore(url), [evaluator, anomalies, rightsizing])
