"""Who pays for what serves all: shared cost, distributed when it is read, exactly, and before idle is.

What is shared is what has no workload of its own (a control plane, a load balancer) and the workloads of some
namespaces, such as kube-system. It is distributed over the other workloads of the same cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from spendstream.allocation.windows import AllocationMeasures
from spendstream.sharing import Policy, shared_out

__all__ = ["LineKind", "Sharing", "Slice", "distributed"]

LineKind = Literal["workload", "idle", "overcommit", "shared"]


class Sharing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How shared cost is distributed: to all alike, by what each was allocated, or by fixed weights.

    `weights` are by name of slices (their parts joined by "/"); who has none pays nothing, and who has one
    pays also without any cost of its own.
    """

    policy: Policy = "proportional"
    namespaces: tuple[str, ...] = ("kube-system",)
    weights: Mapping[str, int] = {}


class Slice(Struct, frozen=True, kw_only=True):
    """What one name (of a namespace, a team, ...) has of one line of a cluster's bill.

    `shared_cost` is what it pays of the shared cost, in picodollars, besides what it was allocated.
    """

    cluster: str
    line: LineKind
    name: tuple[str, ...]
    measures: AllocationMeasures
    shared_cost: int = 0

    @property
    def cost(self) -> int:
        """All that it pays, in picodollars."""
        return self.measures.cost + self.shared_cost


def distributed(slices: Sequence[Slice], sharing: Sharing) -> list[Slice]:
    """Return the slices with the shared ones distributed over the workloads of their cluster.

    The sum of all costs stays what it was, to the picodollar. Where nobody is to pay, shared slices stay.
    Raises ValueError for a fixed weight of which it is not clear whose it is.
    """
    found: list[Slice] = []
    for cluster in dict.fromkeys(each.cluster for each in slices):
        found += _in_cluster([each for each in slices if each.cluster == cluster], sharing)
    return found


def _in_cluster(slices: Sequence[Slice], sharing: Sharing) -> Iterator[Slice]:
    payers = [each for each in slices if each.line == "workload"]
    if sharing.policy == "fixed":
        payers += _without_own_cost(slices[0], payers, sharing.weights)
    own = {place: payer.measures.cost for place, payer in enumerate(payers)}
    weights = {place: sharing.weights.get("/".join(payer.name), 0) for place, payer in enumerate(payers)}
    if not (any(weights.values()) if sharing.policy == "fixed" else payers):
        yield from slices
        return
    total = sum(each.cost for each in slices if each.line == "shared")
    parts = shared_out(total, own, sharing.policy, weights)
    for place, payer in enumerate(payers):
        yield replace(payer, shared_cost=payer.shared_cost + parts.get(place, 0))
    yield from [each for each in slices if each.line not in ("workload", "shared")]


def _without_own_cost(like: Slice, payers: Sequence[Slice], weights: Mapping[str, int]) -> Iterator[Slice]:
    """Yield a slice, of a cluster and as many parts as `like`, for each weight without a workload."""
    known: dict[str, tuple[str, ...]] = {}
    for payer in payers:
        name = "/".join(payer.name)
        if name in weights and known.setdefault(name, payer.name) != payer.name:
            raise ValueError(f"the weight of {name!r} could be of {known[name]} as well as of {payer.name}")
    for name in [name for name in weights if name not in known]:
        parts = _parts(name, len(like.name))
        yield Slice(cluster=like.cluster, line="workload", name=parts, measures=AllocationMeasures())


def _parts(name: str, count: int) -> tuple[str, ...]:
    parts = (name,) if count == 1 else tuple(name.split("/"))
    if len(parts) != count:
        raise ValueError(
            f"the weight of {name!r}: expected a name of {count} parts joined by '/', found {len(parts)}"
        )
    return parts
