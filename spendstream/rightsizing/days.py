"""What is known of a container's usage: one state per container and day, which adds up in any order.

Counts are whole seconds per bucket, the rest are sums, maxima and the newest of what is set. So states of the
samples of any partitions and in any order are the same state, and the days of replicas can be put together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from spendstream import latency
from spendstream.events import PodUsage
from spendstream.rightsizing.histogram import CPU, MEMORY

__all__ = [
    "DAY",
    "NANO",
    "SECOND",
    "Container",
    "ContainerDay",
    "Settings",
    "container_of",
    "day_of",
    "gathered",
    "settings_of",
]

NANO = 10**9
"""Nanocores in a core."""

SECOND = 10**6
"""A second, in microseconds."""

DAY = 86_400 * SECOND
"""A day, in microseconds."""


class Container(NamedTuple):
    """A container of a workload, whichever of the workload's pods it is in."""

    cluster: str
    namespace: str
    workload_kind: str
    workload: str
    container: str


class Settings(NamedTuple):
    """What was set for a container at a time (microseconds): nanocores and bytes; a limit of 0 is none.

    The largest is the newest, and among settings of one time the same one is, in whatever order they come.
    """

    at: int = 0
    cpu_request: int = 0
    memory_request: int = 0
    cpu_limit: int = 0
    memory_limit: int = 0
    scaled_on: str = ""
    revision: str = ""
    team: str = ""


class ContainerDay(NamedTuple):
    """A container's usage in one day (UTC), of all its replicas together; `start` is in microseconds.

    `cpu` and `memory` count seconds by bucket; memory is the highest of a sample. `first` and `last` are when
    the first sample began and the last one ended. `revisions` tells when each was first seen in the day.
    """

    start: int
    first: int
    last: int
    seconds: int
    cpu: Mapping[int, int]
    memory: Mapping[int, int]
    oom_kills: int = 0
    restarts: int = 0
    revisions: Mapping[str, int] = {}
    settings: Settings = Settings()

    def plus(self, other: ContainerDay) -> ContainerDay:
        """Return both together; `other` is of the same container and day."""
        return ContainerDay(
            start=self.start,
            first=min(self.first, other.first),
            last=max(self.last, other.last),
            seconds=self.seconds + other.seconds,
            cpu=latency.merged(self.cpu, other.cpu),
            memory=latency.merged(self.memory, other.memory),
            oom_kills=self.oom_kills + other.oom_kills,
            restarts=self.restarts + other.restarts,
            revisions=_earliest(self.revisions, other.revisions),
            settings=max(self.settings, other.settings),
        )

    @property
    def memory_peak(self) -> int:
        """The day's highest memory, as the end of its bucket, in bytes; 0 if nothing was counted."""
        return round(MEMORY.end(max(self.memory))) if self.memory else 0

    @property
    def replicas(self) -> float:
        """How many there were on average, while there was one."""
        return self.seconds * SECOND / max(self.last - self.first, SECOND)


def _earliest(one: Mapping[str, int], two: Mapping[str, int]) -> Mapping[str, int]:
    if not one or not two:
        return one or two
    earliest = dict(one)
    for name, when in two.items():
        earliest[name] = min(when, earliest.get(name, when))
    return earliest


def day_of(sample: PodUsage) -> ContainerDay:
    """Return what one sample adds to its container and day. A sample of less than a second counts as one."""
    seconds = max((sample.end_time - sample.event_time) // SECOND, 1)
    return ContainerDay(
        start=sample.event_time - sample.event_time % DAY,
        first=sample.event_time,
        last=sample.end_time,
        seconds=seconds,
        cpu={CPU.find(sample.cpu_usage / NANO): seconds},
        memory={MEMORY.find(max(sample.memory_peak, sample.memory_usage)): seconds},
        oom_kills=sample.oom_kills,
        restarts=sample.restarts,
        revisions={sample.revision: sample.event_time} if sample.revision else {},
        settings=settings_of(sample),
    )


def settings_of(sample: PodUsage) -> Settings:
    """Return what was set when a sample began."""
    return Settings(
        sample.event_time,
        sample.cpu_request,
        sample.memory_request,
        sample.cpu_limit,
        sample.memory_limit,
        sample.scaled_on,
        sample.revision,
        sample.team,
    )


def gathered(samples: Iterable[PodUsage]) -> dict[Container, Sequence[ContainerDay]]:
    """Return the days of each container in `samples`, oldest first."""
    days: dict[tuple[Container, int], ContainerDay] = {}
    for sample in samples:
        day = day_of(sample)
        key = container_of(sample), day.start
        known = days.get(key)
        days[key] = day if known is None else known.plus(day)
    found: dict[Container, list[ContainerDay]] = {}
    for (container, _), day in sorted(days.items(), key=lambda item: item[0]):
        found.setdefault(container, []).append(day)
    return {container: tuple(each) for container, each in found.items()}


def container_of(sample: PodUsage) -> Container:
    """Return whose sample it is; a pod without a workload is one of its own."""
    return Container(
        sample.cluster,
        sample.namespace,
        sample.workload_kind or "Pod",
        sample.workload or sample.pod,
        sample.container,
    )
