"""`spendstream alerts`: whether the channels for alerts work."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import click

from sinks.notifiers.trying import try_out
from spendstream.cli.context import load_config
from spendstream.errors import ConfigError
from spendstream.mistakes import did_you_mean
from spendstream.notifications import Channel

__all__ = ["command"]


@click.group("alerts")
def command() -> None:
    """Try out the channels that alerts are sent to."""


@command.command("test")
@click.option("--channel", "only", metavar="NAME", help="Only this one; without it, all channels.")
def _test(only: str | None) -> None:
    """Send an alert that is only a test, and its end, and say for each channel what happened.

    Quiet hours, severities and routes are not asked. Exits with 1 if a channel did not take it.
    """
    channels = _wanted(load_config().channels, only)
    failures = asyncio.run(try_out(channels))
    for channel in channels:
        failure = failures.get(channel.name)
        said = f"failed: {failure}" if failure else "has taken a test alert, and its end"
        click.echo(f"{channel.name} ({channel.kind}): {said}")
    if failures:
        sys.exit(1)


def _wanted(channels: Sequence[Channel], only: str | None) -> Sequence[Channel]:
    if not channels:
        raise ConfigError("no channel to test: set slack_webhook, or add a [[channel]] to the configuration")
    wanted = [channel for channel in channels if only in (None, channel.name)]
    if not wanted:
        names = [channel.name for channel in channels]
        raise ConfigError(f"there is no channel {only}{did_you_mean(str(only), names)}")
    return wanted
