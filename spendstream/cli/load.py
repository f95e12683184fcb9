"""`spendstream load`: made-up traffic for a gateway."""

from __future__ import annotations

import asyncio

import click
import msgspec

from producers.interrupts import stop_on_signals
from producers.load import Loaded, load
from producers.progress import told
from producers.traffic import calls
from spendstream import running
from spendstream.cli.context import load_config, log_to_stderr
from spendstream.config import Config
from spendstream.errors import TransientError

__all__ = ["command"]


@click.command("load")
@click.option("--url", help="The gateway.  [default: the one that runs here]")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="Calls a second, on average.",
)
@click.option("--for", "seconds", type=click.FloatRange(min=0), help="Stop after that many seconds.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same calls.")
@click.option(
    "--streams",
    type=click.FloatRange(min=0, max=1),
    default=0.25,
    show_default=True,
    help="The share of calls that are streamed.",
)
@click.option("--api-key", help="A key of the gateway; without one, headers name the teams.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    *,
    url: str | None,
    rate: float,
    seconds: float | None,
    seed: int,
    streams: float,
    api_key: str | None,
    as_json: bool,
) -> None:
    """Send made-up model calls of several teams to a gateway, until Ctrl-C or as long as --for says."""
    config = load_config()
    log_to_stderr(config)
    traffic = calls(seed, rate=rate, streams=streams)

    async def run() -> Loaded:
        with stop_on_signals() as stop, told("load", None) as progress:
            return await load(
                _address(url) if url else _gateway(config),
                traffic,
                stop=stop,
                seconds=seconds,
                api_key=api_key,
                progress=progress,
            )

    loaded = asyncio.run(run())
    click.echo(msgspec.json.encode(loaded) if as_json else _sentence(loaded))
    if loaded.calls and not loaded.succeeded:
        raise TransientError("no call succeeded")


def _gateway(config: Config) -> str:
    found = running.find(config.data_dir)
    return _address((found and found.gateway) or f"{config.gateway_host}:{config.gateway_port}")


def _address(url: str) -> str:
    """Return an address with its scheme; people and processes also name a gateway as host:port."""
    return url if "://" in url else f"http://{url}"


def _sentence(loaded: Loaded) -> str:
    outcomes = ", ".join(f"{count:,} x {what}" for what, count in (loaded.statuses | loaded.failures).items())
    times = "" if loaded.median_ms is None else f"; median {loaded.median_ms} ms, p95 {loaded.p95_ms} ms"
    return f"{loaded.calls:,} calls in {loaded.seconds:.1f} s: {outcomes or 'none'}{times}"
