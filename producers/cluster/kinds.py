"""The kinds of objects that are followed, and how the account is told of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from producers.cluster.watching import Kind, Listener
from spendstream.workloads.account import Account
from spendstream.workloads.attribution import Attribution
from spendstream.workloads.autoscalers import Autoscaler
from spendstream.workloads.manifests import (
    AutoscalerManifest,
    NodeManifest,
    OwnedManifest,
    PodManifest,
    ServiceManifest,
    StorageClassManifest,
    VolumeManifest,
)
from spendstream.workloads.nodes import LoadBalancer, Node, Volume
from spendstream.workloads.pods import Pod

__all__ = ["followed"]

_NODES = Kind(name="nodes", path="/api/v1/nodes", manifest=NodeManifest, needed=True)
_PODS = Kind(name="pods", path="/api/v1/pods", manifest=PodManifest, needed=True)
_VOLUMES = Kind(name="persistentvolumes", path="/api/v1/persistentvolumes", manifest=VolumeManifest)
_SERVICES = Kind(name="services", path="/api/v1/services", manifest=ServiceManifest)
_STORAGE_CLASSES = Kind(
    name="storageclasses", path="/apis/storage.k8s.io/v1/storageclasses", manifest=StorageClassManifest
)
_AUTOSCALERS = Kind(
    name="horizontalpodautoscalers",
    path="/apis/autoscaling/v2/horizontalpodautoscalers",
    manifest=AutoscalerManifest,
)


def _owned(name: str, path: str) -> Kind:
    return Kind(name=name, path=path, manifest=OwnedManifest, metadata_only=True)


_NAMESPACES = _owned("namespaces", "/api/v1/namespaces")
_REPLICA_SETS = _owned("replicasets", "/apis/apps/v1/replicasets")
_JOBS = _owned("jobs", "/apis/batch/v1/jobs")

_VOLUME_TYPES = ("type", "skuName", "skuname")
"""Where storage classes of AWS and Google, and of Azure, say which kind of volume they make."""

Clock = Callable[[], int]


def followed(account: Account, attribution: Attribution, clock: Clock) -> Sequence[tuple[Kind, Listener]]:
    """Return all kinds, each with who is told of it. `clock` gives microseconds since 1970 UTC."""
    owners = _Owners(account)
    return [
        (_NODES, _Nodes(account, clock)),
        (_NAMESPACES, _Namespaces(account, attribution)),
        (_REPLICA_SETS, owners),
        (_JOBS, owners),
        (_STORAGE_CLASSES, _StorageClasses(account)),
        (_VOLUMES, _Volumes(account, clock)),
        (_SERVICES, _Services(account, clock)),
        (_AUTOSCALERS, _Autoscalers(account)),
        (_PODS, _Pods(account, attribution, clock)),
    ]


class _Pods:
    def __init__(self, account: Account, attribution: Attribution, clock: Clock) -> None:
        self._account, self._attribution, self._clock = account, attribution, clock

    def seen(self, manifest: PodManifest) -> None:
        self._account.tell_pod(Pod.of(manifest, self._attribution), self._clock())

    def lost(self, manifest: PodManifest) -> None:
        self.seen(manifest)
        self._account.lose_pod(manifest.metadata.uid, self._clock())

    def only(self, uids: Collection[str]) -> None:
        self._account.only_pods(uids, self._clock())


class _Nodes:
    def __init__(self, account: Account, clock: Clock) -> None:
        self._account, self._clock = account, clock

    def seen(self, manifest: NodeManifest) -> None:
        self._account.tell_node(Node.of(manifest), self._clock())

    def lost(self, manifest: NodeManifest) -> None:
        self._account.nodes.gone(manifest.metadata.uid, self._clock())

    def only(self, uids: Collection[str]) -> None:
        self._account.nodes.only(uids, self._clock())


class _Volumes:
    def __init__(self, account: Account, clock: Clock) -> None:
        self._account, self._clock = account, clock

    def seen(self, manifest: VolumeManifest) -> None:
        self._account.tell_volume(Volume.of(manifest), self._clock())

    def lost(self, manifest: VolumeManifest) -> None:
        self._account.volumes.gone(manifest.metadata.uid, self._clock())

    def only(self, uids: Collection[str]) -> None:
        self._account.volumes.only(uids, self._clock())


class _StorageClasses:
    def __init__(self, account: Account) -> None:
        self._account = account

    def seen(self, manifest: StorageClassManifest) -> None:
        told = manifest.parameters or {}
        kind = next((told[name] for name in _VOLUME_TYPES if name in told), "")
        self._account.tell_storage_class(manifest.metadata.name, kind)

    def lost(self, manifest: StorageClassManifest) -> None:
        """Its volumes stay what they are."""

    def only(self, uids: Collection[str]) -> None:
        """Its volumes stay what they are."""


class _Services:
    """A service can get a load balancer, and lose it again."""

    def __init__(self, account: Account, clock: Clock) -> None:
        self._balancers, self._clock = account.balancers, clock

    def seen(self, manifest: ServiceManifest) -> None:
        balancer = LoadBalancer.of(manifest)
        if balancer is None:
            self.lost(manifest)
        else:
            self._balancers.tell(balancer.uid, balancer.created, balancer, self._clock())

    def lost(self, manifest: ServiceManifest) -> None:
        self._balancers.gone(manifest.metadata.uid, self._clock())

    def only(self, uids: Collection[str]) -> None:
        self._balancers.only(uids, self._clock())


class _Namespaces:
    def __init__(self, account: Account, attribution: Attribution) -> None:
        self._account, self._attribution = account, attribution

    def seen(self, manifest: OwnedManifest) -> None:
        metadata = manifest.metadata
        owned = self._attribution.read(metadata.labels, metadata.annotations)
        self._account.tell_namespace(metadata.name, owned)

    def lost(self, manifest: OwnedManifest) -> None:
        self._account.forget_namespace(manifest.metadata.name)

    def only(self, uids: Collection[str]) -> None:
        """Pods of a namespace that is gone are gone, too."""


class _Owners:
    def __init__(self, account: Account) -> None:
        self._owners = account.owners

    def seen(self, manifest: OwnedManifest) -> None:
        self._owners.learn(manifest.metadata)

    def lost(self, manifest: OwnedManifest) -> None:
        self._owners.forget(manifest.metadata.uid)

    def only(self, uids: Collection[str]) -> None:
        """Those that are gone are forgotten when there is no room for them."""


class _Autoscalers:
    def __init__(self, account: Account) -> None:
        self._account = account

    def seen(self, manifest: AutoscalerManifest) -> None:
        self._account.tell_autoscaler(manifest.metadata.uid, Autoscaler.of(manifest))

    def lost(self, manifest: AutoscalerManifest) -> None:
        self._account.tell_autoscaler(manifest.metadata.uid, None)

    def only(self, uids: Collection[str]) -> None:
        self._account.only_autoscalers(uids)
