"""The worker process: the Faust application, its metrics endpoint, and how it starts and ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol, cast

import faust
import structlog
import uvloop
from faust.types import TP
from prometheus_client import CollectorRegistry, start_http_server

from spendstream.adapters.kafka import Incarnations
from spendstream.clock import now_micros
from spendstream.config import Config
from spendstream.errors import BrokerUnavailable, ConfigError, TransientError
from spendstream.patience import patiently
from spendstream.store import UsageStore
from spendstream.topics import USAGE_TOKENS
from stream_processors.app import create_app
from stream_processors.assignor import WatchfulAssignor
from stream_processors.lanes import Lanes
from stream_processors.metrics import WorkerMetrics
from stream_processors.outlet import Outlet
from stream_processors.sources import TOPICS, Sources
from stream_processors.watcher import Publish, Watcher

__all__ = ["ClosableStore", "run"]

_log = structlog.get_logger(__name__)

_MICROS = 1_000_000
_WATCH_S = 1.0
_LOOK_S = 1.0
_DRAIN_S = 10.0  # what SIGTERM leaves the blocks in hand to land
_STOP = (signal.SIGTERM, signal.SIGINT)


class ClosableStore(UsageStore, Protocol):
    """A usage store that holds connections."""

    async def close(self) -> None:
        """Let go of them."""


def run(
    config: Config, servers: str, store: ClosableStore, watchers: Sequence[Callable[[Publish], Watcher]]
) -> None:
    """Run a worker until SIGTERM or SIGINT; raise what made it crash."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    outlet = Outlet(servers)
    incarnations = Incarnations(servers)
    if not (found := loop.run_until_complete(_topics(incarnations.of))):
        return
    sources = Sources(store, outlet, metrics, incarnations.of, horizon=config.duplicate_horizon_s * _MICROS)
    config.data_dir.mkdir(parents=True, exist_ok=True)
    lanes = Lanes()
    app = create_app(servers, sources, lanes, metrics, config.data_dir / "faust")
    server, _ = start_http_server(config.worker_metrics_port, "127.0.0.1", registry)

    @app.task  # type: ignore[untyped-decorator]
    async def announce() -> None:
        print(f"worker ready, metrics on http://127.0.0.1:{server.server_port}/metrics", flush=True)  # noqa: T201

    @app.timer(_WATCH_S)  # type: ignore[untyped-decorator]
    async def watch() -> None:
        """End the process when a topic was created anew, or nobody reads it: both can look like silence."""
        if forgotten := cast("WatchfulAssignor", app.assignor).forgotten:
            await app.crash(RuntimeError(f"partitions of {', '.join(forgotten)} were shared out to nobody"))
        with suppress(ConfigError, BrokerUnavailable):  # between the two, and while Kafka is away
            for topic, known in found.items():
                if await incarnations.of(topic) != known:
                    await app.crash(RuntimeError(f"{topic} was deleted and created anew: start again"))

    watching = [make(outlet.announce) for make in watchers]
    for watcher in watching:
        _let_look(app, watcher)

    @app.on_before_shutdown.connect
    async def close(*_: object, **__: object) -> None:
        await lanes.close(_DRAIN_S)
        await outlet.close()
        await incarnations.close()
        await store.close()
        for watcher in watching:
            await watcher.close()

    faust.Worker(
        app, loop=loop, quiet=True, override_logging=False, redirect_stdouts=False
    ).execute_from_commandline()


def _let_look(app: faust.App, watcher: Watcher) -> None:
    """Let `watcher` look every second, in the one worker that has the first partition."""
    first = TP(USAGE_TOKENS.name, 0)

    @app.timer(_LOOK_S, name=f"look.{type(watcher).__name__}")  # type: ignore[untyped-decorator]
    async def look() -> None:
        if first not in app.consumer.assignment():
            watcher.rest()
            return
        try:
            for alert in await watcher.look(now_micros()):
                _log.info("alert", state=alert.state, title=alert.title)
        except TransientError as error:
            _log.warning("waiting", why=str(error))


async def _topics(incarnation: Callable[[str], Awaitable[str]]) -> dict[str, str]:
    """Return our topics' incarnations, once Kafka and all of them are there; none when told to stop first.

    Faust does not start without them.
    """

    async def found(topic: str) -> str:
        try:
            return await incarnation(topic)
        except ConfigError as error:  # nobody has made it yet
            raise BrokerUnavailable(str(error), retry_after=1.0) from error

    async def all_found() -> dict[str, str]:
        return {topic: await patiently(partial(found, topic), lambda: None) for topic in TOPICS}

    finding = asyncio.create_task(all_found())
    for number in _STOP:
        asyncio.get_running_loop().add_signal_handler(number, finding.cancel)
    await asyncio.wait([finding])
    for number in _STOP:
        asyncio.get_running_loop().remove_signal_handler(number)
    return {} if finding.cancelled() else finding.result()
