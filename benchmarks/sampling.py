"""A process's memory over the course of its work: samples, how much it grew at the end, and a table of it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from rich.table import Table

__all__ = ["Sample", "growth_percent", "table"]

_ROWS = 12


class Sample(Struct, frozen=True, kw_only=True):
    """The resident set, in MiB, when so many events were done; seconds from the first sample."""

    seconds: float
    events: int
    mib: int


def growth_percent(samples: Sequence[Sample]) -> float:
    """Return by how many percent memory grew over the last third of the events."""
    last = samples[-1]
    start = next(sample for sample in samples if sample.events >= last.events * 2 / 3)
    return round(100 * (last.mib / start.mib - 1), 1)


def table(samples: Sequence[Sample], title: str, events: str = "events") -> Table:
    """Return a table of some samples, evenly, the last among them; `events` says what is counted."""
    shown = Table(title=title)
    for name in ("seconds", events, "resident MiB"):
        shown.add_column(name, justify="right")
    step = max(len(samples) // _ROWS, 1)
    for sample in samples[::-1][::step][::-1]:
        shown.add_row(f"{sample.seconds:.1f}", f"{sample.events:,}", f"{sample.mib:,}")
    return shown
