"""Usage from metrics.k8s.io, which metrics-server serves: CPU and memory of containers and nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec
from msgspec import Struct

from producers.cluster.api import KubernetesApi
from producers.cluster.usage import Usage
from spendstream.clock import to_micros
from spendstream.errors import ClusterUnavailable
from spendstream.workloads.manifests import Metadata
from spendstream.workloads.quantities import NANO, amount
from spendstream.workloads.readings import Reading

__all__ = ["MetricsApi"]

_PODS = "/apis/metrics.k8s.io/v1beta1/pods"
_NODES = "/apis/metrics.k8s.io/v1beta1/nodes"


class _Used(Struct, frozen=True):
    name: str = ""
    usage: Mapping[str, str] = {}


class _PodMetrics(Struct, frozen=True):
    metadata: Metadata
    timestamp: datetime
    containers: list[_Used] | None = None


class _NodeMetrics(Struct, frozen=True):
    metadata: Metadata
    timestamp: datetime
    usage: Mapping[str, str] = {}


class _PodList(Struct, frozen=True):
    items: list[_PodMetrics] | None = None


class _NodeList(Struct, frozen=True):
    items: list[_NodeMetrics] | None = None


_pods = msgspec.json.Decoder(_PodList)
_nodes = msgspec.json.Decoder(_NodeList)


class MetricsApi:
    """Reads usage through the Kubernetes API."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def read(self) -> Usage:
        """Return what is used now. Raises ClusterUnavailable."""
        pods, nodes = await self._api.document(_PODS), await self._api.document(_NODES)
        try:
            return Usage(
                containers=[one for pod in _pods.decode(pods).items or () for one in _containers(pod)],
                nodes=[
                    (node.metadata.name, _reading(node.timestamp, node.usage))
                    for node in _nodes.decode(nodes).items or ()
                ],
            )
        except (msgspec.DecodeError, ValueError) as error:
            raise ClusterUnavailable(f"metrics.k8s.io gave an answer that makes no sense: {error}") from error


def _containers(pod: _PodMetrics) -> Iterator[tuple[str, str, str, Reading]]:
    for one in pod.containers or ():
        reading = _reading(pod.timestamp, one.usage)
        yield pod.metadata.namespace or "", pod.metadata.name, one.name, reading


def _reading(timestamp: datetime, usage: Mapping[str, str]) -> Reading:
    memory = amount(usage.get("memory", "0"))
    return Reading(to_micros(timestamp), cpu=amount(usage.get("cpu", "0"), NANO), memory=memory, peak=memory)
