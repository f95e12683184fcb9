"""`spendstream record`: a topic into a file that can be replayed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from producers.interrupts import stop_on_signals
from producers.recorder import Recorded, record
from producers.streams import STREAMS
from spendstream.cli.context import kafka_servers, load_config, log_to_stderr

__all__ = ["command"]


@click.command("record")
@click.argument("topic", type=click.Choice([stream.topic.name for stream in STREAMS]))
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--from-start", is_flag=True, help="Begin with the oldest record, not with what arrives now.")
@click.option("--for", "seconds", type=click.FloatRange(min=0), help="Stop after that many seconds.")
@click.option("--count", type=click.IntRange(min=1), help="Stop after that many events.")
def command(*, topic: str, path: Path, from_start: bool, seconds: float | None, count: int | None) -> None:
    """Write the events of TOPIC to the file PATH, until Ctrl-C or as long as the options say.

    The name of PATH says the format: .jsonl, .jsonl.gz, .jsonl.zst or .parquet.
    """
    config = load_config()
    log_to_stderr(config)
    servers = kafka_servers(config)

    async def run() -> Recorded:
        with stop_on_signals() as stop:
            return await record(
                servers, topic, path, stop=stop, from_start=from_start, seconds=seconds, count=count
            )

    recorded = asyncio.run(run())
    click.echo(f"{recorded.events:,} events of {topic} recorded in {path}")
    if recorded.malformed:
        click.echo(
            f"{recorded.malformed:,} malformed records left out; the first: {recorded.first_reason}", err=True
        )
