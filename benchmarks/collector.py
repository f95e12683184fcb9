"""How much memory and time a collector needs for a cluster of 10,000 pods, and how far behind changes it is.

A fake API server on loopback, in a process of its own, has the pods, their nodes and their usage. The
collector lists them in chunks, watches, reads their usage and lets samples leave into a journal on disk, as
in a cluster. Then pods come and go while it watches: the lag of a change is the time from when the API had it
until the account knew. Memory is the resident set of the collector's process alone; CPU time is its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from msgspec import Struct
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.children import resident_mib
from benchmarks.reporting import Machine, at_least, machine, options, report
from producers.cluster.api import KubernetesApi
from producers.cluster.collector import Collector
from producers.cluster.metrics import CollectorMetrics
from producers.cluster.metrics_api import MetricsApi
from producers.cluster.outlet import Outlet
from producers.cluster.remembered import Remembered
from spendstream.adapters.publisher import Publisher
from spendstream.clock import now_micros
from spendstream.cluster_prices import cluster_prices
from spendstream.logs import log_to_stderr
from spendstream.patience import Waits
from spendstream.workloads import Attribution
from spendstream.workloads.account import Account
from spendstream.workloads.pods import Pod
from spendstream.workloads.prices import ListPrices
from spendstream.workloads.samples import Samples
from spendstream.workloads.tenure import Billed
from tests.fixtures.kubernetes import FakeCluster
from tests.fixtures.manifests import container, iso, life, node_manifest, pod_manifest

_SECOND = 10**6
_PODS_OF_A_NODE = 100
_METRICS = "metrics.k8s.io/v1beta1"
_PADDING = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 2000}
_NOWHERE = "127.0.0.1:1"


class _Report(Struct, frozen=True, kw_only=True):
    """One run. Times are seconds, of CPU where they say so; lags are milliseconds."""

    machine: Machine
    pods: int
    containers: int
    idle_mib: int
    resident_mib: int
    peak_mib: int
    list_cpu: float
    usage_cpu: float
    close_cpu: float
    samples: int
    journal_mib: float
    longest_pause: float
    changes: int
    change_cpu: float
    lag_p50: float
    lag_p99: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    asked = _options(argv)
    log_to_stderr("error")  # that there is no Kafka, we know
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    measured = report(lambda folder, bars: asyncio.run(_run(asked, folder, bars)), _show, as_json=asked.json)
    return 0 if measured else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--pods", type=at_least(1), default=10_000, help="how many pods there are")
    parser.add_argument(
        "--changes", type=at_least(1), default=2_000, help="how many pods come while it watches"
    )
    return parser.parse_args(argv)


def _pod(number: int) -> dict[str, Any]:
    now = now_micros()
    name = f"service-{number // 20}-5d4f8c7b9-{number:05}"
    owner = {
        "kind": "ReplicaSet",
        "name": name.rsplit("-", 1)[0],
        "uid": f"rs-{number // 20}",
        "controller": True,
    }
    labels = {
        "app": f"service-{number // 20}",
        "team": f"team-{number % 40}",
        "pod-template-hash": "5d4f8c7b9",
    }
    metadata = {"labels": labels, "annotations": _PADDING, "ownerReferences": [owner]}
    names = ["main", "proxy"]
    return pod_manifest(
        name,
        containers=[container(one, env=[{"name": "A", "value": "x" * 500}]) for one in names],
        states={one: life(now - 3600 * _SECOND) for one in names},
        metadata=metadata | {"creationTimestamp": iso(now)},
        spec={"nodeName": f"node-{number // _PODS_OF_A_NODE}"},
    )


def _serve(pods: int, changes: int, pipe: Any) -> None:
    """Be the API server: tell the port, and at a word let pods come, with the times of each."""

    async def serve() -> None:
        cluster = FakeCluster()
        usage = {"cpu": "137123456n", "memory": "307200Ki"}
        times = {"timestamp": iso(now_micros()), "window": "15s"}
        for number in range(-(-pods // _PODS_OF_A_NODE)):
            node = node_manifest(f"node-{number}")
            node["metadata"]["creationTimestamp"] = iso(now_micros() - 3600 * _SECOND)
            await cluster.put("nodes", node)
            await cluster.put(
                "nodes", {"metadata": {"name": f"node-{number}"}, **times, "usage": usage}, _METRICS
            )
        for number in range(pods):
            pod = await cluster.put("pods", _pod(number))
            place = {name: pod["metadata"][name] for name in ("name", "namespace")}
            used = [{"name": name, "usage": usage} for name in ("main", "proxy")]
            await cluster.put("pods", {"metadata": place, **times, "containers": used}, _METRICS)
        cluster.forget()
        await cluster.start()
        pipe.send(cluster.url)
        await asyncio.to_thread(pipe.recv)
        for number in range(pods, pods + changes):
            manifest = _pod(number)
            manifest["metadata"]["name"] = f"come-{now_micros()}"
            manifest["metadata"]["uid"] = f"uid-{number}"
            await cluster.put("pods", manifest)
            await asyncio.sleep(0.002)
        await asyncio.to_thread(pipe.recv)

    asyncio.run(serve())


async def _run(asked: argparse.Namespace, folder: Path, bars: Progress) -> _Report:
    bar = bars.add_task("a cluster", total=5)
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(asked.pods, asked.changes, there), daemon=True
    )
    server.start()
    try:
        url = await asyncio.to_thread(here.recv)
        bars.advance(bar)
        return await _measure(asked, url, here, folder, bars, bar)
    finally:
        server.kill()
        server.join()


class _Listening(Account):
    """An account that keeps the lags (milliseconds) of pods whose names say when they came."""

    def __init__(self, samples: Samples, billed: Billed) -> None:
        super().__init__(samples, billed, attribution=Attribution())
        self.lags: list[float] = []

    def tell_pod(self, pod: Pod, now: int) -> None:
        super().tell_pod(pod, now)
        if pod.name.startswith("come-"):
            self.lags.append((now_micros() - int(pod.name.removeprefix("come-"))) / 1000)


class _Subject(Struct, frozen=True, kw_only=True):
    """The collector that is measured, and what it was put together from."""

    collector: Collector
    account: _Listening
    journal: Publisher
    metrics: CollectorMetrics

    async def list_all(self, pods: int) -> None:
        """Return when it knows all pods."""
        await self.collector.synced()
        while self.account.pods < pods or self.collector.trouble():  # noqa: ASYNC110 - happens in other tasks
            await asyncio.sleep(0.01)

    async def see(self, changes: int, pipe: Any) -> None:
        """Let pods come; return when it has seen them."""
        pipe.send("change")
        while len(self.account.lags) < changes:  # noqa: ASYNC110 - happens in other tasks
            await asyncio.sleep(0.01)

    @property
    def samples(self) -> int:
        """How many have left."""
        topics = ("usage.pods", "usage.nodes")
        return int(sum(self.metrics.samples.labels(each)._value.get() for each in topics))  # noqa: SLF001 - nothing public tells


async def _measure(
    asked: argparse.Namespace, url: str, pipe: Any, folder: Path, bars: Progress, bar: Any
) -> _Report:
    async with AsyncExitStack() as stack:
        subject = await _subject(stack, url, folder)
        gc.collect()
        idle = round(resident_mib(os.getpid()))
        tasks = [asyncio.create_task(one.run()) for one in subject.collector.followings]
        stack.callback(lambda: [task.cancel() for task in tasks])
        listed = await _cpu(subject.list_all(asked.pods))
        bars.advance(bar)
        read = await _cpu(subject.collector.read_once())
        bars.advance(bar)
        closed, longest = await _close(subject.collector)
        bars.advance(bar)
        changed = await _cpu(subject.see(asked.changes, pipe))
        gc.collect()
        bars.advance(bar)
        lags = subject.account.lags
        return _Report(
            machine=machine(),
            pods=asked.pods,
            containers=2 * asked.pods,
            idle_mib=idle,
            resident_mib=round(resident_mib(os.getpid())),
            peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
            list_cpu=listed,
            usage_cpu=read,
            close_cpu=closed,
            samples=subject.samples,
            journal_mib=subject.journal.owed_bytes / (1 << 20),
            longest_pause=longest,
            changes=len(lags),
            change_cpu=changed,
            lag_p50=statistics.median(lags),
            lag_p99=statistics.quantiles(lags, n=100)[98],
        )


async def _subject(stack: AsyncExitStack, url: str, folder: Path) -> _Subject:
    """Put a collector together as in a cluster, but for Kafka, which is away."""
    cluster = FakeCluster()
    cluster._port = int(url.rsplit(":", 1)[1])  # noqa: SLF001 - to write its kubeconfig
    kubeconfig = cluster.kubeconfig(folder / "kubeconfig")
    api = await stack.enter_async_context(KubernetesApi.connected(kubeconfig, ""))
    registry, waits = CollectorRegistry(), Waits()
    metrics = CollectorMetrics(registry)
    journal = Publisher(
        folder / "spool", _NOWHERE, max_bytes=1 << 30, registry=registry, events_per_record=500
    )
    await journal.start()
    stack.push_async_callback(journal.stop, 0.0)
    remembered = Remembered(folder, "bench")
    prices = ListPrices(cluster_prices(), traffic="zone")
    samples = Samples(cluster="bench", source="benchmark", region="us-east-1", prices=prices)
    account = _Listening(samples, remembered.load(now_micros() - 60 * _SECOND))
    collector = Collector(
        api,
        MetricsApi(api),
        account,
        Outlet(journal, metrics, waits, events_per_record=500),
        remembered,
        metrics,
        waits,
        attribution=Attribution(),
        interval=30,
        clock=now_micros,
    )
    return _Subject(collector=collector, account=account, journal=journal, metrics=metrics)


async def _cpu(step: Awaitable[object]) -> float:
    """Return how many seconds of CPU this process needs until a step is done."""
    began = time.process_time()
    await step
    return time.process_time() - began


async def _close(collector: Collector) -> tuple[float, float]:
    """Let samples leave; return the CPU that takes, and the longest pause of the event loop meanwhile."""
    pauses = asyncio.create_task(_pauses())
    await asyncio.sleep(0)
    cpu = await _cpu(collector.close(now_micros() - 15 * _SECOND))
    pauses.cancel()
    return cpu, await pauses


async def _pauses() -> float:
    """Return the longest time that the event loop gave nobody a turn, in milliseconds, when cancelled."""
    longest, last = 0.0, time.perf_counter()
    try:
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
    except asyncio.CancelledError:
        return longest * 1000


def _show(found: _Report, console: Console) -> None:
    table = Table(title=f"A collector of {found.pods:,} pods with {found.containers:,} containers")
    table.add_column("what")
    table.add_column("figure", justify="right")
    for what, figure in (
        ("resident before the first list", f"{found.idle_mib} MiB"),
        ("resident with all pods", f"{found.resident_mib} MiB"),
        ("highest", f"{found.peak_mib} MiB"),
        ("list and decode, CPU", f"{found.list_cpu:.2f} s"),
        ("one reading of usage, CPU", f"{found.usage_cpu:.2f} s"),
        (f"{found.samples:,} samples priced and journalled, CPU", f"{found.close_cpu:.2f} s"),
        ("their journal", f"{found.journal_mib:.1f} MiB"),
        ("longest pause of the event loop meanwhile", f"{found.longest_pause:.0f} ms"),
        (f"{found.changes:,} changes, CPU", f"{found.change_cpu:.2f} s"),
        ("lag of a change, median", f"{found.lag_p50:.1f} ms"),
        ("lag of a change, 99th percentile", f"{found.lag_p99:.1f} ms"),
    ):
        table.add_row(what, figure)
    console.print(table)
    console.print(str(found.machine))


if __name__ == "__main__":
    sys.exit(main())
