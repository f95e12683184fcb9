"""Rate limits: how many requests and tokens a minute a scope may have, and how many requests at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from spendstream.budgets import fields
from spendstream.budgets.definition import REQUEST_DIMENSIONS
from spendstream.budgets.fields import Mistakes
from spendstream.budgets.scoped import read_scoped

__all__ = ["MOST_PER_MINUTE", "RateLimit", "read_limits"]

MOST_PER_MINUTE = 100_000_000
"""A minute of more, in microseconds each, is beyond the integers that every store computes with."""

_COUNTS = ("requests_per_minute", "tokens_per_minute", "concurrent_requests")


class RateLimit(Struct, frozen=True, kw_only=True):
    """Limits of one scope, one of them at least; a minute's worth may come at once.

    `shadow` counts what `hard` would refuse, and refuses nothing.
    """

    id: str
    scope: Mapping[str, str] = {}
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    enforce: Literal["shadow", "hard"] = "hard"


def read_limits(raw: Any, mistakes: Mistakes) -> Sequence[RateLimit]:
    """Return the limits of the section `limits`, noting down what is wrong with them."""
    if not isinstance(raw, list):
        mistakes.add("limits", f"expected a list of limits, found {raw!r:.80}")
        return []
    limits: dict[str, RateLimit] = {}
    for number, written in enumerate(raw, 1):
        name = written.get("id") if isinstance(written, Mapping) else None
        place = mistakes.within(f"limit {number} ({name})" if isinstance(name, str) else f"limit {number}")
        limit = _read(written, place)
        if limit is not None and limit.id in limits:
            place.add("id", "another limit has it: give each its own")
        elif limit is not None:
            limits[limit.id] = limit
    return list(limits.values())


def _count(raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int) or not 0 < raw <= MOST_PER_MINUTE:
        raise ValueError(f"expected a whole number from 1 to {MOST_PER_MINUTE}, found {raw!r:.80}")
    return raw


_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "id": fields.identifier,
    "enforce": fields.choice(("shadow", "hard")),
    **dict.fromkeys(_COUNTS, _count),
}


def _read(raw: Any, mistakes: Mistakes) -> RateLimit | None:
    before = len(mistakes.found)
    if not isinstance(raw, Mapping):
        mistakes.add("limit", f"expected the fields of a limit, found {raw!r:.80}")
        return None
    values = read_scoped(raw, _PARSERS, ("id",), mistakes)
    for name in values["scope"]:
        if name not in REQUEST_DIMENSIONS:
            mistakes.add(f"scope.{name}", "no request has one")
    if not any(name in raw for name in _COUNTS):
        mistakes.add("limit", f"expected one of {', '.join(_COUNTS)} at least")
    return RateLimit(**values) if len(mistakes.found) == before else None
