"""What all entries of a budget file have in common: a scope, and fields that are read one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from spendstream.budgets import fields
from spendstream.budgets.fields import Mistakes, read_fields

__all__ = ["read_scoped"]


def read_scoped(
    raw: Mapping[str, Any],
    parsers: Mapping[str, Callable[[Any], Any]],
    required: Iterable[str],
    mistakes: Mistakes,
) -> dict[str, Any]:
    """Return the scope, and the values of the fields that are right, noting down what is wrong."""
    scope = _read_scope(raw.get("scope", {}), mistakes)
    found = read_fields(raw, parsers, mistakes, required=required, elsewhere=("scope",))
    return {"scope": scope, **found}


def _read_scope(raw: Any, mistakes: Mistakes) -> Mapping[str, str]:
    """Return a scope, noting down what is wrong with it."""
    if not isinstance(raw, Mapping):
        mistakes.add("scope", f"expected dimensions and their values, like team: search, found {raw!r}")
        return {}
    scope = {}
    for name, value in raw.items():
        try:
            scope[name] = fields.scope_value(name, value)
        except ValueError as error:
            mistakes.add(f"scope.{name}", error)
    return scope
