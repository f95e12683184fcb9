"""Which scopes cover an event: found by looking values up, not by trying one scope after the other.

A gateway asks for every call, and an evaluator for every window, of hundreds of budgets; those name only a
handful of different sets of dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, TypeAlias, TypeVar

__all__ = ["Scope", "ScopeIndex", "scope_of"]

Scope: TypeAlias = tuple[tuple[str, str], ...]
"""A budget's scope as a key: (dimension, value), sorted."""

T = TypeVar("T")


def scope_of(dimensions: Mapping[str, str]) -> Scope:
    """Return a budget's scope as a key."""
    return tuple(sorted(dimensions.items()))


class ScopeIndex(Generic[T]):
    """Things by their scope."""

    def __init__(self, items: Iterable[tuple[Scope, T]] = ()) -> None:
        self._by_names: dict[tuple[str, ...], dict[tuple[str, ...], list[T]]] = {}
        for scope, item in items:
            names = tuple(name for name, _ in scope)
            values = tuple(value for _, value in scope)
            self._by_names.setdefault(names, {}).setdefault(values, []).append(item)

    @property
    def names(self) -> tuple[str, ...]:
        """All dimensions that any scope names, sorted."""
        return tuple(sorted({name for names in self._by_names for name in names}))

    def covering(self, value_of: Callable[[str], str]) -> Iterator[T]:
        """Yield the things whose scope covers what has these values; `value_of` is asked by dimension."""
        for names, by_values in self._by_names.items():
            yield from by_values.get(tuple([value_of(name) for name in names]), ())
