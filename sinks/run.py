"""The sink process: its sinks, its metrics endpoint, and how it starts and ends."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

from prometheus_client import CollectorRegistry, start_http_server

from sinks.clickhouse.tables import Tables
from sinks.deadletters import DeadLetterSink
from spendstream.config import Config, Secret

__all__ = ["run"]


async def run(config: Config, servers: str, url: Secret) -> None:
    """Run all sinks until SIGTERM or SIGINT."""
    registry = CollectorRegistry()
    tables = Tables(url)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server, _ = start_http_server(config.sink_metrics_port, "127.0.0.1", registry)
    print(f"sink ready, metrics on http://127.0.0.1:{server.server_port}/metrics", flush=True)  # noqa: T201
    sinking = asyncio.create_task(DeadLetterSink(servers, tables, registry).run())
    try:
        await asyncio.wait([sinking, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        sinking.cancel()
        with suppress(asyncio.CancelledError):
            await sinking
    finally:
        await tables.close()
        server.shutdown()
