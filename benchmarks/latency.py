"""How long after the gateway's reply a call can be queried, while other events flow at a given rate.

The local stack runs in full: embedded broker, ClickHouse, worker, sink and gateway. Every 200 ms a call goes
through the gateway; the time from the end of its reply until a query of ClickHouse shows its row is measured.
The rate beside it comes straight from a replay, as a load of thousands of calls a second would take more CPU
than what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.children import BenchmarkError, Child
from benchmarks.recording import recording
from benchmarks.replaying import record, replaying
from benchmarks.reporting import Machine, at_least, machine, options, report
from benchmarks.stack import Stack
from infra.local.broker import EmbeddedBroker
from sinks.clickhouse.tables import Tables
from spendstream.clock import now_micros
from spendstream.config import Secret

_TEAM = "latency-probe"
_EVERY_S = 0.2
_POLL_S = 0.05  # each look is a query, and costs the machine what it measures
_WARM_UP_S = 3.0
_PATIENCE_S = 60.0
_START_UP_S = 20  # of the stack: the recording's events happen from then on, so that they are of now
_MICROS = 1_000_000
_SHARES = (0.5, 0.9, 0.99, 1.0)


class _Report(Struct, frozen=True, kw_only=True):
    """One run. Latencies are in milliseconds, by share of the calls; rates are in events per second."""

    machine: Machine
    asked_rate: int
    landed_rate: int
    calls: int
    milliseconds: dict[str, int]
    poll_milliseconds: float


class _Probe:
    """Calls the gateway, and looks when each call's row is there."""

    def __init__(self, gateway: str, tables: Tables, http: aiohttp.ClientSession) -> None:
        self.latencies: list[float] = []
        self._url = f"{gateway}/v1/chat/completions"
        self._tables = tables
        self._http = http
        self._replied: dict[str, float] = {}
        self._polls: list[float] = []

    @property
    def poll_ms(self) -> float:
        """How far apart the looks were, on average: what a latency may be too long by."""
        return round(1000 * sum(self._polls) / max(len(self._polls), 1), 1)

    async def run(self, seconds: float, calling: Progress) -> None:
        """Call for so many seconds, and wait until all calls are there."""
        bar = calling.add_task("calls", total=round(seconds / _EVERY_S))
        looking = asyncio.create_task(self._look_on())
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(round(seconds / _EVERY_S)):
                    group.create_task(self._call(f"probe-{number}"))
                    calling.advance(bar)
                    await asyncio.sleep(_EVERY_S)
            async with asyncio.timeout(_PATIENCE_S):
                while self._replied:
                    await asyncio.sleep(_POLL_S)
                    if looking.done():
                        looking.result()
        except TimeoutError as error:
            raise BenchmarkError(
                f"{len(self._replied)} calls were not to be seen after {_PATIENCE_S:.0f} s"
            ) from error
        finally:
            looking.cancel()

    async def _call(self, user: str) -> None:
        body = {
            "model": "claude-haiku",
            "messages": [{"role": "user", "content": "How much do I spend?"}],
            "max_tokens": 5,
        }
        headers = {"x-spendstream-team": _TEAM, "x-spendstream-user": user}
        async with self._http.post(self._url, json=body, headers=headers) as reply:
            await reply.read()
        self._replied[user] = time.monotonic()

    async def _look_on(self) -> None:
        seen: set[str] = set()
        while True:
            began = time.monotonic()
            rows = await self._tables.rows(
                f"SELECT user FROM token_usage WHERE team = '{_TEAM}' AND event_time > now() - 120"
            )
            now = time.monotonic()
            seen.update(user for (user,) in rows)
            for user in [user for user in self._replied if user in seen]:
                self.latencies.append(now - self._replied.pop(user))
            await asyncio.sleep(_POLL_S)
            self._polls.append(time.monotonic() - began)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    asked = _options(argv)
    measured = report(lambda folder, bars: _run(asked, folder, bars), _show, as_json=asked.json)
    return 0 if measured else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--rate", type=at_least(1), default=5000, help="events a second beside the calls")
    parser.add_argument("--for", dest="seconds", type=at_least(1), default=30, help="seconds of calls")
    return parser.parse_args(argv)


def _run(asked: argparse.Namespace, folder: Path, bars: Progress) -> _Report:
    path = folder / "calls.jsonl"
    seconds = asked.seconds + 3 * _WARM_UP_S  # so that the replay outlasts the calls
    events = round(asked.rate * seconds)
    usage = recording(events, start=now_micros() + _START_UP_S * _MICROS, span=round(seconds * _MICROS))
    record(path, usage, events, bars)
    with (
        EmbeddedBroker(log=folder / "broker.log") as broker,
        Stack(folder / "stack", broker.servers) as stack,
    ):
        _, _, gateway = stack.start("worker", "sink", "gateway")
        with replaying(path, stack, "--speed", "1") as replay:
            return asyncio.run(_measured(asked, stack, gateway.address, replay, bars))


async def _measured(
    asked: argparse.Namespace, stack: Stack, gateway: str, replay: Child, bars: Progress
) -> _Report:
    async with _tables(stack) as tables, aiohttp.ClientSession() as http:
        await _warm_up(tables, replay)
        probe = _Probe(gateway, tables, http)
        rows, began = await _rows(tables), time.monotonic()
        await probe.run(asked.seconds, bars)
        landed = (await _rows(tables) - rows) / (time.monotonic() - began)
    shown = sorted(probe.latencies)
    return _Report(
        machine=machine(),
        asked_rate=asked.rate,
        landed_rate=round(landed),
        calls=len(shown),
        milliseconds={_name(share): round(1000 * _quantile(shown, share)) for share in _SHARES},
        poll_milliseconds=probe.poll_ms,
    )


@asynccontextmanager
async def _tables(stack: Stack) -> AsyncIterator[Tables]:
    tables = Tables(Secret(stack.clickhouse))
    try:
        yield tables
    finally:
        await tables.close()


async def _warm_up(tables: Tables, replay: Child) -> None:
    """Wait until the replay lands, and then some seconds more: the first blocks are no steady state."""
    async with asyncio.timeout(_PATIENCE_S):
        while not await _rows(tables):
            if replay.ended:
                replay.check()
            await asyncio.sleep(_POLL_S)
    await asyncio.sleep(_WARM_UP_S)


async def _rows(tables: Tables) -> int:
    [[rows]] = await tables.rows("SELECT count() FROM token_usage_raw")
    return int(rows)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Return the least value that `share` of all do not exceed."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def _name(share: float) -> str:
    return "max" if share == 1 else f"p{100 * share:.0f}"


def _show(report: _Report, console: Console) -> None:
    table = Table(title=str(report.machine))
    for name in ("events/s asked", "events/s landed", "calls", *report.milliseconds):
        table.add_column(name, justify="right")
    table.add_row(
        f"{report.asked_rate:,}",
        f"{report.landed_rate:,}",
        str(report.calls),
        *(f"{milliseconds:,} ms" for milliseconds in report.milliseconds.values()),
    )
    console.print(table)
    console.print(
        f"From the end of the gateway's reply until the row can be queried; looked at every "
        f"{report.poll_milliseconds:.0f} ms, which is included."
    )


if __name__ == "__main__":
    sys.exit(main())
