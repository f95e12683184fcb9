"""`spendstream replay`: recordings and traces through the pipeline."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from infra.local.stack import PIPELINE
from producers import formats
from producers.pace import MAX_SPEED
from producers.progress import told
from producers.replay import Replayed, replay, wait_until_landed
from spendstream.cli.context import load_config, log_to_stderr
from spendstream.cli.local import reach
from spendstream.clock import to_micros
from spendstream.money import format_usd
from spendstream.pricing import book_from

__all__ = ["command"]

_AUTO = "auto"
_JSON = msgspec.json.Encoder(decimal_format="number")  # exact, and a number to every reader


class _Speed(click.ParamType):
    name = "max|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if value == "max":
            return MAX_SPEED
        try:
            speed = float(str(value).removesuffix("x"))
        except ValueError:
            speed = math.nan
        if not (math.isfinite(speed) and speed > 0):
            self.fail(f"{value!r} is no speed: expected max, or a number such as 60.", param, ctx)
        return speed


class _Moment(click.ParamType):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time: expected one such as 2024-01-01T00:00:00Z.", param, ctx)
        return to_micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


@click.command("replay")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    type=click.Choice([_AUTO, *formats.FORMATS]),
    default=_AUTO,
    show_default=True,
    help="What the file is.",
)
@click.option(
    "--speed",
    type=_Speed(),
    default="max",
    show_default=True,
    help="As fast as it goes, or N times as fast as it happened.",
)
@click.option("--provider", help="Who sold the calls of a trace.  [default: openai]")
@click.option("--model", help="The model of a trace that names none.  [default: gpt-4]")
@click.option("--org", help="Whose spend a trace is taken for.")
@click.option("--team", help="Whose spend a trace is taken for.  [default: replay]")
@click.option("--project", help="Whose spend a trace is taken for.")
@click.option("--environment", help="Whose spend a trace is taken for.")
@click.option(
    "--start",
    type=_Moment(),
    help="When a trace without dates begins; UTC unless it says otherwise.  [default: 2024-01-01T00:00:00Z]",
)
@click.option("--wait", is_flag=True, help="Wait until everything has landed in ClickHouse.")
@click.option(
    "--timeout", type=click.FloatRange(min=0), default=300.0, show_default=True, help="Seconds for --wait."
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    *,
    path: Path,
    format_name: str,
    speed: float,
    wait: bool,
    timeout: float,
    as_json: bool,
    **assumptions: str | int | None,
) -> None:
    """Send the recording or trace in the file PATH through the pipeline.

    Replaying the same file with the same options again changes nothing: its events have the same ids.
    Where nothing runs, a local stack is started for the replay, which then waits until all has landed.
    """
    config = load_config()
    log_to_stderr(config)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that the broker is away, we say ourselves
    given = {name: value for name, value in assumptions.items() if value is not None}
    opened = formats.open_events(
        path, None if format_name == _AUTO else format_name, given, partial(book_from, config)
    )

    sending = partial(replay, opened.events, speed=speed, events_per_record=config.events_per_record)

    async def run() -> tuple[Replayed, bool]:
        async with reach(config, PIPELINE) as reached:
            landed = wait or reached.own is not None
            return await _run(
                sending, reached.kafka, path.name, opened.about, timeout if landed else None
            ), landed

    replayed, landed = asyncio.run(run())
    if as_json:
        summary = {"format": opened.format, **replayed.summary(), "landed": landed}
        click.echo(_JSON.encode(summary))
    else:
        click.echo(_sentence(replayed, landed=landed))


async def _run(
    sending: Callable[..., Awaitable[Replayed]],
    servers: str,
    title: str,
    about: int | None,
    timeout: float | None,
) -> Replayed:
    with told(title, about) as progress:
        replayed = await sending(servers, progress=progress)
        if timeout is not None:
            await wait_until_landed(servers, replayed.topics, timeout=timeout, progress=progress)
    return replayed


def _sentence(replayed: Replayed, *, landed: bool) -> str:
    unpriced = f", {replayed.unpriced:,} unpriced" if replayed.unpriced else ""
    return (
        f"{replayed.events:,} events {'landed' if landed else 'sent'} in {replayed.seconds:.1f} s: "
        f"{replayed.tokens['input_tokens']:,} input and {replayed.tokens['output_tokens']:,} output tokens, "
        f"{format_usd(replayed.cost)}{unpriced}"
    )
