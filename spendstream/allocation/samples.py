"""Pricing a sample where it is made: what a container's share of its node costs, and what the node does.

This is OpenCost's model with exact arithmetic. Time is event time, so a ten-second pod is billed ten seconds.
What has no price has no cost: None, and never zero.
"""

from __future__ import annotations

import msgspec

from spendstream.allocation.rates import Rate, Rates, accrued, node_rates
from spendstream.events import NodeUsage, PodUsage
from spendstream.money import ratio_half_even

__all__ = ["priced_asset", "priced_container", "rates_of"]


def priced_container(event: PodUsage, rates: Rates, *, storage_cost: int | None = None) -> PodUsage:
    """Return a sample with its costs: max(request, usage) of each resource, at its rate, for its time.

    What is requested is paid for whether used or not, and so is what is used above it. `storage_cost` is the
    container's share of its volumes; without it, what it requests of storage costs the rate of storage.
    """
    start, end = event.event_time, event.end_time
    cpu = _part(rates.cpu, max(event.cpu_request, event.cpu_usage), start, end)
    memory = _part(rates.memory, max(event.memory_request, event.memory_usage), start, end)
    gpu = _part(rates.gpu, max(event.gpu_request, event.gpu_usage), start, end)
    storage = storage_cost
    if storage is None:
        storage = _part(rates.storage, event.storage_request, start, end)
    network = _sent(rates.network, event.network_sent)
    return msgspec.structs.replace(
        event,
        cpu_cost=cpu,
        memory_cost=memory,
        gpu_cost=gpu,
        storage_cost=storage,
        network_cost=network,
        cost=_sum(cpu, memory, gpu, storage, network),
    )


def rates_of(event: NodeUsage) -> Rates:
    """Return the rates of a node's CPU, memory and GPU: those at which its containers are billed."""
    if event.hourly_price is None or event.asset != "node":
        return Rates()
    return node_rates(
        event.hourly_price, cpu=event.cpu_capacity, memory=event.memory_capacity, gpu=event.gpu_capacity
    )


def priced_asset(event: NodeUsage) -> NodeUsage:
    """Return a sample with its costs, from its hourly price.

    A node's price is split over its resources; a volume's is that of storage; a load balancer or a control
    plane has a cost and no resources. A node of which no capacity is known cannot be split, and stays without
    a cost.
    """
    start, end, price = event.event_time, event.end_time, event.hourly_price
    if price is None:
        return event
    if event.asset == "node":
        rates = rates_of(event)
        if rates == Rates():
            return event
        cpu = _part(rates.cpu, event.cpu_capacity, start, end)
        memory = _part(rates.memory, event.memory_capacity, start, end)
        gpu = _part(rates.gpu, event.gpu_capacity, start, end)
        return msgspec.structs.replace(
            event, cpu_cost=cpu, memory_cost=memory, gpu_cost=gpu, storage_cost=0, cost=_sum(cpu, memory, gpu)
        )
    cost = accrued(Rate(price=price, per=1), 1, start, end)
    if event.asset == "volume":
        return msgspec.structs.replace(event, storage_cost=cost, cost=cost)
    return msgspec.structs.replace(event, cost=cost)


def _part(rate: Rate | None, amount: int, start: int, end: int) -> int | None:
    if not amount:
        return 0
    return None if rate is None else accrued(rate, amount, start, end)


def _sent(rate: Rate | None, amount: int) -> int | None:
    if not amount:
        return 0
    return None if rate is None else ratio_half_even(amount * rate.price, rate.per)


def _sum(*parts: int | None) -> int | None:
    total = 0
    for part in parts:
        if part is None:
            return None
        total += part
    return total
