"""The worker process: the Faust application, its probes, and how it starts and ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol, cast

import faust
import structlog
import uvloop
from faust.types import TP
from prometheus_client import CollectorRegistry

from spendstream.adapters.kafka import Incarnations, leave_group
from spendstream.adapters.probes import Probes, Readiness, keep_asking
from spendstream.clock import now_micros
from spendstream.config import Config
from spendstream.errors import BrokerUnavailable, ConfigError, TransientError
from spendstream.patience import patiently
from spendstream.store import UsageStore
from spendstream.topics import USAGE_TOKENS, WORKER_GROUP
from stream_processors.app import create_app
from stream_processors.assignor import WatchfulAssignor
from stream_processors.block_transport import BlockConsumer
from stream_processors.lanes import Lanes
from stream_processors.metrics import WorkerMetrics
from stream_processors.outlet import Outlet
from stream_processors.seats import Seat
from stream_processors.sources import TOPICS, Sources
from stream_processors.watcher import Watcher

__all__ = ["ClosableStore", "run"]

_log = structlog.get_logger(__name__)

_MICROS = 1_000_000
_WATCH_S = 1.0
_LOOK_S = 1.0
_DRAIN_S = 10.0  # what SIGTERM leaves the blocks in hand to land
_STOP = (signal.SIGTERM, signal.SIGINT)
_PARTITIONS = "partitions"


class _Closable(Protocol):
    async def close(self) -> None:
        """Let go of what it holds."""


class ClosableStore(UsageStore, _Closable, Protocol):
    """A usage store that holds connections."""

    async def ping(self) -> None:
        """Return when it answers; raise StoreUnavailable when it does not."""


def run(
    config: Config, servers: str, store: ClosableStore, watchers: Sequence[Callable[[Outlet], Watcher]]
) -> None:
    """Run a worker until SIGTERM or SIGINT; raise what made it crash."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    outlet = Outlet(servers)
    incarnations = Incarnations(servers)
    sources = _sources(config, store, outlet, metrics, incarnations)
    lanes = Lanes()
    config.data_dir.mkdir(parents=True, exist_ok=True)
    app = create_app(servers, sources, lanes, metrics, config.data_dir / "faust")
    readiness = Readiness(
        {"kafka": partial(incarnations.of, USAGE_TOKENS.name), "clickhouse": store.ping},
        (_PARTITIONS,),
        metrics.waits,
    )
    probes = Probes(registry, readiness, lambda: "the worker crashed" if app.crashed else "")
    address = loop.run_until_complete(probes.start(config.worker_metrics_port))
    asking = loop.create_task(keep_asking(readiness))
    if not (found := loop.run_until_complete(_topics(incarnations.of))):
        asking.cancel()
        loop.run_until_complete(asyncio.gather(asking, probes.close(), return_exceptions=True))
        return
    seat = Seat(config.data_dir / "workers")
    loop.run_until_complete(_bury_predecessor(servers, seat))
    _follow_assignment(app, readiness, seat)
    _announce(app, address)
    _watch_topics(app, found, incarnations.of)
    watching = [make(outlet) for make in watchers]
    for watcher in watching:
        _let_look(app, watcher, metrics)
    _close_at_end(app, lanes, asking, [probes, outlet, incarnations, store, *watching])
    faust.Worker(
        app, loop=loop, quiet=True, override_logging=False, redirect_stdouts=False
    ).execute_from_commandline()


def _sources(
    config: Config, store: UsageStore, outlet: Outlet, metrics: WorkerMetrics, incarnations: Incarnations
) -> Sources:
    return Sources(
        store,
        outlet,
        metrics,
        incarnations.of,
        horizon=config.duplicate_horizon_s * _MICROS,
        allowed_lateness=config.allowed_lateness_s * _MICROS,
    )


def _announce(app: faust.App, address: str) -> None:
    """Say on stdout that the worker runs, once it does."""

    @app.task  # type: ignore[untyped-decorator]
    async def announce() -> None:
        print(f"worker ready, metrics on {address}/metrics", flush=True)  # noqa: T201


def _watch_topics(
    app: faust.App, found: Mapping[str, str], incarnation: Callable[[str], Awaitable[str]]
) -> None:
    """End the process when a topic was created anew, or nobody reads it: both can look like silence."""

    @app.timer(_WATCH_S)  # type: ignore[untyped-decorator]
    async def watch() -> None:
        if forgotten := cast("WatchfulAssignor", app.assignor).forgotten:
            await app.crash(RuntimeError(f"partitions of {', '.join(forgotten)} were shared out to nobody"))
        with suppress(ConfigError, BrokerUnavailable):  # between the two, and while Kafka is away
            for topic, known in found.items():
                if await incarnation(topic) != known:
                    await app.crash(RuntimeError(f"{topic} was deleted and created anew: start again"))


def _close_at_end(
    app: faust.App, lanes: Lanes, asking: asyncio.Task[None], others: Sequence[_Closable]
) -> None:
    """Let blocks in hand land before Faust ends, then let go of all others, in their order."""

    @app.on_before_shutdown.connect
    async def close(*_: object, **__: object) -> None:
        await lanes.close(_DRAIN_S)
        asking.cancel()
        await asyncio.wait([asking])
        for each in others:
            await each.close()


async def _bury_predecessor(servers: str, seat: Seat) -> None:
    """Let the group know that who sat here is dead, so that nobody waits for it."""
    if seat.predecessor:
        with suppress(BrokerUnavailable):  # then its session runs out by itself
            await leave_group(servers, WORKER_GROUP, seat.predecessor)


def _follow_assignment(app: faust.App, readiness: Readiness, seat: Seat) -> None:
    """Be ready from when partitions were shared out, even if none is left for us, until they are again."""

    @app.on_partitions_assigned.connect
    async def assigned(*_: object, **__: object) -> None:
        client = cast("BlockConsumer", app.consumer)._thread._ensure_consumer()  # noqa: SLF001  # nothing public
        seat.take(client._coordinator.member_id)  # noqa: SLF001  # tells who we are in the group
        readiness.there(_PARTITIONS)

    @app.on_partitions_revoked.connect
    async def revoked(*_: object, **__: object) -> None:
        readiness.missing(_PARTITIONS, "they are being shared out")


def _let_look(app: faust.App, watcher: Watcher, metrics: WorkerMetrics) -> None:
    """Let `watcher` look every second, in the one worker that has the first partition.

    A watcher that fails begins anew: alerts that are late must not hold up the landing of usage.
    """
    first, name = TP(USAGE_TOKENS.name, 0), type(watcher).__name__

    @app.timer(_LOOK_S, name=f"look.{name}")  # type: ignore[untyped-decorator]
    async def look() -> None:
        if first not in app.consumer.assignment():
            watcher.rest()
            return
        try:
            for alert in await watcher.look(now_micros()):
                _log.info("alert", state=alert.state, title=alert.title)
        except TransientError as error:
            _log.warning("waiting", why=str(error))
        except Exception:  # noqa: BLE001  # whatever it is, it is told, and can be alerted on
            _log.exception("cannot look", watcher=name)
            metrics.stumbled(name)
            watcher.rest()


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
