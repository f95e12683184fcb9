"""What a cluster pays for: nodes, by their type and how they were bought, volumes and load balancers."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from spendstream.clock import to_micros
from spendstream.events import PurchaseOption
from spendstream.workloads.devices import devices, share
from spendstream.workloads.manifests import Metadata, NodeManifest, ServiceManifest, VolumeManifest
from spendstream.workloads.quantities import NANO, counted

__all__ = ["LoadBalancer", "Node", "Volume", "created"]

_TYPE = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
_REGION = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")
_ACCELERATOR = "cloud.google.com/gke-accelerator"
_GPU_REPLICAS = "nvidia.com/gpu.replicas"
_BOUGHT: Mapping[str, Mapping[str, PurchaseOption]] = {
    "karpenter.sh/capacity-type": {"spot": "spot", "on-demand": "on-demand", "reserved": "reserved"},
    "eks.amazonaws.com/capacityType": {"SPOT": "spot", "ON_DEMAND": "on-demand"},
    "cloud.google.com/gke-spot": {"true": "spot"},
    "cloud.google.com/gke-preemptible": {"true": "spot"},
    "kubernetes.azure.com/scalesetpriority": {"spot": "spot", "regular": "on-demand"},
    "node.kubernetes.io/lifecycle": {"spot": "spot", "on-demand": "on-demand", "normal": "on-demand"},
}
_BALANCER = "service.beta.kubernetes.io/aws-load-balancer-type"
_RELEASED = ("Released", "Failed")
_LABEL_SPOT_ONLY = ("gce://", "azure://")  # these providers label what is spot, and nothing else


class Node(Struct, frozen=True, kw_only=True):
    """A node: nanocores, bytes, thousandths of a GPU. `gpu_replicas` is how often each GPU is handed out."""

    name: str
    uid: str
    created: int
    region: str
    instance_type: str
    purchase_option: PurchaseOption
    cpu: int
    memory: int
    gpu: int
    gpu_replicas: int
    accelerator: str
    """The type of its GPUs, where those are sold apart from the node."""
    labels: Mapping[str, str]

    @classmethod
    def of(cls, manifest: NodeManifest) -> Node:
        """Return the node in a manifest. Raises ValueError for a quantity that is none."""
        labels = manifest.metadata.labels or {}
        capacity = manifest.status.capacity or {}
        replicas = _replicas(labels)
        return cls(
            name=manifest.metadata.name,
            uid=manifest.metadata.uid,
            created=created(manifest.metadata),
            region=_first(labels, _REGION),
            instance_type=_first(labels, _TYPE),
            purchase_option=_bought(labels, manifest.spec.provider_id or ""),
            cpu=counted(capacity.get("cpu", 0), NANO),
            memory=counted(capacity.get("memory", 0)),
            gpu=share(devices(capacity), replicas),
            gpu_replicas=replicas,
            accelerator=labels.get(_ACCELERATOR, ""),
            labels=labels,
        )


class Volume(Struct, frozen=True, kw_only=True):
    """A persistent volume, in bytes, and the claim that it is or was bound to: namespace and name, or empty.

    When its claim was deleted it is `released`, and another claim of that name has another volume.
    """

    name: str
    uid: str
    created: int
    region: str
    storage_class: str
    capacity: int
    claim: tuple[str, str]
    released: bool

    @classmethod
    def of(cls, manifest: VolumeManifest) -> Volume:
        """Return the volume in a manifest. Raises ValueError for a quantity that is none."""
        claim = manifest.spec.claim_ref
        return cls(
            name=manifest.metadata.name,
            uid=manifest.metadata.uid,
            created=created(manifest.metadata),
            region=_first(manifest.metadata.labels or {}, _REGION),
            storage_class=manifest.spec.storage_class_name or "",
            capacity=counted((manifest.spec.capacity or {}).get("storage", 0)),
            claim=(claim.namespace or "", claim.name or "") if claim else ("", ""),
            released=manifest.status.phase in _RELEASED,
        )


class LoadBalancer(Struct, frozen=True, kw_only=True):
    """A service's load balancer; its kind is empty where the service does not say."""

    name: str
    kind: str
    uid: str
    created: int

    @classmethod
    def of(cls, manifest: ServiceManifest) -> LoadBalancer | None:
        """Return the load balancer of the service in a manifest, None if it has none."""
        if manifest.spec.type != "LoadBalancer":
            return None
        metadata = manifest.metadata
        name = f"{metadata.namespace}/{metadata.name}"
        said = (metadata.annotations or {}).get(_BALANCER, "") or manifest.spec.load_balancer_class or ""
        kind = "network" if said == "external" or "nlb" in said else ""
        return cls(name=name, kind=kind, uid=metadata.uid, created=created(metadata))


def created(metadata: Metadata) -> int:
    """Return when an object was created, in microseconds since 1970 UTC; 0 if it does not say."""
    return to_micros(metadata.creation_timestamp) if metadata.creation_timestamp else 0


def _first(labels: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((labels[name] for name in names if name in labels), "")


def _bought(labels: Mapping[str, str], provider: str) -> PurchaseOption:
    for label, meanings in _BOUGHT.items():
        if found := meanings.get(labels.get(label, "")):
            return found
    return "on-demand" if provider.startswith(_LABEL_SPOT_ONLY) else "unknown"


def _replicas(labels: Mapping[str, str]) -> int:
    said = labels.get(_GPU_REPLICAS, "")
    return max(int(said), 1) if said.isdecimal() else 1
