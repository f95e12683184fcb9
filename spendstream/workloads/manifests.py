"""What is read of Kubernetes' objects, as types: the rest of a manifest is never built, nor kept.

Decode the API's JSON straight to them (`msgspec.json.Decoder(PodManifest)`), or convert plain dicts with
`msgspec.convert(manifest, PodManifest)`. A field that an object lacks, or that is null, is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct, field

__all__ = [
    "AutoscalerManifest",
    "ContainerManifest",
    "ContainerStatus",
    "Metadata",
    "NodeManifest",
    "OwnedManifest",
    "OwnerReference",
    "PodManifest",
    "Resources",
    "ServiceManifest",
    "StorageClassManifest",
    "VolumeManifest",
]

_Texts = Mapping[str, str] | None
_Amounts = Mapping[str, str | int | float] | None


class _Part(Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of a manifest."""


class OwnerReference(_Part, frozen=True):
    """Who made an object: a ReplicaSet its pods, a Deployment its ReplicaSets."""

    kind: str
    name: str
    uid: str = ""
    controller: bool | None = None


class Metadata(_Part, frozen=True):
    """What all objects have."""

    name: str = ""
    namespace: str | None = None
    uid: str = ""
    resource_version: str = ""
    labels: _Texts = None
    annotations: _Texts = None
    owner_references: tuple[OwnerReference, ...] | None = None
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


class Resources(_Part, frozen=True):
    """Requests and limits, each by the name of the resource."""

    requests: _Amounts = None
    limits: _Amounts = None


class ContainerManifest(_Part, frozen=True):
    """A container as specified; an init container with restartPolicy Always is a native sidecar."""

    name: str
    resources: Resources | None = None
    restart_policy: str | None = None


class _Claim(_Part, frozen=True):
    claim_name: str


class _Ephemeral(_Part, frozen=True):
    """A volume whose claim is made for the pod, and is called after both."""


class _PodVolume(_Part, frozen=True):
    name: str
    persistent_volume_claim: _Claim | None = None
    ephemeral: _Ephemeral | None = None


class _PodSpec(_Part, frozen=True):
    node_name: str | None = None
    containers: tuple[ContainerManifest, ...] | None = None
    init_containers: tuple[ContainerManifest, ...] | None = None
    overhead: _Amounts = None
    resources: Resources | None = None
    volumes: tuple[_PodVolume, ...] | None = None


class _Running(_Part, frozen=True):
    started_at: datetime | None = None


class _Terminated(_Part, frozen=True):
    started_at: datetime | None = None
    finished_at: datetime | None = None
    reason: str | None = None


class _State(_Part, frozen=True):
    running: _Running | None = None
    terminated: _Terminated | None = None


class ContainerStatus(_Part, frozen=True):
    """How a container fares; `resources` are those that it has, while a resize is under way."""

    name: str
    state: _State | None = None
    last_state: _State | None = None
    restart_count: int = 0
    resources: Resources | None = None
    allocated_resources: _Amounts = None


class _Condition(_Part, frozen=True):
    type: str
    status: str
    reason: str | None = None
    last_transition_time: datetime | None = None


class _PodStatus(_Part, frozen=True):
    phase: str | None = None
    start_time: datetime | None = None
    conditions: tuple[_Condition, ...] | None = None
    container_statuses: tuple[ContainerStatus, ...] | None = None
    init_container_statuses: tuple[ContainerStatus, ...] | None = None


class PodManifest(_Part, frozen=True):
    """A pod."""

    metadata: Metadata
    spec: _PodSpec = _PodSpec()
    status: _PodStatus = _PodStatus()


class _NodeSpec(_Part, frozen=True):
    provider_id: str | None = field(default=None, name="providerID")


class _NodeStatus(_Part, frozen=True):
    capacity: _Amounts = None


class NodeManifest(_Part, frozen=True):
    """A node."""

    metadata: Metadata
    spec: _NodeSpec = _NodeSpec()
    status: _NodeStatus = _NodeStatus()


class _Reference(_Part, frozen=True):
    kind: str | None = None
    name: str | None = None
    namespace: str | None = None
    uid: str | None = None


class _VolumeSpec(_Part, frozen=True):
    capacity: _Amounts = None
    storage_class_name: str | None = None
    claim_ref: _Reference | None = None


class _VolumeStatus(_Part, frozen=True):
    phase: str | None = None


class VolumeManifest(_Part, frozen=True):
    """A persistent volume."""

    metadata: Metadata
    spec: _VolumeSpec = _VolumeSpec()
    status: _VolumeStatus = _VolumeStatus()


class StorageClassManifest(_Part, frozen=True):
    """A storage class: which kind of volume it makes."""

    metadata: Metadata
    parameters: _Texts = None


class _ServiceSpec(_Part, frozen=True):
    type: str | None = None
    load_balancer_class: str | None = None


class ServiceManifest(_Part, frozen=True):
    """A service, which may have a load balancer."""

    metadata: Metadata
    spec: _ServiceSpec = _ServiceSpec()


class OwnedManifest(_Part, frozen=True):
    """An object of which only the metadata matters: a ReplicaSet, a Job, a namespace."""

    metadata: Metadata


class _MetricSource(_Part, frozen=True):
    name: str


class _Metric(_Part, frozen=True):
    type: str
    resource: _MetricSource | None = None
    container_resource: _MetricSource | None = None


class _AutoscalerSpec(_Part, frozen=True):
    scale_target_ref: _Reference
    metrics: tuple[_Metric, ...] | None = None


class AutoscalerManifest(_Part, frozen=True):
    """A horizontal pod autoscaler (autoscaling/v2)."""

    metadata: Metadata
    spec: _AutoscalerSpec
