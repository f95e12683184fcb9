"""The workloads of the simulated cluster: what they request, what they use over a day, and what they bear.

`legacy-app` is the well-known case of a service whose requests nobody has looked at since it was moved to
Kubernetes. The others are there because a real bill has them: a database that must not be interrupted, GPUs,
workers that are provisioned well, a staging copy that nobody uses at night, a job at night, and DaemonSets.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from spendstream.money import parse_usd
from spendstream.scheduling import Resources

__all__ = ["DAEMONS", "GIB", "MIB", "MILLI", "WORKLOADS", "Habits", "Workload"]

MILLI = 10**6
"""Nanocores in a millicore."""
MIB = 1 << 20
GIB = 1 << 30


class Habits(Struct, frozen=True, kw_only=True):
    """How the usage of one container moves.

    `cpu` (nanocores) is its mean. It swings by the share `daily` between the quietest and the busiest hour,
    falls to the share `weekend` on Saturdays and Sundays, has noise, and in the share `spikes` of all samples
    it is `spike` times as high. Memory (bytes) begins at `memory`, grows by `growth` a day, and on top of it
    rises by `saw` until a garbage collection, every `saw_minutes`. `gpu` (thousandths) moves as the CPU does.
    """

    cpu: int
    memory: int
    daily: float = 0.0
    weekend: float = 1.0
    noise: float = 0.1
    spikes: float = 0.0
    spike: float = 1.0
    growth: int = 0
    saw: int = 0
    saw_minutes: int = 60
    gpu: int = 0


class Workload(Struct, frozen=True, kw_only=True):
    """A workload of equal pods with one container each.

    `runs` says when it does: `always`; `awake`, which may be scaled to none outside working hours; `nightly`,
    as a job from 01:00 until 03:00. `evictable` is how many pods its disruption budget lets go at a time.
    `restart_cost` (picodollars) is what an interruption undoes of the work of one pod.
    """

    name: str
    namespace: str
    kind: Literal["Deployment", "StatefulSet", "Job", "DaemonSet"]
    team: str
    replicas: int
    requests: Resources
    limits: Resources
    habits: Habits
    runs: Literal["always", "awake", "nightly"] = "always"
    tolerates_spot: bool = False
    evictable: int = 1
    restart_cost: int = 0
    scaled_on: str = ""


def _amounts(millicores: int, mebibytes: int, gpu: int = 0) -> Resources:
    return Resources(cpu=millicores * MILLI, memory=mebibytes * MIB, gpu=gpu)


WORKLOADS = (
    Workload(
        name="legacy-app",
        namespace="shop",
        kind="Deployment",
        team="commerce",
        replicas=24,
        requests=_amounts(1000, 1024),
        limits=_amounts(2000, 1024),
        habits=Habits(
            cpu=180 * MILLI,
            memory=230 * MIB,
            daily=0.5,
            weekend=0.8,
            noise=0.15,
            spikes=0.01,
            spike=2.0,
            growth=2 * MIB,
            saw=60 * MIB,
            saw_minutes=90,
        ),
        tolerates_spot=True,
        evictable=6,
    ),
    Workload(
        name="catalog-db",
        namespace="shop",
        kind="StatefulSet",
        team="commerce",
        replicas=3,
        requests=_amounts(2000, 8192),
        limits=_amounts(4000, 8192),
        habits=Habits(cpu=1100 * MILLI, memory=6 * GIB, daily=0.3, noise=0.1, growth=8 * MIB),
    ),
    Workload(
        name="order-worker",
        namespace="shop",
        kind="Deployment",
        team="commerce",
        replicas=8,
        requests=_amounts(500, 512),
        limits=_amounts(1000, 1024),
        habits=Habits(cpu=320 * MILLI, memory=330 * MIB, daily=0.3, noise=0.1, saw=30 * MIB),
        tolerates_spot=True,
        evictable=2,
        scaled_on="cpu",
    ),
    Workload(
        name="ai-service",
        namespace="ai",
        kind="Deployment",
        team="machine-learning",
        replicas=2,
        requests=_amounts(2000, 8192, 1000),
        limits=_amounts(3500, 12_288, 1000),
        habits=Habits(cpu=900 * MILLI, memory=5 * GIB, daily=0.4, noise=0.1, saw=200 * MIB, gpu=450),
    ),
    Workload(
        name="staging-app",
        namespace="staging",
        kind="Deployment",
        team="commerce",
        replicas=8,
        requests=_amounts(1000, 1024),
        limits=_amounts(2000, 1024),
        habits=Habits(cpu=60 * MILLI, memory=210 * MIB, daily=0.8, weekend=0.3, noise=0.2, saw=30 * MIB),
        runs="awake",
        tolerates_spot=True,
        evictable=8,
    ),
    Workload(
        name="nightly-report",
        namespace="analytics",
        kind="Job",
        team="analytics",
        replicas=6,
        requests=_amounts(2000, 4096),
        limits=_amounts(2500, 6144),
        habits=Habits(cpu=1700 * MILLI, memory=3 * GIB, noise=0.05, saw=256 * MIB, saw_minutes=30),
        runs="nightly",
        tolerates_spot=True,
        evictable=6,
        restart_cost=parse_usd("0.05"),
    ),
    Workload(
        name="coredns",
        namespace="kube-system",
        kind="Deployment",
        team="platform",
        replicas=2,
        requests=_amounts(100, 128),
        limits=_amounts(0, 170),
        habits=Habits(cpu=30 * MILLI, memory=60 * MIB, daily=0.3),
    ),
)

DAEMONS = (
    Workload(
        name="log-shipper",
        namespace="kube-system",
        kind="DaemonSet",
        team="platform",
        replicas=1,
        requests=_amounts(100, 200),
        limits=_amounts(200, 256),
        habits=Habits(cpu=45 * MILLI, memory=110 * MIB, daily=0.4, saw=20 * MIB),
        tolerates_spot=True,
    ),
    Workload(
        name="node-agent",
        namespace="kube-system",
        kind="DaemonSet",
        team="platform",
        replicas=1,
        requests=_amounts(50, 100),
        limits=_amounts(100, 128),
        habits=Habits(cpu=20 * MILLI, memory=55 * MIB),
        tolerates_spot=True,
    ),
)
"""One pod of each runs on every node."""
