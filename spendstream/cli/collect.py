"""`spendstream collect`: samples of what a Kubernetes cluster spends."""

from __future__ import annotations

import asyncio

import click

from producers.cluster.collect import collect
from spendstream.cli.context import kafka_servers, load_config, log_to_stderr
from spendstream.cluster_prices import cluster_prices
from spendstream.workloads.prices import ListPrices

__all__ = ["command"]


@click.command("collect")
def command() -> None:
    """Collect what a Kubernetes cluster spends: watch it, and journal samples of its pods and nodes.

    Which cluster, and how, says the table `collector` of the configuration file; see docs/collector.md. It
    reads, and never writes. Run one for each cluster.
    """
    config = load_config()
    log_to_stderr(config)
    prices = ListPrices(cluster_prices(config.collector.price_file), traffic=config.collector.traffic)
    asyncio.run(collect(config, kafka_servers(config), prices))
