"""How throughput grows with workers: 1, 2 and 4 of them land the same recording, one after another.

The clock starts when every worker has landed something, so that joining the group is left out. Broker,
ClickHouse and workers share the machine: past its cores, more workers cannot help, and the table says how
many cores there are.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.children import BenchmarkError, Child, cpu_seconds
from benchmarks.filling import fill
from benchmarks.landed import check_events, check_windows
from benchmarks.measuring import count
from benchmarks.peers.roster import OURS
from benchmarks.recording import recording
from benchmarks.reporting import Machine, at_least, machine, options, report
from benchmarks.stack import Stack
from infra.local.broker import EmbeddedBroker
from spendstream.topics import USAGE_TOKENS

_WORKERS = (1, 2, 4)
_POLL_S = 0.05
_PATIENCE_S = 60.0  # without any progress


class _Figures(Struct, frozen=True, kw_only=True):
    """Some workers together. `shares` is what each has landed of all; CPU is of all workers, per event."""

    workers: int
    measured_events: int
    events_per_second: int
    cpu_us_per_event: float
    shares: Sequence[float]


class _Report(Struct, frozen=True, kw_only=True):
    """One run."""

    machine: Machine
    events: int
    partitions: int
    figures: Sequence[_Figures]


class _Look(Struct, frozen=True):
    at: float
    landed: Sequence[int]
    cpu: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    asked = _options(argv)
    measured = report(lambda folder, bars: _run(asked, folder, bars), _show, as_json=asked.json)
    return 0 if measured else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument(
        "--events", type=at_least(1), default=1_000_000, help="how many events the topic holds"
    )
    parser.add_argument(
        "--workers", type=at_least(1), action="append", help="so many workers; repeatable  [default: 1, 2, 4]"
    )
    return parser.parse_args(argv)


def _run(asked: argparse.Namespace, folder: Path, bars: Progress) -> _Report:
    figures = [
        _measured(workers, asked.events, folder / str(workers), bars) for workers in asked.workers or _WORKERS
    ]
    return _Report(
        machine=machine(), events=asked.events, partitions=USAGE_TOKENS.partitions, figures=figures
    )


def _measured(workers: int, events: int, folder: Path, bars: Progress) -> _Figures:
    """Let so many workers land a fresh topic, and check what they landed."""
    with EmbeddedBroker(log=folder / "broker.log") as broker:
        cost = fill(broker.servers, recording(events), events, bars)
        bar = bars.add_task(f"workers: {workers}", total=events)
        with Stack(folder, broker.servers) as stack:
            children = stack.start(*(f"worker-{number}" for number in range(1, workers + 1)))
            first, last = _watch(children, events, lambda done: bars.update(bar, completed=done))
            check_events(stack.clickhouse, f"{workers} workers", events, cost)
            check_windows(stack.clickhouse, f"{workers} workers", events, cost)
    done = sum(last.landed) - sum(first.landed)
    return _Figures(
        workers=workers,
        measured_events=done,
        events_per_second=round(done / (last.at - first.at)),
        cpu_us_per_event=round((last.cpu - first.cpu) * 1e6 / done, 2),
        shares=[round(landed / events, 2) for landed in last.landed],
    )


def _watch(children: Sequence[Child], events: int, told: Callable[[int], None]) -> tuple[_Look, _Look]:
    """Return the first look at which every worker had landed something, and the one at which all was done."""
    first: _Look | None = None
    last = _look(children)
    moved = last.at
    while sum(last.landed) < events:
        time.sleep(_POLL_S)
        look = _look(children)
        if sum(look.landed) > sum(last.landed):
            moved = look.at
            told(sum(look.landed))
        elif look.at - moved > _PATIENCE_S:
            raise BenchmarkError(
                f"{len(children)} workers: {sum(last.landed):,} events after {_PATIENCE_S:.0f} s"
            )
        last = look
        if first is None and all(look.landed):
            first = look
    if first is None or sum(first.landed) == sum(last.landed):
        raise BenchmarkError(
            f"all landed before each of {len(children)} workers had its part: use more --events"
        )
    return first, last


def _look(children: Sequence[Child]) -> _Look:
    for child in children:
        child.check()
    landed = [count(child.address, OURS.counter) for child in children]
    return _Look(time.monotonic(), landed, sum(cpu_seconds(child.pid) for child in children))


def _show(report: _Report, console: Console) -> None:
    table = Table(title=str(report.machine))
    for name in ("workers", "events/s", "times one", "worker µs/event", "share of each"):
        table.add_column(name, justify="right")
    alone = report.figures[0].events_per_second / report.figures[0].workers
    for each in report.figures:
        table.add_row(
            str(each.workers),
            f"{each.events_per_second:,}",
            f"{each.events_per_second / alone:.2f}",
            f"{each.cpu_us_per_event:.1f}",
            " ".join(f"{share:.0%}" for share in each.shares),
        )
    console.print(table)
    console.print(
        f"{report.events:,} events in {report.partitions} partitions. µs/event is CPU time of all workers."
    )


if __name__ == "__main__":
    sys.exit(main())
