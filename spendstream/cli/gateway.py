"""`spendstream gateway`: the OpenAI-compatible proxy that meters every call."""

from __future__ import annotations

import click
import uvloop

from gateway.serve import serve
from spendstream.cli.context import kafka_servers, load_config, log_to_stderr

__all__ = ["command"]


@click.command("gateway")
def command() -> None:
    """Run the gateway: answer OpenAI's clients, and journal what each call uses and costs."""
    config = load_config()
    log_to_stderr(config)
    uvloop.run(serve(config, kafka_servers(config)))
