"""The change to apply: a strategic merge patch for the workload's kind, and what to know before.

Requests change; limits stay, except where one would be below its request, which Kubernetes refuses, or where
memory ran out at it. A patch of a pod's template starts a rollout, so the workload's own strategy decides how
many replicas are away at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spendstream.rightsizing.amounts import cpu_quantity, memory_quantity
from spendstream.rightsizing.days import Container, ContainerDay, Settings
from spendstream.rightsizing.histogram import MEMORY, Histogram
from spendstream.rightsizing.sizing import Decision, Sizing

__all__ = ["API_VERSIONS", "caveats", "patch", "targeted"]

API_VERSIONS: Mapping[str, str] = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "CronJob": "batch/v1",
}
"""The kinds that can be patched: a Pod's or Job's template cannot be changed once it is there."""

_TIGHT = 1.2  # a limit so little above the request leaves no room above it
_FLAT = 0.9  # memory that stays so near its peak is held on purpose, as a JVM holds its heap


def patch(container: Container, sizing: Sizing) -> dict[str, Any] | None:
    """Return the patch as a document; None if nothing changes, or the kind cannot be patched."""
    version = API_VERSIONS.get(container.workload_kind)
    resources = _resources(sizing)
    if version is None or not resources:
        return None
    pod = {"spec": {"containers": [{"name": container.container, "resources": resources}]}}
    spec: dict[str, Any] = {"template": pod}
    if container.workload_kind == "CronJob":
        spec = {"jobTemplate": {"spec": spec}}
    return {
        "apiVersion": version,
        "kind": container.workload_kind,
        "metadata": {"name": container.workload, "namespace": container.namespace},
        "spec": spec,
    }


def targeted(sizing: Sizing) -> Settings:
    """Return the settings that hold once the patch is applied."""
    now = sizing.settings
    return now._replace(
        cpu_request=sizing.cpu.target,
        memory_request=sizing.memory.target,
        cpu_limit=_limit(sizing.cpu, now.cpu_limit),
        memory_limit=_limit(sizing.memory, now.memory_limit),
    )


def caveats(days: Sequence[ContainerDay], sizing: Sizing) -> list[str]:
    """Return what people should know before they apply a sizing, as sentences."""
    then, memory = targeted(sizing), sizing.memory
    found = []
    if then.memory_limit and memory.target > 0 and then.memory_limit < memory.target * _TIGHT:
        found.append(
            f"the memory limit of {memory_quantity(then.memory_limit)} is close to the request of "
            f"{memory_quantity(memory.target)}: what is used above it is killed, and not just evicted"
        )
    for name, decision, limit, write in (
        ("CPU", sizing.cpu, sizing.settings.cpu_limit, cpu_quantity),
        ("memory", memory, sizing.settings.memory_limit, memory_quantity),
    ):
        if 0 < limit < _limit(decision, limit):
            found.append(
                f"the {name} limit of {write(limit)} is raised as well, to {write(_limit(decision, limit))}"
            )
    if memory.verdict == "lower" and _is_flat(days):
        found.append(
            "memory hardly ever falls below its peak, as where a JVM holds its heap: if the heap's size "
            "follows from the container's (MaxRAMPercentage), it follows the limit, which stays"
        )
    return found


def _resources(sizing: Sizing) -> dict[str, Any]:
    """Return the part of a container's `resources` that changes."""
    now, then = sizing.settings, targeted(sizing)
    requests, limits = {}, {}
    if then.cpu_request != now.cpu_request:
        requests["cpu"] = cpu_quantity(then.cpu_request)
    if then.memory_request != now.memory_request:
        requests["memory"] = memory_quantity(then.memory_request)
    if then.cpu_limit != now.cpu_limit:
        limits["cpu"] = cpu_quantity(then.cpu_limit)
    if then.memory_limit != now.memory_limit:
        limits["memory"] = memory_quantity(then.memory_limit)
    return {name: amounts for name, amounts in (("requests", requests), ("limits", limits)) if amounts}


def _limit(decision: Decision, limit: int) -> int:
    """Return the limit that goes with a decision; one of 0 is none, and stays so."""
    return max(limit, decision.target) if limit else 0


def _is_flat(days: Sequence[ContainerDay]) -> bool:
    """Tell whether memory was near its peak nearly all the time."""
    memory = Histogram(MEMORY)
    for day in days:
        memory.merge(day.memory)
    return memory.percentile(1 - _FLAT) >= _FLAT * memory.percentile(1.0)
