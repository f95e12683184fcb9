"""`spendstream audit`: the gateway's audit log, and whether anybody tampered with it."""

from __future__ import annotations

from collections import deque

import click
import msgspec

from gateway.audit import audit_lines
from spendstream.audit import read_line, verify
from spendstream.cli.context import load_config
from spendstream.errors import SpendstreamError

__all__ = ["command"]

_FIXED = ("n", "at", "kind")


class Tampered(SpendstreamError):
    """The log does not hold together."""


@click.group("audit")
def command() -> None:
    """Look at the gateway's audit log, and verify it."""


@command.command("verify")
def check() -> None:
    """Verify that no entry of the log was changed, removed or added; exits with 1 if one was.

    Entries cut off at the end do not show in the log itself: compare its last seal with one noted earlier.
    """
    config = load_config()
    found = verify(audit_lines(config.data_dir / "audit"), config.key_secret)
    if found.mistakes:
        raise Tampered("\n".join(found.mistakes))
    if found.last is None:
        click.echo("the audit log is empty")
        return
    click.echo(f"{found.entries} entries hold together; the last is {found.last.n}, sealed {found.last.seal}")
    if found.unkeyed:
        click.echo(
            f"{found.unkeyed} are sealed without a key_secret: who can write the files can forge these"
        )


@command.command("list")
@click.option("--last", type=click.IntRange(1), default=100, show_default=True, help="How many entries.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one entry a line.")
def list_(*, last: int, as_json: bool) -> None:
    """List the newest entries, oldest first."""
    config = load_config()
    newest = deque(audit_lines(config.data_dir / "audit"), maxlen=last)
    for place, line in newest:
        try:
            fields = read_line(line).fields
        except ValueError as error:
            raise Tampered(f"{place}: {error}") from error
        if as_json:
            click.echo(msgspec.json.encode(fields))
        else:
            rest = " ".join(f"{name}={value}" for name, value in fields.items() if name not in _FIXED)
            click.echo(f"{fields['at']} {fields['kind']} {rest}")
