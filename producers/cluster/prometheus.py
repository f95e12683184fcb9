"""Usage from Prometheus: CPU, memory and its peak, network from cAdvisor; GPUs from NVIDIA's dcgm-exporter.

Needs the series that kubelets export (job "kubelet", path /metrics/cadvisor) and, for GPUs, those of
dcgm-exporter with the labels of pods. Where the scrape renames those of the exporter's own pod, the pod that
has the GPU is in `exported_pod`, and beats the other.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Mapping
from urllib.parse import unquote, urlsplit

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout
from msgspec import Struct

from producers.cluster.usage import Usage
from spendstream.config import Secret
from spendstream.errors import ClusterUnavailable
from spendstream.workloads.readings import Reading

__all__ = ["Prometheus"]

_ANSWER_S = 30.0
_RATE = "2m"  # holds four scrapes of half a minute: one that fails makes no hole
_OF_CONTAINERS = '{container!="",container!="POD"}'
_BY = "sum by (namespace, pod, container)"
_QUERIES: Mapping[str, str] = {
    "cpu": f"{_BY} (rate(container_cpu_usage_seconds_total{_OF_CONTAINERS}[{_RATE}]))",
    "memory": f"{_BY} (container_memory_working_set_bytes{_OF_CONTAINERS})",
    "peak": f"{_BY} (max_over_time(container_memory_working_set_bytes{_OF_CONTAINERS}[1m]))",
    "gpu": "sum by (namespace, pod, container, exported_namespace, exported_pod, exported_container)"
    " (DCGM_FI_DEV_GPU_UTIL)",
    "received": f'sum by (namespace, pod) (rate(container_network_receive_bytes_total{{pod!=""}}[{_RATE}]))',
    "sent": f'sum by (namespace, pod) (rate(container_network_transmit_bytes_total{{pod!=""}}[{_RATE}]))',
}
_NODES: Mapping[str, str] = {
    "cpu": f'sum by (node) (rate(container_cpu_usage_seconds_total{{id="/"}}[{_RATE}]))',
    "memory": 'sum by (node) (container_memory_working_set_bytes{id="/"})',
}
_UNITS: Mapping[str, Callable[[float], float]] = {
    "cpu": lambda cores: cores * 1e9,
    "gpu": lambda percent: percent * 10,
}
_LARGEST = 2.0**53


class _Series(Struct, frozen=True):
    metric: Mapping[str, str]
    value: tuple[float, str]


class _Result(Struct, frozen=True):
    result: list[_Series]


class _Answer(Struct, frozen=True):
    status: str
    data: _Result | None = None
    error: str = ""


_answer = msgspec.json.Decoder(_Answer)


class Prometheus:
    """Reads usage from a Prometheus, or what speaks its API, at an address that may hold a password."""

    def __init__(self, http: ClientSession, address: Secret) -> None:
        self._http = http
        parts = urlsplit(address)
        name, password = unquote(parts.username or ""), unquote(parts.password or "")
        basic = b64encode(f"{name}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {basic}"} if name else {}
        place = parts.netloc.rpartition("@")[2]
        self._url = f"{parts.scheme}://{place}{parts.path.rstrip('/')}/api/v1/query"

    async def read(self) -> Usage:
        """Return what is used now. Raises ClusterUnavailable."""
        names = [*_QUERIES, *(f"node {name}" for name in _NODES)]
        answers = await asyncio.gather(*map(self._ask, (*_QUERIES.values(), *_NODES.values())))
        found: dict[tuple[str, ...], Reading] = {}
        for name, series in zip(names, answers, strict=True):
            field = name.removeprefix("node ")
            for one in series:
                place = (one.metric.get("node", ""),) if field != name else _place(one.metric)
                reading = found.get(place) or Reading(round(one.value[0] * 1e6))
                found[place] = reading._replace(
                    **{field: getattr(reading, field) + _amount(field, one.value[1])}
                )
        return Usage(
            containers=[(*place, reading) for place, reading in found.items() if len(place) == 3],  # noqa: PLR2004 - namespace, pod, container
            nodes=[(place[0], reading) for place, reading in found.items() if len(place) == 1],
        )

    async def _ask(self, query: str) -> list[_Series]:
        try:
            async with self._http.post(
                self._url,
                data={"query": query},
                headers=self._headers,
                timeout=ClientTimeout(total=_ANSWER_S),
            ) as answer:
                body = await answer.read()
            decoded = _answer.decode(body)
        except (ClientError, OSError, TimeoutError) as error:
            why = str(error) or type(error).__name__
            raise ClusterUnavailable(f"Prometheus at {self._url}: {why}") from error
        except msgspec.DecodeError as error:
            raise ClusterUnavailable(
                f"Prometheus at {self._url}: answers {answer.status}, and not as its API does: {error}"
            ) from error
        if decoded.data is None:
            raise ClusterUnavailable(f"Prometheus at {self._url}: {decoded.error or decoded.status}")
        return decoded.data.result


def _place(labels: Mapping[str, str]) -> tuple[str, str, str]:
    namespace, pod, container = (
        labels.get(f"exported_{name}") or labels.get(name, "") for name in ("namespace", "pod", "container")
    )
    return namespace, pod, container


def _amount(field: str, value: str) -> int:
    """Return a value in our units; nothing for what is no number, or none that could be."""
    amount = _UNITS.get(field, float)(float(value))
    return round(amount) if 0 <= amount <= _LARGEST else 0
