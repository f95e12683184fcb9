"""The cluster's events: a sample of each node and each container, priced where it is made."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from itertools import count
from uuid import UUID
from zlib import crc32

from msgspec import Struct

from producers.simulation.fleet import Fleet, Requests
from producers.simulation.nodes import CAPACITIES, REGION
from producers.simulation.usage import Series, series
from producers.simulation.workloads import DAEMONS, WORKLOADS, Workload
from spendstream.allocation import priced_asset, priced_container, rates_of
from spendstream.events import Event, NodeUsage, PodUsage
from spendstream.ids import derived_id
from spendstream.scheduling import Node

__all__ = ["MONDAY", "PROJECT", "SAMPLE_S", "Run", "events", "size"]

MONDAY = 1_767_571_200 * 10**6
"""When the first simulated period begins: Monday 5 January 2026, 00:00 UTC."""
PROJECT = "simulation"
SAMPLE_S = 600
"""Seconds of a sample; a peak of memory within it is told apart from its average."""
_MICROS = 10**6
_BY_POD = {
    f"{workload.name}-{number}": (workload, number)
    for workload in WORKLOADS
    for number in range(workload.replicas)
}


class Run(Struct, frozen=True, kw_only=True):
    """One phase of one simulation: how long it lasts, and the name of its cluster and environment.

    `start` is in microseconds UTC; it begins a week, as usage follows the days of the week.
    """

    name: str
    seed: int
    start: int
    days: int

    @property
    def end(self) -> int:
        """Microseconds UTC."""
        return self.start + self.days * 86_400 * _MICROS

    @property
    def samples(self) -> int:
        """How many samples each container has."""
        return self.days * 86_400 // SAMPLE_S


def events(run: Run, fleet: Fleet, requests: Requests) -> Iterator[Event]:
    """Yield the samples of a run, in the order of time; the same run has the same ids."""
    sampling = _Sampling(run, requests)
    for number in range(run.samples):
        for node in fleet.at(run.start + number * SAMPLE_S * _MICROS):
            yield from sampling.of(node, number)


def size(run: Run, fleet: Fleet) -> int:
    """Return how many events that will be."""
    starts = (run.start + number * SAMPLE_S * _MICROS for number in range(run.samples))
    return sum(1 + len(DAEMONS) + len(node.pods) for start in starts for node in fleet.at(start))


class _Sampling:
    def __init__(self, run: Run, requests: Requests) -> None:
        self._run = run
        self._requests = requests
        self._recording = blake2b(run.name.encode(), digest_size=32).digest()
        self._rows = count()
        self._known: dict[tuple[str, int], Series] = {}

    def of(self, node: Node, number: int) -> Iterator[Event]:
        """Yield the sample of a node, and those of the containers on it."""
        pods = [_BY_POD[pod.name] for pod in node.pods]
        daemons = [(daemon, crc32(node.name.encode())) for daemon in DAEMONS]
        containers = [self._container(*each, node, number) for each in (*pods, *daemons)]
        whole = self._node(node, number, containers)
        rates = rates_of(whole)
        yield priced_asset(whole)
        for container in containers:
            yield priced_container(container, rates)

    def _node(self, node: Node, number: int, containers: list[PodUsage]) -> NodeUsage:
        start, offer = self._start(number), node.offer
        capacity = CAPACITIES[offer.instance_type].whole
        return NodeUsage(
            id=self._id(start),
            event_time=start,
            end_time=start + SAMPLE_S * _MICROS,
            source=PROJECT,
            project=PROJECT,
            environment=self._run.name,
            cluster=self._run.name,
            region=REGION,
            node=node.name,
            instance_type=offer.instance_type,
            purchase_option=offer.purchase_option,
            hourly_price=offer.hourly_price,
            cpu_capacity=capacity.cpu,
            memory_capacity=capacity.memory,
            gpu_capacity=capacity.gpu,
            cpu_usage=sum(each.cpu_usage for each in containers),
            memory_usage=sum(each.memory_usage for each in containers),
            gpu_usage=sum(each.gpu_usage for each in containers),
        )

    def _container(self, workload: Workload, pod: int, node: Node, number: int) -> PodUsage:
        start, used = self._start(number), self._series(workload, pod)
        requests = self._requests.get(workload.name, workload.requests)
        suffix = node.name if workload.kind == "DaemonSet" else pod
        return PodUsage(
            id=self._id(start),
            event_time=start,
            end_time=start + SAMPLE_S * _MICROS,
            source=PROJECT,
            team=workload.team,
            project=PROJECT,
            environment=self._run.name,
            service=workload.name,
            cluster=self._run.name,
            region=REGION,
            node=node.name,
            instance_type=node.offer.instance_type,
            purchase_option=node.offer.purchase_option,
            node_hourly_price=node.offer.hourly_price,
            namespace=workload.namespace,
            workload=workload.name,
            workload_kind=workload.kind,
            revision=self._run.name,
            pod=f"{workload.name}-{suffix}",
            container=workload.name,
            scaled_on=workload.scaled_on,
            cpu_request=requests.cpu,
            cpu_limit=workload.limits.cpu,
            cpu_usage=used.cpu[number],
            memory_request=requests.memory,
            memory_limit=workload.limits.memory,
            memory_usage=used.memory[number],
            memory_peak=used.peak[number],
            gpu_request=requests.gpu,
            gpu_usage=used.gpu[number],
        )

    def _series(self, workload: Workload, pod: int) -> Series:
        key = workload.name, pod
        if key not in self._known:
            self._known[key] = series(self._run.seed, workload, pod, self._run.samples, SAMPLE_S)
        return self._known[key]

    def _start(self, number: int) -> int:
        return self._run.start + number * SAMPLE_S * _MICROS

    def _id(self, at: int) -> UUID:
        return derived_id(at, self._recording, next(self._rows))
