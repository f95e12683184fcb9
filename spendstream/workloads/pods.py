"""A pod as it is paid for: what its containers request, and when each of them ran."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from spendstream.allocation.requests import InitContainer, Request, effective_request, resized
from spendstream.clock import to_micros
from spendstream.workloads.attribution import Attribution, Owned
from spendstream.workloads.devices import devices
from spendstream.workloads.manifests import ContainerManifest, ContainerStatus, PodManifest, Resources
from spendstream.workloads.owners import Owner
from spendstream.workloads.quantities import NANO, counted

__all__ = ["Amounts", "Container", "Pod", "Run"]

_REVISIONS = ("pod-template-hash", "controller-revision-hash")
_OF_ONE_POD = {
    *_REVISIONS,
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "controller-uid",
    "statefulset.kubernetes.io/pod-name",
}
"""Labels that tell one pod or revision from another; samples have fields for that."""
_OVER = ("Succeeded", "Failed")

Kind = Literal["app", "init", "sidecar"]


class Amounts(Struct, frozen=True, kw_only=True):
    """What a container may count on, and what it may not exceed (0: nothing said): nanocores and bytes.

    GPUs are in sevenths of one until the node tells how many share it (see `spendstream.workloads.devices`).
    """

    request: Request = Request()
    cpu_limit: int = 0
    memory_limit: int = 0

    @classmethod
    def of(cls, resources: Resources | None) -> Amounts:
        """Return the amounts in a manifest. Raises ValueError for a quantity that is none."""
        limits = (resources.limits if resources else None) or {}
        return cls(
            request=_request(resources.requests if resources else None),
            cpu_limit=counted(limits.get("cpu", 0), NANO),
            memory_limit=counted(limits.get("memory", 0)),
        )


def _request(requests: Mapping[str, str | int | float] | None) -> Request:
    given = requests or {}
    cpu, memory = counted(given.get("cpu", 0), NANO), counted(given.get("memory", 0))
    return Request(cpu=cpu, memory=memory, gpu=devices(given))


class Run(Struct, frozen=True, kw_only=True):
    """One life of a container, in microseconds since 1970 UTC; `ended` is None while it goes on."""

    started: int
    number: int = 0
    """How many runs of the container came before."""
    ended: int | None = None
    oom_killed: bool = False


class Container(Struct, frozen=True, kw_only=True):
    """A container: what it has, and its last runs, the earlier one first.

    While it is resized in place, it has the larger of what it asks for and what it was given.
    """

    name: str
    kind: Kind
    amounts: Amounts
    runs: tuple[Run, ...]


class Pod(Struct, frozen=True, kw_only=True):
    """A pod. `claims` are the names of its claims to volumes, `owned` what it itself says of its owner.

    `scheduled` is since when its node keeps room for it, None while it has no node; `ended` when the last of
    its containers ended for good; `deleting` by when it is to be gone, if someone deleted it.
    """

    uid: str
    namespace: str
    name: str
    node: str
    labels: Mapping[str, str]
    owned: Owned
    owner: Owner | None
    revision: str
    claims: tuple[str, ...]
    containers: tuple[Container, ...]
    overhead: Request
    whole: Request | None
    """What the pod as a whole requests, if it says so; it beats the sum of its containers."""
    scheduled: int | None
    ended: int | None
    deleting: int | None

    @property
    def reserved(self) -> Request:
        """What its node keeps free for the pod: its effective request."""
        return effective_request(
            [one.amounts.request for one in self.containers if one.kind == "app"],
            [
                InitContainer(request=one.amounts.request, is_sidecar=one.kind == "sidecar")
                for one in self.containers
                if one.kind != "app"
            ],
            overhead=self.overhead,
            of_pod=self.whole,
        )

    @classmethod
    def of(cls, manifest: PodManifest, attribution: Attribution) -> Pod:
        """Return the pod in a manifest. Raises ValueError for a quantity that is none."""
        metadata, spec, status = manifest.metadata, manifest.spec, manifest.status
        labels = metadata.labels or {}
        containers = tuple(_containers(manifest))
        return cls(
            uid=metadata.uid,
            namespace=metadata.namespace or "",
            name=metadata.name,
            node=spec.node_name or "",
            labels={name: text for name, text in labels.items() if name not in _OF_ONE_POD},
            owned=attribution.read(labels, metadata.annotations),
            owner=Owner.of(metadata),
            revision=next((labels[name] for name in _REVISIONS if name in labels), ""),
            claims=tuple(dict.fromkeys(_claims(manifest))),  # one that is mounted twice is one
            containers=containers,
            overhead=_request(spec.overhead),
            whole=_request(spec.resources.requests) if spec.resources and spec.resources.requests else None,
            scheduled=_scheduled(manifest, containers),
            ended=_ended(manifest, containers) if status.phase in _OVER else None,
            deleting=_micros(metadata.deletion_timestamp),
        )


def _claims(manifest: PodManifest) -> Iterator[str]:
    for volume in manifest.spec.volumes or ():
        if volume.persistent_volume_claim:
            yield volume.persistent_volume_claim.claim_name
        elif volume.ephemeral:
            yield f"{manifest.metadata.name}-{volume.name}"


def _containers(manifest: PodManifest) -> Iterator[Container]:
    status = manifest.status
    infeasible = any(
        condition.type == "PodResizePending" and condition.reason == "Infeasible"
        for condition in status.conditions or ()
    )
    statuses = {
        one.name: one for one in (*(status.init_container_statuses or ()), *(status.container_statuses or ()))
    }
    for specified in manifest.spec.init_containers or ():
        kind: Kind = "sidecar" if specified.restart_policy == "Always" else "init"
        yield _container(specified, kind, statuses.get(specified.name), infeasible=infeasible)
    for specified in manifest.spec.containers or ():
        yield _container(specified, "app", statuses.get(specified.name), infeasible=infeasible)


def _container(
    specified: ContainerManifest, kind: Kind, status: ContainerStatus | None, *, infeasible: bool
) -> Container:
    amounts = Amounts.of(specified.resources)
    if status and status.resources:
        given = Amounts.of(status.resources)
        allocated = _request(status.allocated_resources) if status.allocated_resources else None
        held = resized(amounts.request, allocated=allocated, actual=given.request, infeasible=infeasible)
        amounts = replace(given, request=held)
    return Container(
        name=specified.name,
        kind=kind,
        amounts=amounts,
        runs=tuple(_runs(status)) if status else (),
    )


def _runs(status: ContainerStatus) -> Iterator[Run]:
    newest = status.restart_count
    for number, state in ((newest - 1, status.last_state), (newest, status.state)):
        if state is None:
            continue
        if state.terminated:
            started, ended = _micros(state.terminated.started_at), _micros(state.terminated.finished_at)
            if started and ended:  # one that never started has the year 1 there, or nothing
                oom = state.terminated.reason == "OOMKilled"
                yield Run(started=started, number=number, ended=max(started, ended), oom_killed=oom)
        elif state.running and (started := _micros(state.running.started_at)):
            yield Run(started=started, number=number)


def _scheduled(manifest: PodManifest, containers: Iterable[Container]) -> int | None:
    if not manifest.spec.node_name:
        return None
    told = [
        condition.last_transition_time
        for condition in manifest.status.conditions or ()
        if condition.type == "PodScheduled" and condition.status == "True"
    ]
    moments = [_micros(told[0] if told else manifest.status.start_time)]
    moments += [run.started for one in containers for run in one.runs]
    return min((moment for moment in moments if moment), default=None)


def _ended(manifest: PodManifest, containers: Iterable[Container]) -> int:
    """Return when a pod that is over ended: with its last container, or if it was evicted, at that."""
    ends = [run.ended for one in containers for run in one.runs if run.ended]
    changes = [_micros(one.last_transition_time) for one in manifest.status.conditions or ()]
    return max(ends or [moment for moment in changes if moment], default=0)


def _micros(moment: datetime | None) -> int | None:
    """Return microseconds; None for no time, and for Go's zero time."""
    return to_micros(moment) if moment and moment.year >= 1970 else None  # noqa: PLR2004 - the epoch
