"""Which teams have opted in to something."""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["Teams"]

_ALL = "*"


class Teams:
    """Teams by their names, of which `*` stands for all."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._all = _ALL in self._names

    def __contains__(self, team: str) -> bool:
        return self._all or team in self._names
