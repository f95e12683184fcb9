"""What a cluster's things cost by the dated price file."""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.allocation import Rate
from spendstream.cluster_prices import ClusterPrices
from spendstream.money import ratio_half_even
from spendstream.workloads.nodes import Node

__all__ = ["ListPrices"]

_DEVICE = 1000


class ListPrices:
    """Prices of a file; `traffic` is which kind of network traffic what pods send is taken for."""

    def __init__(self, prices: ClusterPrices, *, traffic: str) -> None:
        self._prices = prices
        self._traffic = traffic

    def node(self, node: Node, region: str, at: int) -> int | None:
        """Return the price of a node, with its GPUs where those are sold apart; None if either has none."""
        found = self._prices.find("node", node.instance_type, region, at, node.purchase_option)
        if found is None:
            return None
        if not node.accelerator:
            return found.price
        gpu = self._prices.find("gpu", node.accelerator, region, at, node.purchase_option)
        return None if gpu is None else found.price + ratio_half_even(gpu.price * node.gpu, _DEVICE)

    def changes(self, node: Node, region: str, start: int, end: int) -> Sequence[int]:
        """Return when the price of a node, or of its GPUs, changes in between."""
        of_node = self._prices.changes("node", node.instance_type, region, (start, end), node.purchase_option)
        if not node.accelerator:
            return of_node
        of_gpu = self._prices.changes("gpu", node.accelerator, region, (start, end), node.purchase_option)
        return [*of_node, *of_gpu]

    def volume(self, kind: str, capacity: int, region: str, at: int) -> int | None:
        """Return the price of a volume of so many bytes."""
        found = self._prices.find("volume", kind, region, at)
        return None if found is None else ratio_half_even(found.price * capacity, found.rate.per)

    def load_balancer(self, kind: str, region: str, at: int) -> int | None:
        """Return the price of a load balancer."""
        found = self._prices.find("load-balancer", kind, region, at)
        return None if found is None else found.price

    def control_plane(self, kind: str, region: str, at: int) -> int | None:
        """Return the price of a control plane."""
        found = self._prices.find("control-plane", kind, region, at)
        return None if found is None else found.price

    def network(self, region: str, at: int) -> Rate | None:
        """Return the rate of a byte sent."""
        found = self._prices.find("network", self._traffic, region, at)
        return None if found is None else found.rate
