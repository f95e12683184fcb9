"""How fast events get from Kafka into ClickHouse: ours, other stream processors, and the limit of the client.

All peers read the same events on the embedded broker, one after another, each with a fresh embedded
ClickHouse; and then we do once more, from records of up to 500 events, as our gateway and replay make them.
Nothing else should run meanwhile: broker, ClickHouse and peer share the machine's cores.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.children import BenchmarkError, Child
from benchmarks.filling import fill
from benchmarks.landed import check_events, check_windows
from benchmarks.measuring import Figures, measure
from benchmarks.peers.environments import ROOT, python_of
from benchmarks.peers.roster import OURS, PEERS, STOCK, Peer
from benchmarks.recording import recording
from benchmarks.reporting import Machine, at_least, machine, options, report
from benchmarks.stack import Stack
from infra.local.broker import EmbeddedBroker


class _Report(Struct, frozen=True, kw_only=True):
    """One run. `ratio` is our events per second over stock Faust's, both landed; None if one did not run.

    `skipped` says of peers that could not be installed why.
    """

    machine: Machine
    events: int
    peers: Sequence[Figures]
    skipped: Mapping[str, str]
    ratio: float | None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    asked = _options(argv)
    peers = [peer for peer in PEERS if not asked.peer or peer.name in asked.peer]
    measured = report(lambda folder, bars: _run(peers, asked.events, folder, bars), _show, as_json=asked.json)
    return 0 if measured else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--events", type=at_least(1), default=200_000, help="how many events the topic holds")
    parser.add_argument(
        "--peer", action="append", choices=[peer.name for peer in PEERS], help="measure this one; repeatable"
    )
    return parser.parse_args(argv)


def _run(peers: Sequence[Peer], events: int, folder: Path, bars: Progress) -> _Report:
    pythons, skipped = _pythons(peers)
    figures: list[Figures] = []
    for shared, group in groupby(
        [peer for peer in peers if peer.name in pythons], attrgetter("events_per_record")
    ):
        with EmbeddedBroker(log=folder / f"broker-{shared}.log") as broker:
            cost = fill(broker.servers, recording(events), events, bars, events_per_record=shared)
            figures += [
                _measured(peer, pythons[peer.name], broker, events, cost, folder / peer.name, bars)
                for peer in group
            ]
    return _report(events, figures, skipped)


def _pythons(peers: Sequence[Peer]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the Python of each peer that can run, and why the others cannot."""
    pythons, skipped = {}, {}
    for peer in peers:
        try:
            pythons[peer.name] = python_of(peer.environment) if peer.environment else sys.executable
        except BenchmarkError as error:
            skipped[peer.name] = str(error)
    return pythons, skipped


def _measured(
    peer: Peer,
    python: str,
    broker: EmbeddedBroker,
    events: int,
    cost: int,
    folder: Path,
    bars: Progress,
) -> Figures:
    """Run one peer beside a fresh ClickHouse, and check what it landed."""
    wanted = min(events, peer.most_events or events)
    bar = bars.add_task(peer.title, total=wanted)
    with Stack(folder, broker.servers) as stack:
        with _peer(peer, python, stack, wanted) as child:
            pids = {"worker": child.pid, "clickhouse": stack.children["clickhouse"].pid, "broker": broker.pid}
            figures = measure(
                peer.name, child, peer.counter, wanted, pids, lambda done: bars.update(bar, completed=done)
            )
        if peer.lands:
            check_events(stack.clickhouse, peer.name, wanted, cost if wanted == events else None)
        if peer.windows:
            check_windows(stack.clickhouse, peer.name, wanted, cost)
    return figures


def _peer(peer: Peer, python: str, stack: Stack, events: int) -> Child:
    arguments = [argument.format(events=events) for argument in peer.arguments]
    path = {"PYTHONPATH": str(ROOT)} if peer.environment else {}
    return Child(
        "peer",
        arguments,
        ready=peer.ready,
        folder=stack.folder,
        env={**stack.environment, **path},
        program=python,
    )


def _report(events: int, figures: Sequence[Figures], skipped: Mapping[str, str]) -> _Report:
    speeds = {figure.peer: figure.events_per_second for figure in figures}
    ours, stock = speeds.get(OURS.name), speeds.get(STOCK.name)
    return _Report(
        machine=machine(),
        events=events,
        peers=figures,
        skipped=skipped,
        ratio=round(ours / stock, 1) if ours and stock else None,
    )


def _show(report: _Report, console: Console) -> None:
    titles = {peer.name: peer.title for peer in PEERS}
    table = Table(title=str(report.machine))
    table.add_column("peer", no_wrap=True)
    for name in (
        "events",
        "events/s",
        "worker µs/event",
        "ClickHouse µs/event",
        "broker µs/event",
        "peak MiB",
    ):
        table.add_column(name, justify="right")
    for figures in report.peers:
        table.add_row(figures.peer, *_cells(figures))
    console.print(table)
    for figures in report.peers:
        console.print(f"{figures.peer}: {titles[figures.peer]}", highlight=False)
    console.print("µs/event is CPU time, user and system, of that process for each event.")
    if any(figures.events < report.events for figures in report.peers):
        console.print("A peer with fewer events is too slow for all of them; its figures are per event.")
    for name, reason in report.skipped.items():
        console.print(f"Skipped {name}: {reason}", markup=False)
    if report.ratio is not None:
        console.print(f"[bold]ours / stock Faust, both landed: {report.ratio:.1f}[/]")


def _cells(figures: Figures) -> Iterator[str]:
    yield f"{figures.events:,}"
    yield f"{figures.events_per_second:,.0f}"
    for process in ("worker", "clickhouse", "broker"):
        yield f"{figures.cpu_us_per_event[process]:.1f}"
    yield f"{figures.peak_mib:,}"


if __name__ == "__main__":
    sys.exit(main())
