"""How a replay goes, on a terminal: a bar with rate and time left. Elsewhere only trouble is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from producers.sender import Progress

__all__ = ["Quiet", "told"]

_REPEAT_S = 10.0


class Quiet:
    """Writes only what one waits for: when that changes, and every ten seconds."""

    def __init__(self, write: Callable[[str], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._monotonic = monotonic
        self._told = ""
        self._told_at = 0.0

    def sent(self, events: int) -> None:
        """Note that things move again."""
        del events
        self._told = ""

    def waiting(self, reason: str) -> None:
        """Write the reason, if it is new or old enough."""
        now = self._monotonic()
        if reason != self._told or now - self._told_at >= _REPEAT_S:
            self._told, self._told_at = reason, now
            self._write(reason)


class _Bar:
    def __init__(self, bars: Bars, task: TaskID, trouble: Quiet) -> None:
        self._bars = bars
        self._task = task
        self._trouble = trouble
        self._sent = 0
        self._started = time.monotonic()

    def sent(self, events: int) -> None:
        self._trouble.sent(events)
        self._sent += events
        rate = self._sent / max(time.monotonic() - self._started, 1e-9)
        self._bars.update(self._task, advance=events, rate=f"{rate:,.0f} events/s")

    def waiting(self, reason: str) -> None:
        self._trouble.waiting(reason)


@contextmanager
def told(title: str, total: int | None) -> Iterator[Progress]:
    """Give what shows progress towards `total` events (None: unknown) on standard error."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    trouble = Quiet(lambda reason: console.print(f"spendstream: {reason}", markup=False))
    if not console.is_terminal:
        yield trouble
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console) as bars:
        yield _Bar(bars, bars.add_task(title, total=total, rate=""), trouble)
