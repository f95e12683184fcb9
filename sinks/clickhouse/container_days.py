"""Containers' days in ClickHouse: what a state is in columns, and how it is read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import pyarrow as pa

from spendstream.ledger import WindowState
from spendstream.rightsizing.days import SECOND, Container, ContainerDay, Settings
from spendstream.windows import DAY, WindowKey

__all__ = ["DAY_COLUMNS", "ContainerShape", "day_of_row"]

_MICROS = pa.timestamp("us", tz="UTC")
_COUNTS = pa.map_(pa.uint16(), pa.uint64())
_NAMED = pa.map_(pa.string(), pa.uint64())
_COUNTED = 8  # columns between the start and the settings
_AMOUNTS = ("cpu_request", "memory_request", "cpu_limit", "memory_limit")
_TEXTS = ("scaled_on", "revision", "team")

DAY_COLUMNS = ", ".join(
    [
        "toUnixTimestamp(window_start)",
        "toUnixTimestamp64Micro(first)",
        "toUnixTimestamp64Micro(last)",
        "seconds, cpu, memory, oom_kills, restarts, revisions",
        "toUnixTimestamp64Micro(set_at)",
        *_AMOUNTS,
        *_TEXTS,
    ]
)
"""What `day_of_row` reads, in SQL."""


def day_of_row(row: Sequence[Any]) -> ContainerDay:
    """Return the day in a row of `DAY_COLUMNS`."""
    start, *rest = row
    counted, settings = rest[:_COUNTED], rest[_COUNTED:]
    day = dict(zip(ContainerDay._fields, [start * SECOND, *counted, Settings(*settings)], strict=True))
    return ContainerDay(**day)


class ContainerShape(NamedTuple):
    """The windows of what containers used. They are no mere sums, so their columns are their own."""

    table: str = "container_day_state"
    widest: int = DAY

    @property
    def state(self) -> str:
        """The columns of a state, in SQL."""
        return ", ".join(["window_seconds", *Container._fields, "ver", DAY_COLUMNS])

    def read(self, row: Sequence[Any]) -> WindowState:
        """Return a row of `state`."""
        size, *rest = row
        middle = len(Container._fields)
        container, (version, *columns) = Container(*rest[:middle]), rest[middle:]
        day = day_of_row(columns)
        return WindowState(WindowKey(size, day.start // SECOND, container), version, day)

    def columns(self, states: Sequence[WindowState]) -> dict[str, pa.Array]:
        """Return what states hold, as columns."""
        return {
            name: pa.array([read(state.measures) for state in states], kind)
            for name, (kind, read) in _COLUMNS.items()
        }


def _items(name: str) -> Callable[[Any], list[Any]]:
    read = attrgetter(name)
    return lambda day: list(read(day).items())


_Column = tuple[pa.DataType, Callable[[Any], Any]]

_COLUMNS: Mapping[str, _Column] = {
    **{name: (_MICROS, attrgetter(name)) for name in ("first", "last")},
    **{name: (pa.uint64(), attrgetter(name)) for name in ("seconds", "oom_kills", "restarts")},
    **{name: (_COUNTS, _items(name)) for name in ("cpu", "memory")},
    "revisions": (_NAMED, _items("revisions")),
    "set_at": (_MICROS, attrgetter("settings.at")),
    **{name: (pa.uint64(), attrgetter(f"settings.{name}")) for name in _AMOUNTS},
    **{name: (pa.string(), attrgetter(f"settings.{name}")) for name in _TEXTS},
}
