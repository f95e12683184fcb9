"""`spendstream up`: the whole pipeline on one machine, and a live view of it."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.live import Live

from infra.local.readings import Reader, Reading, patient_reading
from infra.local.stack import GATEWAY, LOAD, Stack
from infra.local.view import line, picture
from spendstream.cli.context import load_config, log_to_stderr
from spendstream.errors import SpendstreamError

__all__ = ["command"]

_PERIOD_S = 1.0
_LINES_EVERY_S = 5.0
_TRIES = 20
_UNITS = {"s": 1, "m": 60, "h": 3600}


class CheckFailed(SpendstreamError):
    """What landed is not what was sent."""


class _Duration(click.ParamType):
    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", str(value))
        if not match:
            self.fail(f"expected a duration like 20s, 5m or 1h, found {value!r}.", param, ctx)
        return float(match[1]) * _UNITS[match[2] or "s"]


@click.command("up")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Where files are kept.")
@click.option("--no-load", is_flag=True, help="Do not make up any traffic.")
@click.option("--for", "seconds", type=_Duration(), help="Stop after this long, such as 20s.")
@click.option("--check", is_flag=True, help="At the end, check that all that was sent has landed, once.")
def command(*, data_dir: Path | None, no_load: bool, seconds: float | None, check: bool) -> None:
    """Run everything on this machine, and watch spend arrive.

    Broker, ClickHouse, gateway, worker, sinks, console and a load generator run as processes of their own.
    SPENDSTREAM_KAFKA and SPENDSTREAM_CLICKHOUSE take the place of the embedded ones.
    """
    config = load_config()
    if data_dir is not None:
        config = msgspec.structs.replace(config, data_dir=data_dir.resolve())
    log_to_stderr(config)

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        console = Console()
        with console.status(
            "starting the broker, ClickHouse, the gateway, the worker, the sinks and the console …"
        ):
            stack = Stack(config, GATEWAY if no_load else LOAD)
            await stack.__aenter__()
        async with AsyncExitStack() as cleanup:
            cleanup.push_async_exit(stack.__aexit__)
            reader = Reader(stack)
            cleanup.push_async_callback(reader.close)
            before = await reader.read()
            await _watch(console, stack, reader, stop, seconds)
            console.print("stopping: sending ends, what was sent lands, then the rest …")
            if check:
                await _check(console, stack, reader, before)
        console.print("stopped; nothing was lost" if not stack.failed.done() else "stopped")

    asyncio.run(run())


async def _watch(
    console: Console, stack: Stack, reader: Reader, stop: asyncio.Event, seconds: float | None
) -> None:
    """Show readings until it is time to stop, or raise what made the stack fail."""
    began = time.monotonic()
    addresses = _addresses(stack)
    for name, where in addresses.items():
        console.print(f"[dim]{name:>10}[/]  {where}")
    stopping = asyncio.create_task(stop.wait())
    live = Live(console=console, auto_refresh=False, transient=False) if sys.stdout.isatty() else None
    said = began - _LINES_EVERY_S
    with live or console:
        while not stopping.done() and (seconds is None or time.monotonic() - began < seconds):
            reading = await patient_reading(reader)
            if reading and live:
                live.update(picture(reading, addresses, stack.restarts), refresh=True)
            elif reading and time.monotonic() - said >= _LINES_EVERY_S:
                said = time.monotonic()
                console.print(line(reading, said - began), soft_wrap=True)
            waiting: list[asyncio.Future[Any]] = [stopping, stack.failed]
            await asyncio.wait(waiting, timeout=_PERIOD_S, return_when=asyncio.FIRST_COMPLETED)
            if stack.failed.done():
                stack.failed.result()
    stopping.cancel()


def _addresses(stack: Stack) -> dict[str, str]:
    gateway = stack.address("gateway")
    return {
        "console": stack.address("console"),
        "gateway": f"{gateway}/v1" if gateway else "",
        "clickhouse": stack.clickhouse.rsplit("@", 1)[-1],
        "kafka": stack.kafka,
    }


async def _check(console: Console, stack: Stack, reader: Reader, before: Reading) -> None:
    """Compare what the gateway emitted with what landed, and windows with rows; raise CheckFailed."""
    await stack.stop_load()
    for _ in range(_TRIES):  # calls under way still end, and their events still land
        if not await stack.drained():
            raise CheckFailed("what was sent has not landed within a minute")
        reading, wrong = await reader.read(), await reader.miscounted()
        sent, landed = reading.emitted, reading.events - before.events
        if sent == landed and sent > 0 and not wrong:
            break
        await asyncio.sleep(_PERIOD_S)
    else:
        raise CheckFailed(
            f"sent {sent:,} events, landed {landed:,}; windows that miscount: {wrong or 'none'}"
        )
    console.print(f"checked: {sent:,} events sent, {landed:,} landed, every window counts each of them once")
