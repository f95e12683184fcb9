"""How much memory a worker needs for a million distinct keys: its resident set, sampled while it works.

A key is one combination of team, project and model: what a window adds up by. There are up to 100 models,
100 projects and 1600 teams. Events come in the order of their times, spread over 30 days, and take the keys
in turn, so that every event is of another key than all the others near it: nearly every event opens three
windows that no other touches. Nothing is worse for a cache of windows. The worker holds a bounded number of
windows of each partition, and ids of ten minutes; once that many are there, memory must stay flat.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct
from rich.console import Console
from rich.progress import Progress

from benchmarks.children import BenchmarkError, Child, peak_mib, resident_mib
from benchmarks.filling import fill
from benchmarks.landed import check_events, check_windows
from benchmarks.measuring import count
from benchmarks.peers.roster import OURS
from benchmarks.reporting import Machine, at_least, machine, options, report
from benchmarks.sampling import Sample, growth_percent, table
from benchmarks.stack import Stack
from infra.local.broker import EmbeddedBroker
from spendstream.events import TokenUsage
from spendstream.ids import derived_id

_START = 1_704_067_200_000_000  # 2024-01-01T00:00:00Z
_SPAN = 30 * 86_400_000_000
_PROJECTS, _MODELS = 100, 100
_POLL_S = 0.25
_PATIENCE_S = 60.0  # without any progress


class _Report(Struct, frozen=True, kw_only=True):
    """One run. `growth_percent` is how much the resident set grew over the last third of the events."""

    machine: Machine
    keys: int
    events: int
    peak_mib: int
    growth_percent: float
    samples: Sequence[Sample]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    asked = _options(argv)
    measured = report(lambda folder, bars: _run(asked, folder, bars), _show, as_json=asked.json)
    return 0 if measured else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--keys", type=at_least(1), default=1_000_000, help="how many distinct keys")
    parser.add_argument("--events", type=at_least(1), default=2_000_000, help="how many events, in 30 days")
    return parser.parse_args(argv)


def usage(keys: int, events: int) -> Iterator[TokenUsage]:
    """Yield `events` events in the order of their times, of `keys` keys in turn."""
    for row in range(events):
        time_, key = _START + _SPAN * row // events, row % keys
        yield TokenUsage(
            id=derived_id(time_, b"memory", row),
            event_time=time_,
            source="gateway-1",
            org="acme",
            team=f"team-{key // (_PROJECTS * _MODELS)}-{key % 16}",
            project=f"project-{key // _MODELS % _PROJECTS}",
            provider="openai",
            model=f"model-{key % _MODELS}",
            input_tokens=100 + row % 900,
            output_tokens=row % 300,
            cost=1000 + row,
            list_cost=1000 + row,
        )


def _run(asked: argparse.Namespace, folder: Path, bars: Progress) -> _Report:
    with EmbeddedBroker(log=folder / "broker.log") as broker:
        cost = fill(broker.servers, usage(asked.keys, asked.events), asked.events, bars)
        with Stack(folder, broker.servers) as stack:
            [worker] = stack.start("worker")
            samples = _sampled(worker, asked.events, bars)
            peak = peak_mib(worker.pid)
            check_events(stack.clickhouse, worker.name, asked.events, cost)
            check_windows(stack.clickhouse, worker.name, asked.events, cost)
    return _Report(
        machine=machine(),
        keys=min(asked.keys, asked.events),
        events=asked.events,
        peak_mib=round(peak),
        growth_percent=growth_percent(samples),
        samples=samples,
    )


def _sampled(worker: Child, events: int, bars: Progress) -> list[Sample]:
    """Return the worker's memory over time, until it has landed all events."""
    bar = bars.add_task("worker", total=events)
    samples: list[Sample] = []
    began = moved = time.monotonic()
    landed = 0
    while landed < events:
        worker.check()
        now, before, landed = time.monotonic(), landed, count(worker.address, OURS.counter)
        samples.append(
            Sample(seconds=round(now - began, 1), events=landed, mib=round(resident_mib(worker.pid)))
        )
        bars.update(bar, completed=landed)
        if landed > before:
            moved = now
        elif now - moved > _PATIENCE_S:
            raise BenchmarkError(f"the worker: {landed:,} of {events:,} events after {_PATIENCE_S:.0f} s")
        time.sleep(_POLL_S)
    return samples


def _show(report: _Report, console: Console) -> None:
    console.print(table(report.samples, str(report.machine)))
    console.print(
        f"{report.keys:,} keys, {report.events:,} events. Peak {report.peak_mib:,} MiB; "
        f"{report.growth_percent:+.1f} % over the last third of the events."
    )


if __name__ == "__main__":
    sys.exit(main())
