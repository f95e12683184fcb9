"""Machines of a trace in the form of GWA-T-12 (Bitbrains): what was provisioned, and what was used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.csv
from msgspec import Struct
from numpy.typing import NDArray

from spendstream.rightsizing.days import DAY, NANO, ContainerDay, Settings
from spendstream.rightsizing.histogram import CPU, MEMORY, Buckets

__all__ = ["Machine", "load"]

_PERIOD = 300  # seconds between two samples
_SECOND = 10**6
_KIB = 1024

Numbers = NDArray[np.float64]


class Machine(Struct, frozen=True, kw_only=True):
    """Samples in order of time: times in seconds, CPU in nanocores, memory in bytes."""

    name: str
    times: NDArray[np.int64]
    cores: Numbers
    cpu: Numbers
    provisioned: Numbers
    memory: Numbers

    def between(self, start: float, end: float) -> Machine:
        """Return the samples from `start` until before `end`."""
        here = (self.times >= start) & (self.times < end)
        return Machine(
            name=self.name,
            times=self.times[here],
            cores=self.cores[here],
            cpu=self.cpu[here],
            provisioned=self.provisioned[here],
            memory=self.memory[here],
        )

    @property
    def settings(self) -> Settings:
        """What was provisioned last; samples of a machine that is taken away say 0."""
        there = (self.cores > 0) & (self.provisioned > 0)
        if not there.any():
            return Settings()
        last = np.flatnonzero(there)[-1]
        return Settings(
            at=int(self.times[last]) * _SECOND,
            cpu_request=round(self.cores[last] * NANO),
            memory_request=round(self.provisioned[last]),
        )

    def days(self) -> list[ContainerDay]:
        """Return the usage by day, each sample as 300 seconds; all with the newest settings."""
        starts = self.times * _SECOND // DAY
        return [self._day(starts == start, int(start) * DAY) for start in np.unique(starts)]

    def _day(self, here: NDArray[np.bool_], start: int) -> ContainerDay:
        times = self.times[here]
        return ContainerDay(
            start=start,
            first=int(times[0]) * _SECOND,
            last=(int(times[-1]) + _PERIOD) * _SECOND,
            seconds=len(times) * _PERIOD,
            cpu=_counted(CPU, self.cpu[here] / NANO),
            memory=_counted(MEMORY, self.memory[here]),
            settings=self.settings,
        )


def _counted(buckets: Buckets, values: Numbers) -> dict[int, int]:
    found: dict[int, int] = {}
    for value in values.tolist():
        bucket = buckets.find(value)
        found[bucket] = found.get(bucket, 0) + _PERIOD
    return found


def load(path: Path) -> Sequence[Machine]:
    """Return the machines of a CSV file (which may be compressed), in the order of their names."""
    table = pyarrow.csv.read_csv(path)
    column = {name: table[name].to_numpy() for name in table.column_names}
    order = np.lexsort((column["timestamp_s"], column["vm"]))
    column = {name: values[order] for name, values in column.items()}
    bounds = np.flatnonzero(np.diff(column["vm"])) + 1
    parts = np.split(np.arange(len(order)), bounds)
    return [_machine({name: values[part] for name, values in column.items()}) for part in parts]


def _machine(column: dict[str, NDArray[np.float64]]) -> Machine:
    cores, capacity = column["cpu_cores"].astype(float), column["cpu_capacity_mhz"]
    share = np.divide(column["cpu_usage_mhz"], capacity, out=np.zeros(len(cores)), where=capacity > 0)
    return Machine(
        name=str(column["vm"][0]),
        times=column["timestamp_s"].astype(np.int64),
        cores=cores,
        cpu=share * cores * NANO,
        provisioned=column["memory_capacity_kb"] * float(_KIB),
        memory=column["memory_usage_kb"] * float(_KIB),
    )
