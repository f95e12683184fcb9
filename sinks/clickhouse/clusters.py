"""Clusters as they were last seen: each node and what runs on it, out of the newest samples in ClickHouse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sinks.clickhouse.tables import Tables
from spendstream.events import NodeUsage, PodUsage
from spendstream.queries import pico
from spendstream.scheduling import Node, observed

__all__ = ["newest_nodes"]

_RECENT = 120 * 10**6
"""Microseconds before a cluster's newest sample: what has no sample that ends after that is gone."""

_CLUSTERS = """
SELECT cluster, toUnixTimestamp64Micro(max(end_time)) FROM node_usage_raw WHERE asset = 'node'
GROUP BY cluster ORDER BY cluster
"""
_NODES = f"""
SELECT
    node, instance_type, purchase_option, {pico("hourly_price")}, labels,
    cpu_capacity, memory_capacity, gpu_capacity
FROM node_usage
WHERE cluster = {{cluster:String}} AND asset = 'node' AND end_time > fromUnixTimestamp64Micro({{since:Int64}})
ORDER BY event_time DESC LIMIT 1 BY node
"""
_CONTAINERS = """
SELECT
    node, purchase_option, namespace, workload, workload_kind, pod, container,
    cpu_request, memory_request, gpu_request
FROM pod_usage
WHERE cluster = {cluster:String} AND end_time > fromUnixTimestamp64Micro({since:Int64})
ORDER BY event_time DESC LIMIT 1 BY namespace, pod, container
"""
_NODE = (
    "node",
    "instance_type",
    "purchase_option",
    "hourly_price",
    "labels",
    "cpu_capacity",
    "memory_capacity",
    "gpu_capacity",
)
_CONTAINER = (
    "node",
    "purchase_option",
    "namespace",
    "workload",
    "workload_kind",
    "pod",
    "container",
    "cpu_request",
    "memory_request",
    "gpu_request",
)


async def newest_nodes(tables: Tables, only: str = "") -> Mapping[str, tuple[Node, ...]]:
    """Return the nodes of every cluster, or `only` of one, with the pods on them."""
    found = {}
    for cluster, newest in await tables.rows(_CLUSTERS):
        if only in ("", cluster):
            place = {"cluster": cluster, "since": newest - _RECENT}
            known = _sample(cluster, newest)
            nodes = [NodeUsage(**known, **_named(_NODE, row)) for row in await tables.rows(_NODES, place)]
            pods = [
                PodUsage(**known, **_named(_CONTAINER, row)) for row in await tables.rows(_CONTAINERS, place)
            ]
            found[cluster] = observed(nodes, pods)
    return found


def _sample(cluster: str, newest: int) -> Mapping[str, Any]:
    """Return what all samples have in common here; of their times only that they are the newest matters."""
    return {"id": UUID(int=0), "source": "", "cluster": cluster, "event_time": newest - 1, "end_time": newest}


def _named(names: tuple[str, ...], row: Any) -> Mapping[str, Any]:
    return dict(zip(names, row, strict=True))
