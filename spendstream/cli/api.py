"""`spendstream api`: the console, which shows dashboards in a browser."""

from __future__ import annotations

import click
import uvloop

from dashboards.console.serve import serve
from spendstream.cli.context import clickhouse_url, load_config, log_to_stderr

__all__ = ["command"]


@click.command("api")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8090,
    show_default=True,
    help="Where it listens, on loopback; 0: any free port.",
)
def command(*, port: int) -> None:
    """Run the console: dashboards in a browser, from the configured ClickHouse. It only reads."""
    config = load_config()
    log_to_stderr(config)
    uvloop.run(serve(clickhouse_url(config), port))
