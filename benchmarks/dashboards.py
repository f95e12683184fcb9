"""How long dashboards wait: each panel's answer over ten million calls, and each page with all of its panels.

A panel is asked by itself, and a page as the console asks it, four panels at a time. The time is the best of
several runs; CPU is ClickHouse's, on average, and does not mind what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from clickhouse_connect.driver.asyncclient import AsyncClient
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.children import BenchmarkError, Child, cpu_seconds, free_port
from benchmarks.dashboard_rows import DAYS, fill
from benchmarks.reporting import Machine, at_least, machine, options, report
from dashboards.answers import ask
from dashboards.catalogue import DASHBOARDS
from dashboards.console.ranges import time_range
from dashboards.panel import Dashboard, Panel
from sinks.clickhouse.callers import add_up_days
from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.tables import Tables
from spendstream.adapters.clickhouse import connect
from spendstream.config import Config, Secret
from spendstream.queries import RECONCILE, miscounted

_AT_ONCE = 4
_RANGES = ("now-24h", "now-30d")
_LONGEST_MS = 300


class _Waited(Struct, frozen=True, kw_only=True):
    """How long an answer took over a range, in milliseconds; `question` is empty for a whole page."""

    page: str
    question: str
    since: str
    milliseconds: float
    cpu_milliseconds: float


class _Report(Struct, frozen=True, kw_only=True):
    """One run; the calls became so many rows of `windows`."""

    machine: Machine
    events: int
    windows: int
    answers: Sequence[_Waited]


def main() -> int:
    """Run, and return 1 if the overview takes too long."""
    parser = options(__doc__)
    parser.add_argument("--events", type=at_least(1000), default=10_000_000, help="calls; 10,000,000")
    parser.add_argument("--runs", type=at_least(1), default=5, help="how often each is asked; 5")
    given = parser.parse_args()
    measured = report(lambda folder, bars: _measured(folder, bars, given), _show, as_json=given.json)
    if measured is None:
        return 1
    pages = [each for each in measured.answers if not each.question and each.page == DASHBOARDS[0].title]
    return int(any(each.milliseconds > _LONGEST_MS for each in pages))


def _measured(folder: Path, bars: Progress, given: argparse.Namespace) -> _Report:
    data, port = str(folder / "clickhouse"), str(free_port())
    arguments = ["-m", "infra.local.clickhouse", "--data-dir", data, "--port", port]
    with Child("clickhouse", arguments, ready=r"endpoint ready on (\S+)", folder=folder, env={}) as server:
        return asyncio.run(_asked(server, bars, given))


async def _asked(server: Child, bars: Progress, given: argparse.Namespace) -> _Report:
    url = Secret(server.address)
    await migrate(url, Config())
    now = int(time.time() * 1_000_000)
    filling = bars.add_task("filling", total=given.events)
    await fill(url, now, given.events, lambda rows: bars.advance(filling, rows))
    await _add_up(url, now)
    client = await connect(url)
    try:
        if wrong := miscounted((await client.query(RECONCILE)).result_rows):
            raise BenchmarkError(f"windows do not hold what the rows do: {wrong}")
        [[windows]] = (await client.query("SELECT count() FROM cost_window_state")).result_rows
        asked = bars.add_task("asking", total=len(DASHBOARDS) * len(_RANGES))
        answers: list[_Waited] = []
        for board in DASHBOARDS:
            for since in _RANGES:
                answers += await _page(client, server.pid, board, since, now // 1000, given.runs)
                bars.advance(asked)
    finally:
        await client.close()
    return _Report(machine=machine(), events=given.events, windows=windows, answers=answers)


async def _add_up(url: Secret, now: int) -> None:
    """Add up the days of callers, as the sinks do once a minute."""
    tables = Tables(url)
    try:
        await add_up_days(tables, now)
    finally:
        await tables.close()


async def _page(
    client: AsyncClient, server: int, board: Dashboard, since: str, now: int, runs: int
) -> list[_Waited]:
    """Return how long a page took, and each of its panels by itself."""
    panels = [panel for panel in board.panels if panel.sql]

    async def answered(panel: Panel) -> None:
        await ask(client, panel.sql, time_range(since, "now", now, 120, panel.step), {})

    async def together() -> None:
        turn = asyncio.Semaphore(_AT_ONCE)

        async def in_turn(panel: Panel) -> None:
            async with turn:
                await answered(panel)

        await asyncio.gather(*map(in_turn, panels))

    found = [await _timed(together, server, runs)]
    found += [await _timed(lambda panel=panel: answered(panel), server, runs) for panel in panels]
    return [
        _Waited(page=board.title, question=question, since=since, milliseconds=took, cpu_milliseconds=cpu)
        for question, (took, cpu) in zip(["", *(panel.title for panel in panels)], found, strict=True)
    ]


async def _timed(action: Callable[[], Awaitable[None]], server: int, runs: int) -> tuple[float, float]:
    """Return the shortest time of several runs, and the server's CPU of one on average; in milliseconds."""
    best, before = float("inf"), cpu_seconds(server)
    for _ in range(runs):
        began = time.perf_counter()
        await action()
        best = min(best, time.perf_counter() - began)
    return round(best * 1000, 1), round((cpu_seconds(server) - before) * 1000 / runs, 1)


def _show(measured: _Report, console: Console) -> None:
    title = f"{measured.events:,} calls in {DAYS} days, {measured.windows:,} windows; {measured.machine}"
    table = Table("page", "question", "24 hours, ms", "CPU", "30 days, ms", "CPU", title=title)
    by_since = [[each for each in measured.answers if each.since == since] for since in _RANGES]
    for day, month in zip(*by_since, strict=True):
        figures = (day.milliseconds, day.cpu_milliseconds, month.milliseconds, month.cpu_milliseconds)
        words = (day.page, day.question) if day.question else (f"[bold]{day.page}[/]", "[bold]all[/]")
        table.add_row(*words, *(f"{figure:,.0f}" for figure in figures))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
