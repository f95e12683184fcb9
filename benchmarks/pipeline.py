"""How fast events get from Kafka into ClickHouse: ours, a stock Faust agent, and the limit of the client.

All peers read the same topic on the embedded broker, one after another; each has a fresh embedded ClickHouse.
Nothing else should run meanwhile: broker, ClickHouse and peer share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.children import BenchmarkError, Child
from benchmarks.landed import check_events, check_windows
from benchmarks.measuring import Figures, measure
from benchmarks.peers import OURS, PEERS, STOCK, Peer
from benchmarks.recording import recording
from infra.local.broker import EmbeddedBroker
from producers.sender import Sender
from sinks.clickhouse.migrations import migrate
from spendstream.config import Config, Secret
from spendstream.errors import SpendstreamError
from spendstream.events import TokenUsage

_CHUNK = 2000


class _Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `ratio` is our events per second over stock Faust's, both landed; None if one did not run."""

    machine: str
    cores: int
    python: str
    events: int
    peers: Sequence[Figures]
    ratio: float | None


class _Filling:
    """Moves the progress bar while the topic is filled; the sender tells it."""

    def __init__(self, bars: Progress, events: int) -> None:
        self._bars = bars
        self._bar = bars.add_task("filling the topic", total=events)

    def sent(self, events: int) -> None:
        self._bars.advance(self._bar, events)

    def waiting(self, reason: str) -> None:
        self._bars.log(reason)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    options = _options(argv)
    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=Console(stderr=True),
    )  # fmt: skip
    peers = [peer for peer in PEERS if not options.peer or peer.name in options.peer]
    try:
        with tempfile.TemporaryDirectory(prefix="spendstream-benchmark-") as folder, bars:
            figures = _run(peers, options.events, Path(folder), bars)
    except (BenchmarkError, SpendstreamError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    report = _report(options.events, figures)
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        _show(report, Console())
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000, help="how many events the topic holds")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--peer", action="append", choices=[peer.name for peer in PEERS], help="measure this one; repeatable"
    )
    return parser.parse_args(argv)


def _run(peers: Sequence[Peer], events: int, folder: Path, bars: Progress) -> list[Figures]:
    with EmbeddedBroker(log=folder / "broker.log") as broker:
        cost = asyncio.run(_fill(broker.servers, events, _Filling(bars, events)))
        return [_measured(peer, broker, events, cost, folder / peer.name, bars) for peer in peers]


async def _fill(servers: str, events: int, progress: _Filling) -> int:
    """Send the recording; return what its events cost, in picodollars."""
    cost = 0
    async with Sender(servers, progress) as sender:
        for chunk in _chunks(recording(events)):
            await sender.send(chunk)
            cost += sum(event.cost or 0 for event in chunk)
    return cost


def _chunks(events: Iterator[TokenUsage]) -> Iterator[list[TokenUsage]]:
    while chunk := list(islice(events, _CHUNK)):
        yield chunk


def _measured(
    peer: Peer, broker: EmbeddedBroker, events: int, cost: int, folder: Path, bars: Progress
) -> Figures:
    """Run one peer beside a fresh ClickHouse, and check what it landed."""
    folder.mkdir()
    wanted = min(events, peer.most_events or events)
    bar = bars.add_task(peer.title, total=wanted)
    env = {"SPENDSTREAM_KAFKA": broker.servers, "SPENDSTREAM_DATA_DIR": str(folder)}
    with _clickhouse(folder) as clickhouse:
        asyncio.run(migrate(Secret(clickhouse.address), Config()))
        env["SPENDSTREAM_CLICKHOUSE"] = clickhouse.address
        arguments = [argument.format(events=wanted) for argument in peer.arguments]
        with Child("peer", arguments, ready=peer.ready, folder=folder, env=env) as child:
            pids = {"worker": child.pid, "clickhouse": clickhouse.pid, "broker": broker.pid}
            figures = measure(
                peer.name, child, peer.counter, wanted, pids, lambda done: bars.update(bar, completed=done)
            )
        if peer.lands:
            check_events(clickhouse.address, peer.name, wanted, cost if wanted == events else None)
        if peer.windows:
            check_windows(clickhouse.address, peer.name, wanted, cost)
    return figures


def _clickhouse(folder: Path) -> Child:
    arguments = ["-m", "infra.local.clickhouse", "--data-dir", str(folder / "clickhouse"), "--port", "0"]
    return Child("clickhouse", arguments, ready=r"endpoint ready on (\S+)", folder=folder, env={})


def _report(events: int, figures: Sequence[Figures]) -> _Report:
    speeds = {figure.peer: figure.events_per_second for figure in figures}
    ours, stock = speeds.get(OURS.name), speeds.get(STOCK.name)
    return _Report(
        machine=_processor(),
        cores=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        events=events,
        peers=figures,
        ratio=round(ours / stock, 1) if ours and stock else None,
    )


def _processor() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.machine()


def _show(report: _Report, console: Console) -> None:
    titles = {peer.name: peer.title for peer in PEERS}
    table = Table(title=f"{report.cores} cores of {report.machine}, Python {report.python}")
    table.add_column("peer", overflow="fold")
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
        table.add_row(titles[figures.peer], *_cells(figures))
    console.print(table)
    console.print("µs/event is CPU time, user and system, of that process for each event.")
    if any(figures.events < report.events for figures in report.peers):
        console.print("A peer with fewer events is too slow for all of them; its figures are per event.")
    if report.ratio is not None:
        console.print(f"[bold]ours / stock Faust, both landed: {report.ratio:.1f}[/]")


def _cells(figures: Figures) -> Iterator[Any]:
    yield f"{figures.events:,}"
    yield f"{figures.events_per_second:,.0f}"
    for process in ("worker", "clickhouse", "broker"):
        yield f"{figures.cpu_us_per_event[process]:.1f}"
    yield f"{figures.peak_mib:,}"


if __name__ == "__main__":
    sys.exit(main())
