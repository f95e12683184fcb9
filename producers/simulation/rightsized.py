"""What the recommender makes of a phase's usage: the requests of the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from producers.simulation.fleet import Requests
from producers.simulation.workloads import DAEMONS, WORKLOADS
from spendstream.rightsizing.days import Container, ContainerDay
from spendstream.rightsizing.sizing import Sizing, size
from spendstream.scheduling import Resources

__all__ = ["requests_from", "sizings"]


def sizings(days: Mapping[Container, Sequence[ContainerDay]], now: int) -> Mapping[str, Sizing]:
    """Return what becomes of each workload at `now` (microseconds), by its name, from one cluster's days."""
    return {container.workload: size(each, now) for container, each in days.items()}


def requests_from(found: Mapping[str, Sizing]) -> Requests:
    """Return the requests that were recommended; what was refused stays as it is."""
    return {
        workload.name: Resources(
            cpu=found[workload.name].cpu.target,
            memory=found[workload.name].memory.target,
            gpu=workload.requests.gpu,
        )
        for workload in (*WORKLOADS, *DAEMONS)
        if workload.name in found
    }
