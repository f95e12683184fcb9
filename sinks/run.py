"""The sink process: its sinks, its metrics endpoint, and how it starts and ends."""

from __future__ import annotations

import asyncio
import signal
from typing import Protocol

import aiohttp
from prometheus_client import CollectorRegistry, start_http_server

from sinks.alerts import AlertSink, SlackNotifier
from sinks.clickhouse.tables import Tables
from sinks.deadletters import DeadLetterSink
from sinks.metrics import SinkMetrics
from sinks.slack import SlackWebhook
from spendstream.config import Config, Secret

__all__ = ["run"]


class _Sink(Protocol):
    async def run(self) -> None: ...


async def run(config: Config, servers: str, url: Secret) -> None:
    """Run all sinks until SIGTERM or SIGINT."""
    registry = CollectorRegistry()
    tables = Tables(url)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server, _ = start_http_server(config.sink_metrics_port, "127.0.0.1", registry)
    print(f"sink ready, metrics on http://127.0.0.1:{server.server_port}/metrics", flush=True)  # noqa: T201
    metrics = SinkMetrics.registered(registry)
    try:
        async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
            sinks: list[_Sink] = [
                DeadLetterSink(servers, tables, metrics),
                AlertSink(servers, tables, metrics),
            ]
            if config.slack_webhook:
                webhook = SlackWebhook(config.slack_webhook, http)
                sinks.append(SlackNotifier(servers, tables, metrics, webhook))
            tasks = [group.create_task(sink.run()) for sink in sinks]
            await stop.wait()
            for task in tasks:
                task.cancel()
    finally:
        await tables.close()
        server.shutdown()
