"""What a batch of samples adds to the days of the containers that it is of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spendstream.batches import Batch
from spendstream.events import PodUsage
from spendstream.rightsizing.days import DAY, NANO, SECOND, Container, ContainerDay, container_of, settings_of
from spendstream.rightsizing.histogram import CPU, MEMORY
from spendstream.windows import DAY as DAY_SECONDS
from spendstream.windows import Added, WindowKey

__all__ = ["used"]

_Sample = tuple[int, PodUsage, int, int, int]  # position, event, its seconds, and its buckets


def used(batch: Batch) -> dict[WindowKey, Added]:
    """Return what a batch of samples, at least one, adds to each container's day that it touches."""
    together: dict[tuple[Container, int], list[_Sample]] = {}
    for sample in _samples(batch):
        event = sample[1]
        key = container_of(event), event.event_time // DAY
        if (known := together.get(key)) is None:
            together[key] = [sample]
        else:
            known.append(sample)
    return {
        WindowKey(DAY_SECONDS, day * DAY_SECONDS, container): Added(
            samples[0][0], samples[-1][0], _added(day * DAY, samples)
        )
        for (container, day), samples in together.items()
    }


def _samples(batch: Batch) -> Iterator[_Sample]:
    columns = batch.columns
    cpu = CPU.find_all(columns["cpu_usage"].to_numpy() / NANO)
    peaks = np.maximum(columns["memory_peak"].to_numpy(), columns["memory_usage"].to_numpy())
    memory = MEMORY.find_all(peaks)
    lasted = (
        columns["end_time"].cast("int64").to_numpy() - columns["event_time"].cast("int64").to_numpy()
    ) // SECOND
    seconds = np.maximum(lasted, 1)
    positions = [entry.position for entry in batch.entries]
    return zip(positions, batch.events, seconds.tolist(), cpu.tolist(), memory.tolist(), strict=True)


def _added(start: int, samples: list[_Sample]) -> ContainerDay:
    """Return the day of samples of one container."""
    cpu: dict[int, int] = {}
    memory: dict[int, int] = {}
    revisions: dict[str, int] = {}
    for _, event, seconds, cpu_bucket, memory_bucket in samples:
        cpu[cpu_bucket] = cpu.get(cpu_bucket, 0) + seconds
        memory[memory_bucket] = memory.get(memory_bucket, 0) + seconds
        if revision := event.revision:
            revisions[revision] = min(event.event_time, revisions.get(revision, event.event_time))
    events = [event for _, event, _, _, _ in samples]
    newest = max(event.event_time for event in events)
    return ContainerDay(
        start=start,
        first=min(event.event_time for event in events),
        last=max(event.end_time for event in events),
        seconds=sum(seconds for _, _, seconds, _, _ in samples),
        cpu=cpu,
        memory=memory,
        oom_kills=sum(event.oom_kills for event in events),
        restarts=sum(event.restarts for event in events),
        revisions=revisions,
        settings=max(settings_of(event) for event in events if event.event_time == newest),
    )
