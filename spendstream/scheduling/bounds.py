"""What no packing can beat: the least that pods can cost in an hour if pods could be cut to pieces.

Each pod pays for the part of a node that it takes, of the type where that is cheapest for it, and the rest of
every node is free. For any weights of the resources that add up to one this is a bound (it is a solution of
the dual of the packing's linear relaxation); the best of some weights is taken. Pods that cannot share a type
of node, such as those with GPUs and those without, are bounded apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import product
from typing import NamedTuple, TypeAlias

from spendstream.scheduling.cluster import Offer, Pod, Resources, obstacle, overhead

__all__ = ["least_price"]

_STEPS = 8
_Weights: TypeAlias = tuple[Fraction, Fraction, Fraction]
_WEIGHTS: Sequence[_Weights] = [
    (Fraction(cpu, _STEPS), Fraction(memory, _STEPS), Fraction(_STEPS - cpu - memory, _STEPS))
    for cpu, memory in product(range(_STEPS + 1), repeat=2)
    if cpu + memory <= _STEPS
]


class _Room(NamedTuple):
    """What a type of node costs, and has beside what DaemonSets take."""

    hourly_price: int
    resources: Resources


def least_price(pods: Iterable[Pod], offers: Sequence[Offer], *, daemons: Sequence[Pod] = ()) -> int:
    """Return a bound from below in picodollars an hour; pods that may run nowhere count nothing."""
    rooms = [_Room(offer.hourly_price, offer.capacity - overhead(daemons, offer)[0]) for offer in offers]
    choices: dict[frozenset[int], list[Resources]] = {}
    for pod in pods:
        kinds = frozenset(
            kind
            for kind, offer in enumerate(offers)
            if not obstacle(pod, offer) and pod.requests.within(rooms[kind].resources)
        )
        choices.setdefault(kinds, []).append(pod.requests)
    choices.pop(frozenset(), None)
    return sum(
        max(
            math.ceil(sum(_cost(choices[kinds], kinds, rooms, weights) for kinds in apart))
            for weights in _WEIGHTS
        )
        for apart in _apart(choices)
    )


def _apart(choices: Iterable[frozenset[int]]) -> list[list[frozenset[int]]]:
    """Return the sets of types in groups that have no type in common."""
    groups: list[tuple[frozenset[int], list[frozenset[int]]]] = []
    for kinds in choices:
        touched = [group for group in groups if group[0] & kinds]
        groups = [group for group in groups if not group[0] & kinds]
        members = [each for _, group in touched for each in group]
        groups.append((kinds.union(*(types for types, _ in touched)), [*members, kinds]))
    return [members for _, members in groups]


def _cost(
    requests: Iterable[Resources], kinds: Iterable[int], rooms: Sequence[_Room], weights: _Weights
) -> Fraction:
    """Return what requests cost at least on these types of nodes."""
    allowed = [rooms[kind] for kind in kinds]
    return sum(
        (
            min(room.hourly_price * _part(each, room.resources, weights) for room in allowed)
            for each in requests
        ),
        Fraction(0),
    )


def _part(wanted: Resources, room: Resources, weights: _Weights) -> Fraction:
    """Return which part of a node's room is wanted; of what it has none, none is wanted."""
    cpu, memory, gpu = weights
    return (
        cpu * _of(wanted.cpu, room.cpu)
        + memory * _of(wanted.memory, room.memory)
        + gpu * _of(wanted.gpu, room.gpu)
    )


def _of(wanted: int, room: int) -> Fraction:
    return Fraction(wanted, room) if room > 0 else Fraction(0)
