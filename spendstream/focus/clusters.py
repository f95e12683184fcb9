"""Clusters as charges, by hour and resource: what workloads were allocated, what nobody was, what is shared.

They add up to the cluster's bill. What was allocated beyond a node's price is a negative charge.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import groupby
from typing import Any, NamedTuple

from msgspec import Struct

from spendstream.allocation.windows import DECIMALS
from spendstream.focus.charge import Allocation, Charge, Owner, quantity
from spendstream.queries import whole
from spendstream.reports.questions import Question
from spendstream.reports.span import Span
from spendstream.windows import HOUR

__all__ = ["METHOD", "Line", "ask", "charges", "lines"]

METHOD = "max-request-usage"
"""The name of our way to split a node's price: by the greater of what was requested and used."""

_MICROS = 1_000_000
_HOUR = HOUR * _MICROS
_KEYS = ("line", "kind", "cluster", "node", "instance_type", "namespace", "workload")
_OWNER = ("org", "team", "project", "environment", "service", "domain")


class _Resource(NamedTuple):
    """A resource's meter, the unit of its quantities, and how much of what windows count is one of them."""

    meter: str
    unit: str = "Hours"
    one: int = 0


_RESOURCES: Mapping[str, _Resource] = {
    "cpu": _Resource("CPU", "Core-Hours", 10**9 * _HOUR),
    "memory": _Resource("Memory", "GiB-Hours", 2**30 * _HOUR),
    "gpu": _Resource("GPU", "GPU-Hours", 1000 * _HOUR),
    "storage": _Resource("Storage"),
    "network": _Resource("Network"),
    "other": _Resource("Other"),
}
_COSTS = tuple(f"{name}_cost" for name in _RESOURCES)
_AMOUNTS = tuple(name for name in DECIMALS if name not in _COSTS)
_ASSETS = {
    "node": "Node",
    "volume": "Volumes",
    "network": "Network",
    "load-balancer": "Load Balancer",
    "control-plane": "Control Plane",
}


class Line(Struct, frozen=True, kw_only=True):
    """One line of a cluster's bill, as docs/allocation.md has them, of the hour from `at` on (microseconds).

    `costs` are picodollars by resource, `amounts` those of AllocationMeasures.
    """

    at: int
    line: str
    kind: str
    cluster: str
    node: str
    instance_type: str
    namespace: str
    workload: str
    owner: Owner
    costs: Mapping[str, int]
    amounts: Mapping[str, int]


def ask(span: Span) -> Question:
    """Return how to ask for the lines of the hours that begin in a span, in order of time."""
    named = [f"toString(a.{name}) AS {name}_" for name in (*_KEYS, *_OWNER)]
    summed = [f"{whole(f'sum(a.{name})', DECIMALS[name])} AS {name}_" for name in (*_COSTS, *_AMOUNTS)]
    start, end = span.start // _MICROS, span.end // _MICROS
    keys = ", ".join(f"{name}_" for name in ("at", *_KEYS, *_OWNER))
    return Question(
        sql=f"SELECT toInt64(toUnixTimestamp(a.hour)) * {_MICROS} AS at_, {', '.join([*named, *summed])} "
        f"FROM allocation AS a WHERE a.hour >= toDateTime({start}, 'UTC') "
        f"AND a.hour < toDateTime({end}, 'UTC') GROUP BY {keys} ORDER BY {keys}",
        names=("at", *_KEYS, *_OWNER, *_COSTS, *_AMOUNTS),
    )


def lines(rows: Iterable[Sequence[Any]]) -> Iterator[Line]:
    """Yield the lines of an answer."""
    width = len(_KEYS) + 1
    for row in rows:
        at, *keys = row[:width]
        costs = row[width + len(_OWNER) : -len(_AMOUNTS)]
        yield Line(
            at=at,
            **dict(zip(_KEYS, keys, strict=True)),
            owner=Owner(**dict(zip(_OWNER, row[width : width + len(_OWNER)], strict=True))),
            costs=dict(zip(_RESOURCES, costs, strict=True)),
            amounts=dict(zip(_AMOUNTS, row[-len(_AMOUNTS) :], strict=True)),
        )


def charges(found: Iterable[Line]) -> Iterator[Charge]:
    """Yield a charge for each line and resource that costs something, of lines in order of time."""
    for _, hour in groupby(found, key=lambda line: line.at):
        together = list(hour)
        nodes = _Nodes(together)
        for line in together:
            for resource, cost in line.costs.items():
                if cost:
                    yield _charge(line, resource, cost, nodes)


class _Nodes:
    """What the nodes of an hour cost and hold, by cluster, node and resource: the sums of their lines."""

    def __init__(self, together: Sequence[Line]) -> None:
        self._price: dict[tuple[str, str, str], int] = defaultdict(int)
        self._capacity: dict[tuple[str, str, str], int] = {}
        for line in together:
            for resource, cost in line.costs.items():
                self._price[line.cluster, line.node, resource] += cost
            if line.line == "idle" and line.kind == "node":
                for resource in ("cpu", "memory", "gpu"):
                    amount = line.amounts[f"{resource}_capacity"]
                    self._capacity[line.cluster, line.node, resource] = amount

    def ratio(self, line: Line, resource: str) -> Fraction | None:
        """Return which part of its node's price a line has, or None where that is not known."""
        key = line.cluster, line.node, resource
        if not self._capacity.get(key) or not self._price[key]:
            return None
        return Fraction(line.costs[resource], self._price[key])

    def amount(self, line: Line, resource: str) -> Fraction:
        """Return what a line pays for, in the resource's unit: its part of the node, or what it asked for."""
        one = _RESOURCES[resource].one
        if not one:
            return Fraction(1)
        ratio = self.ratio(line, resource)
        if ratio is not None:
            return ratio * self._capacity[line.cluster, line.node, resource] / one
        return Fraction(max(line.amounts[f"{resource}_requested"], line.amounts[f"{resource}_used"]), one)


def _charge(line: Line, resource: str, cost: int, nodes: _Nodes) -> Charge:
    about = _RESOURCES[resource]
    priced = quantity(nodes.amount(line, resource))
    used = quantity(Fraction(line.amounts[f"{resource}_used"], about.one)) if about.one else priced
    asset, name = _asset(line, resource)
    return Charge(
        start=line.at,
        end=line.at + _HOUR,
        owner=line.owner,
        provider="Kubernetes",
        category="Compute",
        subcategory="Containers",
        service_name="Kubernetes",
        sku=f"kubernetes/{line.instance_type or asset}/{resource}",
        meter=about.meter,
        description=_description(line, about.meter),
        billed=cost,
        listed=cost,
        consumed=used,
        consumed_unit=about.unit,
        priced=priced,
        pricing_unit=about.unit,
        resource=f"{line.cluster}/{asset}/{name}" if name else f"{line.cluster}/{asset}",
        resource_name=name,
        resource_type=_ASSETS[asset],
        allocation=_allocation(line, nodes.ratio(line, resource), about, used),
    )


def _asset(line: Line, resource: str) -> tuple[str, str]:
    """Return the kind and the name of what is paid for."""
    if line.kind != "container":
        return line.kind, line.node
    if resource in ("storage", "network"):
        return ("volume" if resource == "storage" else resource), ""
    return "node", line.node


def _allocation(line: Line, ratio: Fraction | None, about: _Resource, used: Any) -> Allocation | None:
    if line.line == "shared":
        return None
    if line.line != "workload":  # nobody took it
        return Allocation(method=METHOD, ratio=ratio)
    return Allocation(
        method=METHOD,
        resource=f"{line.cluster}/{line.namespace}/{line.workload or 'none'}",
        name=line.workload,
        ratio=ratio,
        unit=about.unit,
        used=used,
        tags={"namespace": line.namespace},
    )


def _description(line: Line, meter: str) -> str:
    where = f"in {line.cluster}"
    if line.line == "workload":
        return f"{meter} of {line.namespace}/{line.workload or 'no workload'} {where}"
    if line.line == "shared":
        return f"{_ASSETS[line.kind]} {line.node} {where}".replace("  ", " ")
    return f"{meter} of {_ASSETS[line.kind].lower()} {line.node} {where}, {line.line}".replace("  ", " ")
