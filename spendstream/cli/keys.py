"""`spendstream keys`: API keys for the configuration file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import msgspec

from spendstream.cli.context import load_config
from spendstream.clock import now
from spendstream.errors import ConfigError
from spendstream.keys import APIS, ApiKey, KeyHasher, new_key

__all__ = ["command"]

_NO_SECRET = (
    "key_secret is not set: hashes of keys are made with it. "  # noqa: S105 - words
    "Make one with `openssl rand -hex 32`, and keep it where the gateway finds it"
)


@click.group("keys")
def command() -> None:
    """Make API keys."""


@command.command("create")
@click.argument("key_id", metavar="ID")
@click.option("--team", required=True, help="Whose spend its calls are.")
@click.option("--org", default="")
@click.option("--project", default="")
@click.option("--environment", default="")
@click.option("--service", default="")
@click.option("--name", default="", help="What it is for.")
@click.option("--api", "apis", multiple=True, type=click.Choice(APIS), help="Only this API; repeatable.")
@click.option("--model", "models", multiple=True, help="Only models like this, such as 'gpt-4*'; repeatable.")
@click.option("--days", type=click.IntRange(1, 36_500), help="It expires after so many days.")
def create(*, key_id: str, days: int | None, **fields: object) -> None:
    """Make a key called ID; print it, which nobody can do again, and its table for the configuration file.

    The table goes to standard output and the key to standard error: `>> config.toml` keeps them apart.
    """
    config = load_config()
    if not config.key_secret:
        raise ConfigError(_NO_SECRET)
    key = new_key(key_id)
    created = now().replace(microsecond=0)
    table = {
        "id": key_id,
        "hash": KeyHasher(config.key_secret).hash(key),
        **{name: value for name, value in fields.items() if value},
        "created_at": created,
        "expires_at": created + timedelta(days=days) if days else None,
    }
    try:
        made = msgspec.convert({name: value for name, value in table.items() if value}, ApiKey)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error)) from error
    click.echo(f"The key, shown once:\n\n    {key}\n\nIts table for the configuration file:\n", err=True)
    click.echo(_toml(made))


def _toml(key: ApiKey) -> str:
    lines = ["[[api_keys]]"]
    for name in key.__struct_fields__:
        value = getattr(key, name)
        if value:
            lines.append(f"{name} = {_value(value)}")
    return "\n".join(lines)


def _value(value: object) -> str:
    """Return a value in TOML: its texts and lists of texts are JSON's."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return msgspec.json.encode(value).decode()
