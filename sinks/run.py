"""The sink process: its sinks, its probes, and how it starts and ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry

from sinks.alerts import AlertSink
from sinks.callers import CallerDays
from sinks.clickhouse.tables import Tables
from sinks.deadletters import DeadLetterSink
from sinks.metrics import SinkMetrics
from sinks.notifiers.notifier import Notifier, name_of
from sinks.notifiers.sender import sender_of
from sinks.recommendations import RecommendationSink
from spendstream.adapters.kafka import Incarnations
from spendstream.adapters.probes import Probes, Readiness, keep_asking
from spendstream.config import Config, Secret
from spendstream.topics import DEAD_LETTERS

__all__ = ["run"]


async def run(config: Config, servers: str, url: Secret) -> None:
    """Run all sinks until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    registry, tables, incarnations = CollectorRegistry(), Tables(url), Incarnations(servers)
    metrics = SinkMetrics(registry)
    readiness = Readiness(
        {
            "kafka": partial(incarnations.of, DEAD_LETTERS.name),
            "clickhouse": partial(tables.rows, "SELECT 1"),
        },
        (DeadLetterSink.NAME, AlertSink.NAME, RecommendationSink.NAME, *map(name_of, config.channels)),
        metrics.waits,
    )
    probes = Probes(registry, readiness, str)
    try:
        address = await probes.start(config.sink_metrics_port)
        print(f"sink ready, metrics on {address}/metrics", flush=True)  # noqa: T201
        async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
            running: list[Callable[[], Coroutine[Any, Any, None]]] = [
                DeadLetterSink(servers, tables, metrics, readiness).run,
                AlertSink(servers, tables, metrics, readiness).run,
                RecommendationSink(servers, tables, metrics, readiness).run,
                CallerDays(tables, metrics).run,
                partial(keep_asking, readiness),
            ]
            for channel in config.channels:
                sender = sender_of(channel, http)
                notifier = Notifier(channel, config.alert_route, sender, tables, metrics, readiness)
                running.append(partial(notifier.run, servers))
            tasks = [group.create_task(each()) for each in running]
            await stop.wait()
            for task in tasks:
                task.cancel()
    finally:
        await probes.close()
        await incarnations.close()
        await tables.close()
