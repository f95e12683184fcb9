"""By what spend can be told apart: dimensions of windows, of single events, and of time."""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.mistakes import did_you_mean
from spendstream.windows import Dimensions

__all__ = ["BUCKETS", "DIMENSIONS", "column_of", "in_windows", "parse"]

BUCKETS = {
    "hour": "toStartOfHour({})",
    "day": "toStartOfDay({})",
    "week": "toDateTime(toMonday({}), 'UTC')",
    "month": "toDateTime(toStartOfMonth({}), 'UTC')",
}
"""Buckets of time, and their SQL; days are those of UTC, weeks begin on Monday."""

_WINDOWED = Dimensions._fields
_TOKENS = ("user", "key_id", "request_model", "operation", "route", "usage_source")
_PODS = ("node", "workload", "instance_type", "region")
_BOTH = ("service", "domain")
DIMENSIONS = (*BUCKETS, *_WINDOWED, *_BOTH, *_TOKENS, *_PODS)
"""All of them."""


def parse(text: str) -> tuple[str, ...]:
    """Return the dimensions in a text like "team,model". Raises ValueError for an unknown or repeated one."""
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in DIMENSIONS:
            raise ValueError(
                f"there is no dimension {name!r}{did_you_mean(name, DIMENSIONS)}; "
                f"there are {', '.join(DIMENSIONS)}"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"{text!r} names a dimension twice")
    return names


def in_windows(by: Sequence[str]) -> bool:
    """Tell whether windows know all these dimensions; else single events have to be added up."""
    return all(name in BUCKETS or name in _WINDOWED for name in by) and "hour" not in by


def column_of(name: str, kind: str, time: str) -> str:
    """Return the SQL of a dimension of what happened at `time`.

    `kind` is "tokens" (a call), "pods" (a container) or "hours" (a line of a cluster's bill). What a kind
    does not have is empty, as in windows.
    """
    if name in BUCKETS:
        return BUCKETS[name].format(time)
    if name == "kind":
        return "'tokens'" if kind == "tokens" else "'pods'"
    return "''" if name in _FOREIGN[kind] else f"toString(e.{name})"


_FOREIGN = {
    "tokens": (*_PODS, "cluster", "namespace"),
    "pods": (*_TOKENS, "provider", "model"),
    "hours": (*_TOKENS, "provider", "model", "region"),
}
