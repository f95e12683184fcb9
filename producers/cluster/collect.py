"""The collector's process: put together from the configuration, with its journal and its probes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry

from producers.cluster.api import KubernetesApi
from producers.cluster.collector import Collector
from producers.cluster.metrics import CollectorMetrics
from producers.cluster.metrics_api import MetricsApi
from producers.cluster.outlet import Outlet
from producers.cluster.prometheus import Prometheus
from producers.cluster.remembered import Remembered
from producers.cluster.usage import UsageSource
from producers.interrupts import stop_on_signals
from spendstream.adapters.probes import Probes, Readiness
from spendstream.adapters.publisher import Publisher
from spendstream.clock import now_micros
from spendstream.config import Config
from spendstream.ending import end
from spendstream.errors import ConfigError
from spendstream.patience import Waits
from spendstream.workloads.account import Account
from spendstream.workloads.samples import Prices, Samples

__all__ = ["collect"]

_log = structlog.get_logger()

_FLUSH_S = 5.0
_ASK_S = 1.0
_API = "kubernetes"


async def collect(config: Config, kafka_servers: str, prices: Prices) -> None:
    """Collect the configured cluster until SIGTERM or SIGINT.

    Raises ConfigError for a bad setting, AlreadyRunning if another collector owns the spool or the port.
    """
    if not config.collector.cluster:
        raise ConfigError("collector: cluster: name the cluster, as it is to be called in events")
    registry, waits = CollectorRegistry(), Waits()
    async with AsyncExitStack() as stack:
        collector = await _collector(stack, config, kafka_servers, prices, registry, waits)
        readiness = Readiness({}, (_API,), waits)
        probes = Probes(registry, readiness, lambda: "")
        address = await probes.start(config.collector.metrics_port, config.collector.metrics_host)
        stack.push_async_callback(probes.close)
        print(f"collector ready, metrics on {address}/metrics", flush=True)  # noqa: T201 - what people wait for
        with stop_on_signals() as stop:
            tasks = [asyncio.create_task(task) for task in (collector.run(), _tell(collector, readiness))]
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
            failed = [task for task in tasks if task.done()]
            await end(*tasks, stopped)
            for task in failed:
                task.result()


async def _collector(
    stack: AsyncExitStack,
    config: Config,
    kafka_servers: str,
    prices: Prices,
    registry: CollectorRegistry,
    waits: Waits,
) -> Collector:
    settings = config.collector
    directory = config.data_dir / "collector"
    journal = Publisher(
        config.data_dir / "spool" / "collector",
        kafka_servers,
        max_bytes=config.spool_max_bytes,
        registry=registry,
        events_per_record=config.events_per_record,
    )
    await journal.start()
    stack.push_async_callback(_stop, journal)
    api = await stack.enter_async_context(KubernetesApi.connected(settings.kubeconfig, settings.context))
    metrics = CollectorMetrics(registry)
    remembered = Remembered(directory, settings.cluster)
    source = f"collector/{socket.gethostname()}"
    samples = Samples(cluster=settings.cluster, source=source, region=settings.region, prices=prices)
    account = Account(
        samples,
        remembered.load(now_micros()),
        attribution=settings.attribution,
        control_plane=settings.control_plane,
    )
    outlet = Outlet(journal, metrics, waits, events_per_record=config.events_per_record)
    usage = await stack.enter_async_context(_usage(config, api))
    return Collector(
        api,
        usage,
        account,
        outlet,
        remembered,
        metrics,
        waits,
        attribution=settings.attribution,
        interval=settings.interval_s,
        clock=now_micros,
    )


@asynccontextmanager
async def _usage(config: Config, api: KubernetesApi) -> AsyncIterator[UsageSource]:
    if config.collector.usage == "metrics-api":
        yield MetricsApi(api)
        return
    async with ClientSession() as http:
        yield Prometheus(http, config.collector.prometheus)


async def _tell(collector: Collector, readiness: Readiness) -> None:
    """Say once a second whether the cluster is followed."""
    while True:
        trouble = collector.trouble()
        if trouble:
            readiness.missing(_API, "; ".join(f"{kind}: {why}" for kind, why in sorted(trouble.items())))
        else:
            readiness.there(_API)
        await asyncio.sleep(_ASK_S)


async def _stop(journal: Publisher) -> None:
    owed = await journal.stop(_FLUSH_S)
    _log.info("collector stopped", events_left_in_spool=owed)
