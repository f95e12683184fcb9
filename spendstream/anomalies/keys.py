"""Who is watched: each team, and each organisation as a whole; and their readings, taken from windows."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from spendstream.anomalies.anomaly import Reading
from spendstream.windows import Dimensions, Measures

__all__ = ["Gathering", "Key"]

_Parts = dict[str, dict[str, Measures]]


class Key(NamedTuple):
    """A team, or with `team` None all teams of an organisation; `kind` is "tokens" or "pods"."""

    kind: str
    org: str
    team: str | None = None

    @property
    def text(self) -> str:
        """Return what the key is called in anomalies, snapshots and tables; no two keys share it."""
        return msgspec.json.encode([part for part in self if part is not None]).decode()

    @property
    def order(self) -> tuple[str, str, bool, str]:
        """Return what to sort keys by: teams first, then the whole."""
        return self.kind, self.org, self.team is None, self.team or ""


class Gathering:
    """Adds up the windows of one size and start, of all dimensions, to a reading for each key."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._whole: dict[Key, Measures] = {}
        self._parts: dict[Key, _Parts] = {}

    def add(self, dimensions: Dimensions, measures: Measures) -> None:
        """Count what was spent on one combination of dimensions."""
        kind, org, team = dimensions.kind, dimensions.org, dimensions.team
        place = ("project", dimensions.project), ("environment", dimensions.environment)
        self._count(Key(kind, org, team), measures, (_bought(dimensions), *place))
        self._count(Key(kind, org), measures, (_bought(dimensions), ("team", team)))

    def readings(self) -> dict[Key, Reading]:
        """Return what was added up."""
        return {
            key: Reading(start=self._start, measures=whole, parts=self._parts[key])
            for key, whole in self._whole.items()
        }

    def _count(self, key: Key, measures: Measures, names: tuple[tuple[str, str], ...]) -> None:
        self._whole[key] = _sum(self._whole.get(key), measures)
        parts = self._parts.setdefault(key, {})
        for dimension, name in names:
            part = parts.setdefault(dimension, {})
            part[name] = _sum(part.get(name), measures)


def _bought(dimensions: Dimensions) -> tuple[str, str]:
    """Return the dimension that says what was bought, and its name."""
    if dimensions.kind == "tokens":
        return "model", _path(dimensions.provider, dimensions.model)
    return "namespace", _path(dimensions.cluster, dimensions.namespace)


def _path(*names: str) -> str:
    return "/".join(name for name in names if name)


def _sum(known: Measures | None, more: Measures) -> Measures:
    return more if known is None else known.plus(more)
