"""The worker process: the Faust application, its metrics endpoint, and how it starts and ends."""

from __future__ import annotations

import asyncio
from typing import Protocol

import faust
import structlog
import uvloop
from prometheus_client import CollectorRegistry, start_http_server

from spendstream.adapters.kafka import topic_incarnation
from spendstream.config import Config
from spendstream.store import UsageStore
from stream_processors.app import create_app
from stream_processors.metrics import WorkerMetrics
from stream_processors.office import KafkaOffice
from stream_processors.sources import Sources

__all__ = ["ClosableStore", "run"]

_log = structlog.get_logger(__name__)

_MICROS = 1_000_000


class ClosableStore(UsageStore, Protocol):
    """A usage store that holds connections."""

    async def close(self) -> None:
        """Let go of them."""


def run(config: Config, servers: str, store: ClosableStore) -> None:
    """Run a worker until SIGTERM or SIGINT; raise what made it crash."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    office = KafkaOffice(servers)

    async def incarnation(topic: str) -> str:
        return await topic_incarnation(servers, topic)

    sources = Sources(store, office, metrics, incarnation, horizon=config.duplicate_horizon_s * _MICROS)
    app = create_app(servers, sources, metrics)
    server, _ = start_http_server(config.worker_metrics_port, "127.0.0.1", registry)

    @app.task  # type: ignore[untyped-decorator]
    async def announce() -> None:
        print(f"worker ready, metrics on http://127.0.0.1:{server.server_port}/metrics", flush=True)  # noqa: T201

    @app.on_before_shutdown.connect
    async def close(*_: object, **__: object) -> None:
        await office.close()
        await store.close()

    faust.Worker(
        app, loop=loop, quiet=True, override_logging=False, redirect_stdouts=False
    ).execute_from_commandline()
