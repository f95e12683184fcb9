"""Samples of spend, priced, made of what an account knows of pods, nodes and what else is paid for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID

import msgspec
from msgspec import Struct

from spendstream.allocation import Rate, Rates, accrued, node_rates, priced_asset, priced_container
from spendstream.allocation.requests import Request
from spendstream.events import Asset, NodeUsage, PodUsage
from spendstream.ids import derived_id
from spendstream.workloads.attribution import Owned
from spendstream.workloads.devices import share
from spendstream.workloads.nodes import LoadBalancer, Node, Volume
from spendstream.workloads.pods import Amounts, Pod
from spendstream.workloads.readings import Reading
from spendstream.workloads.records import Used
from spendstream.workloads.tenure import digest
from spendstream.workloads.timeline import Piece

__all__ = ["Beside", "Prices", "Samples", "Standing"]

_SECOND = 10**6
_UNREAD = Reading(0)
_NODES_REMEMBERED = 4096

_rates = lru_cache(_NODES_REMEMBERED)(node_rates)


class Prices(Protocol):
    """What things cost in picodollars an hour at a time (microseconds); None where no price covers it."""

    def node(self, node: Node, region: str, at: int) -> int | None:
        """Return the price of a node."""

    def changes(self, node: Node, region: str, start: int, end: int) -> Sequence[int]:
        """Return when the price of a node changes in between."""

    def volume(self, kind: str, capacity: int, region: str, at: int) -> int | None:
        """Return the price of a volume of so many bytes."""

    def load_balancer(self, kind: str, region: str, at: int) -> int | None:
        """Return the price of a load balancer."""

    def control_plane(self, kind: str, region: str, at: int) -> int | None:
        """Return the price of a control plane."""

    def network(self, region: str, at: int) -> Rate | None:
        """Return the rate of a byte sent."""


class Standing(Struct, frozen=True, kw_only=True):
    """What all samples of a pod have in common: whose it is, and the kind and name of its workload."""

    pod: Pod
    owned: Owned
    kind: str
    name: str
    scaled_on: str


class Beside(Struct, frozen=True, kw_only=True):
    """What a pod has beside its running containers: room, and volumes, with their kinds and sharers."""

    request: Request
    volumes: Sequence[tuple[Volume, str, int]]


class Samples:
    """Makes the samples of one cluster. `region` is where nodes are that do not say."""

    def __init__(self, *, cluster: str, source: str, region: str, prices: Prices) -> None:
        self._cluster = cluster
        self._digest = digest(cluster)
        self._source = source
        self._region = region
        self._prices = prices

    def turns(self, node: Node, start: int, end: int) -> Sequence[int]:
        """Return when the price of a node changes in between."""
        return self._prices.changes(node, self._where(node), start, end)

    def container(
        self, piece: Piece[Amounts], used: Used, standing: Standing, node: Node | None, *, key: bytes
    ) -> PodUsage:
        """Return the sample of a container."""
        reading, network = used.reading or _UNREAD, used.network or _UNREAD
        seconds = (piece.end - piece.start) / _SECOND
        event = msgspec.structs.replace(
            self._event(piece, piece.facts.request, standing, node, key),
            container=used.container,
            cpu_limit=piece.facts.cpu_limit,
            cpu_usage=reading.cpu,
            memory_limit=piece.facts.memory_limit,
            memory_usage=reading.memory,
            memory_peak=max(reading.peak, reading.memory),
            gpu_usage=reading.gpu,
            network_received=round(network.received * seconds),
            network_sent=round(network.sent * seconds),
            oom_kills=used.oom_kills,
            restarts=used.restarts,
        )
        return priced_container(event, self._rates_of(node, event))

    def pod(
        self, piece: Piece[Request], beside: Beside, standing: Standing, node: Node | None, *, key: bytes
    ) -> PodUsage:
        """Return the sample of what a pod has beside its containers: one without a container's name."""
        event = msgspec.structs.replace(
            self._event(piece, beside.request, standing, node, key),
            storage_request=sum(volume.capacity // sharers for volume, _, sharers in beside.volumes),
        )
        storage_cost = self._storage_cost(beside.volumes, piece)
        return priced_container(event, self._rates_of(node, event), storage_cost=storage_cost)

    def _event(
        self, piece: Piece[Any], request: Request, standing: Standing, node: Node | None, key: bytes
    ) -> PodUsage:
        """Return what all samples of a pod say."""
        pod, owned, start = standing.pod, standing.owned, piece.start
        return PodUsage(
            id=self._id(key, start),
            event_time=start,
            end_time=piece.end,
            source=self._source,
            org=owned.org,
            team=owned.team,
            project=owned.project,
            environment=owned.environment,
            service=owned.service,
            domain=owned.domain,
            cluster=self._cluster,
            region=self._where(node),
            node=pod.node,
            instance_type=node.instance_type if node else "",
            purchase_option=node.purchase_option if node else "unknown",
            node_hourly_price=self._price(node, start),
            namespace=pod.namespace,
            workload=standing.name,
            workload_kind=standing.kind,
            revision=pod.revision,
            pod=pod.name,
            pod_uid=pod.uid,
            labels=dict(pod.labels),
            scaled_on=standing.scaled_on,
            cpu_request=request.cpu,
            memory_request=request.memory,
            gpu_request=share(request.gpu, node.gpu_replicas if node else 1),
        )

    def node(self, piece: Piece[Node], *, key: bytes, reading: Reading | None) -> NodeUsage:
        """Return the sample of a node."""
        node, used = piece.facts, reading or Reading(piece.start)
        event = NodeUsage(
            id=self._id(key, piece.start),
            event_time=piece.start,
            end_time=piece.end,
            source=self._source,
            cluster=self._cluster,
            region=self._where(node),
            node=node.name,
            instance_type=node.instance_type,
            purchase_option=node.purchase_option,
            hourly_price=self._price(node, piece.start),
            labels=dict(node.labels),
            cpu_capacity=node.cpu,
            memory_capacity=node.memory,
            gpu_capacity=node.gpu,
            cpu_usage=used.cpu,
            memory_usage=used.memory,
            gpu_usage=used.gpu,
        )
        return priced_asset(event)

    def volume(self, piece: Piece[Volume], kind: str, *, key: bytes, owned: Owned) -> NodeUsage:
        """Return the sample of a volume of a kind, such as "gp3", that is `owned`."""
        volume = piece.facts
        region = volume.region or self._region
        price = self._prices.volume(kind, volume.capacity, region, piece.start)
        event = msgspec.structs.replace(
            self._asset(piece, key, "volume", volume.name, kind, price),
            org=owned.org,
            team=owned.team,
            project=owned.project,
            environment=owned.environment,
            service=owned.service,
            domain=owned.domain,
            region=region,
            storage_capacity=volume.capacity,
        )
        return priced_asset(event)

    def load_balancer(self, piece: Piece[LoadBalancer], *, key: bytes) -> NodeUsage:
        """Return the sample of a load balancer."""
        balancer = piece.facts
        price = self._prices.load_balancer(balancer.kind, self._region, piece.start)
        return priced_asset(self._asset(piece, key, "load-balancer", balancer.name, balancer.kind, price))

    def control_plane(self, piece: Piece[str], *, key: bytes) -> NodeUsage:
        """Return the sample of the control plane, of the kind that the piece says."""
        kind = piece.facts
        price = self._prices.control_plane(kind, self._region, piece.start)
        return priced_asset(self._asset(piece, key, "control-plane", "control-plane", kind, price))

    def _asset(
        self, piece: Piece[Any], key: bytes, asset: Asset, name: str, kind: str, price: int | None
    ) -> NodeUsage:
        """Return what all samples of things beside nodes say; without its own region, one is in ours."""
        return NodeUsage(
            id=self._id(key, piece.start),
            event_time=piece.start,
            end_time=piece.end,
            source=self._source,
            cluster=self._cluster,
            region=self._region,
            asset=asset,
            node=name,
            instance_type=kind,
            hourly_price=price,
        )

    def _id(self, key: bytes, start: int) -> UUID:
        """Return the id of a sample: of two clusters, things can have the same key."""
        return derived_id(start, self._digest + key, start)

    def _where(self, node: Node | None) -> str:
        return (node.region if node else "") or self._region

    def _price(self, node: Node | None, at: int) -> int | None:
        if node is None:
            return None
        return self._prices.node(node, self._where(node), at)

    def _rates_of(self, node: Node | None, event: PodUsage) -> Rates:
        network = self._prices.network(event.region, event.event_time)
        price = event.node_hourly_price
        if node is None or price is None:
            return Rates(network=network)
        rates = _rates(price, cpu=node.cpu, memory=node.memory, gpu=node.gpu)
        return Rates(cpu=rates.cpu, memory=rates.memory, gpu=rates.gpu, network=network)

    def _storage_cost(self, volumes: Sequence[tuple[Volume, str, int]], piece: Piece[Any]) -> int | None:
        """Return the pod's shares of its volumes: of one that n pods hold, 1/n."""
        total = 0
        for volume, kind, sharers in volumes:
            region = volume.region or self._region
            price = self._prices.volume(kind, volume.capacity, region, piece.start)
            if price is None:
                return None
            total += accrued(Rate(price=price, per=sharers), 1, piece.start, piece.end)
        return total
