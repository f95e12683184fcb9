"""Which nodes the simulated cluster has at what time, and which pods run on them.

Unoptimised, it has what the busiest hour needs, on demand, day and night. Optimised, pods come back with new
requests on the cheapest nodes that bear them; what is over at night or in an hour without jobs, goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from producers.simulation.workloads import DAEMONS, WORKLOADS, Workload
from spendstream.scheduling import (
    DisruptionBudget,
    Node,
    Offer,
    Pod,
    Resources,
    WorkingHours,
    consolidate,
    off_hours,
    pack,
)

__all__ = ["BUDGETS", "Fleet", "Phase", "Requests", "fixed", "flexible", "job_runs", "pod_name", "pods_of"]

Phase: TypeAlias = Literal["unoptimized", "optimized"]
Requests: TypeAlias = Mapping[str, Resources]
"""Requests by the name of the workload; those that it does not name keep what they have."""

BUDGETS = tuple(
    DisruptionBudget(workload=workload.name, evictable=workload.evictable) for workload in WORKLOADS
)
_HOURS = WorkingHours()
_HOUR = 3600 * 10**6
_DAY = 24 * _HOUR
_JOB_HOURS = range(1, 3)


class Fleet(Struct, frozen=True, kw_only=True):
    """Nodes by whether people work and whether the nightly job runs."""

    awake: tuple[Node, ...]
    awake_with_job: tuple[Node, ...]
    asleep: tuple[Node, ...]
    asleep_with_job: tuple[Node, ...]

    def at(self, moment: int) -> tuple[Node, ...]:
        """Return the nodes at a time (microseconds since 1970 UTC)."""
        if _HOURS.cover(moment):
            return self.awake_with_job if job_runs(moment) else self.awake
        return self.asleep_with_job if job_runs(moment) else self.asleep


def fixed(offers: Sequence[Offer]) -> Fleet:
    """Return a fleet that never changes: all workloads fit on its nodes at once, as they are provisioned."""
    everything = pack(pods_of(WORKLOADS, {}), offers, daemons=_daemons({})).nodes
    jobs = {workload.name for workload in WORKLOADS if workload.runs == "nightly"}
    idle = tuple(
        Node(
            name=node.name, offer=node.offer, pods=tuple(pod for pod in node.pods if pod.workload not in jobs)
        )
        for node in everything
    )
    return Fleet(awake=idle, awake_with_job=everything, asleep=idle, asleep_with_job=everything)


def flexible(offers: Sequence[Offer], requests: Requests) -> Fleet:
    """Return a fleet that follows what runs, with these requests, on the cheapest nodes among `offers`."""
    daemons = _daemons(requests)
    steady = [workload for workload in WORKLOADS if workload.runs != "nightly"]
    jobs = pods_of([workload for workload in WORKLOADS if workload.runs == "nightly"], requests)
    packed = pack(pods_of(steady, requests), offers, daemons=daemons).nodes
    awake = consolidate(packed, offers, daemons=daemons, budgets=BUDGETS).nodes
    sleepers = {workload.name for workload in WORKLOADS if workload.runs == "awake"}
    asleep = off_hours(awake, sleepers, _HOURS, daemons=daemons, budgets=BUDGETS).plan.nodes
    return Fleet(
        awake=awake,
        awake_with_job=pack(jobs, offers, daemons=daemons, nodes=awake).nodes,
        asleep=asleep,
        asleep_with_job=pack(jobs, offers, daemons=daemons, nodes=asleep).nodes,
    )


def job_runs(moment: int) -> bool:
    """Tell whether the nightly job runs at a time (microseconds since 1970 UTC)."""
    return moment % _DAY // _HOUR in _JOB_HOURS


def pods_of(workloads: Sequence[Workload], requests: Requests) -> list[Pod]:
    """Return the pods of workloads."""
    return [
        Pod(
            name=pod_name(workload, number),
            workload=workload.name,
            requests=requests.get(workload.name, workload.requests),
            tolerates_spot=workload.tolerates_spot,
            restart_cost=workload.restart_cost,
        )
        for workload in workloads
        for number in range(workload.replicas)
    ]


def pod_name(workload: Workload, number: int) -> str:
    """Return the name of a workload's pod."""
    return f"{workload.name}-{number}"


def _daemons(requests: Requests) -> list[Pod]:
    return pods_of(DAEMONS, requests)
