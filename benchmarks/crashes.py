"""Whether everything counts once after kill -9 of anything: rounds of a replay on Apache Kafka, with crashes.

In each round one recording is replayed into an empty stack of two workers and a sink, while workers, sink,
ClickHouse and Kafka itself are killed at random moments and started again at once. Afterwards the rows, their
ids, their cost in picodollars, every size of window and every dead letter are compared with what was sent.
The moments come from a seed; what happens in between does not, so that no two rounds are alike.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.apache import ApacheKafka
from benchmarks.children import BenchmarkError
from benchmarks.crashing import PARTS, Letters, crash, plan
from benchmarks.landed import check_events, check_letters, check_windows
from benchmarks.recording import recording
from benchmarks.recovery import Kill
from benchmarks.replaying import record, replaying
from benchmarks.reporting import Machine, at_least, machine, options, report
from benchmarks.stack import Stack
from spendstream.topics import USAGE_TOKENS


class _Round(Struct, frozen=True, kw_only=True):
    """One round. `ended_by_themselves` counts by part; `wrong` says what is not as it was sent."""

    seed: str
    seconds: float
    kills: Sequence[Kill]
    ended_by_themselves: Mapping[str, int]
    letters: int
    wrong: str


class _Report(Struct, frozen=True, kw_only=True):
    """One run: `events` in each round, which cost `cost` picodollars."""

    machine: Machine
    events: int
    cost: int
    partitions: int
    rounds: Sequence[_Round]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the rounds; return the exit code, which is 1 when any number is wrong."""
    asked = _options(argv)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that the broker is away is our own doing
    measured = report(lambda folder, bars: _run(asked, folder, bars), _show, as_json=asked.json)
    return 1 if measured is None or any(each.wrong for each in measured.rounds) else 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=at_least(1), default=20, help="how many rounds")
    parser.add_argument("--events", type=at_least(1000), default=500_000, help="how many events in each")
    parser.add_argument("--kills", type=at_least(1), default=8, help="how many crashes in each")
    parser.add_argument("--seed", type=int, default=1, help="decides who is killed when")
    return parser.parse_args(argv)


def _run(asked: argparse.Namespace, folder: Path, bars: Progress) -> _Report:
    path = folder / "calls.jsonl"
    cost = record(path, recording(asked.events), asked.events, bars)
    rounds = [
        _round(path, asked.events, cost, f"{asked.seed}/{number}", asked.kills, bars)
        for number in range(1, asked.rounds + 1)
    ]
    return _Report(
        machine=machine(),
        events=asked.events,
        cost=cost,
        partitions=USAGE_TOKENS.partitions,
        rounds=rounds,
    )


def _round(path: Path, events: int, cost: int, seed: str, kills: int, bars: Progress) -> _Round:
    bar = bars.add_task(f"round {seed}", total=events)
    folder = path.parent / seed.replace("/", "-")
    with ApacheKafka(folder / "kafka") as kafka, Stack(folder, kafka.servers) as stack:
        stack.children["broker"] = kafka
        stack.start("worker-1", "worker-2", "sink")
        letters, began = Letters(kafka.servers), time.monotonic()
        with replaying(path, stack) as replay:
            crashed = asyncio.run(
                crash(
                    stack,
                    replay,
                    plan(seed, events, kills),
                    letters,
                    lambda rows: bars.update(bar, completed=min(rows, events)),
                )
            )
        return _Round(
            seed=seed,
            seconds=round(time.monotonic() - began, 1),
            kills=crashed.kills,
            ended_by_themselves=crashed.ended_by_themselves,
            letters=len(letters.sent),
            wrong=crashed.stuck or _wrong(stack.clickhouse, events, cost, letters),
        )


def _wrong(url: str, events: int, cost: int, letters: Letters) -> str:
    try:
        check_events(url, "the round", events, cost)
        check_windows(url, "the round", events, cost)
        check_letters(url, "the round", letters.sent, letters.perhaps)
    except BenchmarkError as error:
        return str(error)
    return ""


def _show(report: _Report, console: Console) -> None:
    wrong = [f"round {each.seed}: {each.wrong}" for each in report.rounds if each.wrong]
    kills = [kill for each in report.rounds for kill in each.kills]
    console.print(
        f"{len(report.rounds)} rounds of {report.events:,} events in {report.partitions} partitions, "
        f"{len(kills)} kills: {len(wrong) or 'no'} wrong"
    )
    for line in wrong:
        console.print(line, markup=False)
    table = Table(title=str(report.machine))
    table.add_column("killed")
    for name in ("times", "resumed s: median", "worst", "caught up s: median", "worst", "ended by itself"):
        table.add_column(name, justify="right")
    for part in PARTS:
        times = [kill for kill in kills if kill.part == part]
        itself = sum(each.ended_by_themselves.get(part, 0) for each in report.rounds)
        resumed = _middle_and_worst([kill.resumed for kill in times])
        caught_up = _middle_and_worst([kill.caught_up for kill in times])
        table.add_row(part, str(len(times)), *resumed, *caught_up, str(itself))
    console.print(table)
    console.print(
        "Seconds from the restart: until all partitions that waited land again, and until all that Kafka "
        "held at the restart has landed. At a replay's full speed the second is mostly work, not crash."
    )


def _middle_and_worst(seconds: Sequence[float | None]) -> tuple[str, str]:
    known = [each for each in seconds if each is not None]
    return (f"{median(known):.1f}", f"{max(known):.1f}") if known else ("", "")


if __name__ == "__main__":
    sys.exit(main())
