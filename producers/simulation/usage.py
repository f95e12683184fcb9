"""What simulated containers use: series of CPU, memory and GPU, the same for the same seed.

A pod's series depends on its workload and its number, and on nothing that an optimisation changes. So the
demand is the same before and after.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np
from msgspec import Struct

from producers.simulation.workloads import Workload

__all__ = ["DAY_SECONDS", "Series", "series"]

DAY_SECONDS = 86_400
_BUSIEST_S = 14 * 3600
_SATURDAY = 5
_MEMORY_NOISE = 0.01


class Series(Struct, frozen=True):
    """Averages by sample: nanocores, bytes and thousandths of a GPU; `peak` is the highest memory in it."""

    cpu: tuple[int, ...]
    memory: tuple[int, ...]
    peak: tuple[int, ...]
    gpu: tuple[int, ...]


def series(seed: int, workload: Workload, number: int, samples: int, seconds: int) -> Series:
    """Return what pod `number` of a workload uses in so many samples of `seconds`, from a Monday 00:00 on.

    No container uses more than its limit: CPU is throttled there, and the simulation kills nobody for memory.
    """
    random = np.random.default_rng([seed, crc32(workload.name.encode()), number])
    habits, limits = workload.habits, workload.limits
    at = np.arange(samples) * seconds
    busy = 1 + habits.daily * np.cos(2 * np.pi * (at - _BUSIEST_S) / DAY_SECONDS)
    busy *= np.where(at // DAY_SECONDS % 7 >= _SATURDAY, habits.weekend, 1.0)
    busy *= random.lognormal(-(habits.noise**2) / 2, habits.noise, samples)
    spiking = random.random(samples) < habits.spikes
    cpu = habits.cpu * busy * np.where(spiking, habits.spike, 1.0)
    phase = random.random()
    saw = habits.saw * ((at / (60 * habits.saw_minutes) + phase) % 1)
    memory = habits.memory + habits.growth * at / DAY_SECONDS + saw
    memory *= random.lognormal(0, _MEMORY_NOISE, samples)
    rise = np.minimum(habits.saw * seconds / (60 * habits.saw_minutes), habits.saw)
    return Series(
        cpu=_whole(cpu, limits.cpu),
        memory=_whole(memory, limits.memory),
        peak=_whole(memory + rise, limits.memory),
        gpu=_whole(habits.gpu * busy, limits.gpu),
    )


def _whole(values: np.ndarray[tuple[int], np.dtype[np.float64]], most: int) -> tuple[int, ...]:
    """Return whole amounts, `most` at most; a limit of 0 is none."""
    limited = np.minimum(values, most) if most else values
    return tuple(np.rint(limited).astype(np.int64).tolist())
