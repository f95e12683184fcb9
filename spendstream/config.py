"""Configuration: read once, at the edge, from a TOML file and the environment into one frozen value.

Every field has the same name everywhere: `gateway_port` here, `gateway_port = 8080` in the file,
`SPENDSTREAM_GATEWAY_PORT=8080` in the environment. The environment beats the file; all mistakes are reported
together. A secret never shows in a repr, a log or an error.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from spendstream.errors import ConfigError

__all__ = ["ApiKey", "Config", "ProviderSettings", "Secret", "load"]

ENV_PREFIX = "SPENDSTREAM_"
FILE_VARIABLE = "SPENDSTREAM_CONFIG"

Port = Annotated[int, Meta(ge=0, le=65_535)]
Positive = Annotated[int, Meta(ge=1)]


class Secret(str):
    """A string that must not be shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(***)"


class ApiKey(Struct, frozen=True, kw_only=True):
    """A gateway key, known by the SHA-256 of its secret, and whose spend its calls are."""

    id: str
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    team: str
    org: str = ""
    project: str = ""
    environment: str = ""
    service: str = ""


class ProviderSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who runs models, and which. A simulated one runs none, and needs neither address nor key."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    kind: Literal["openai", "anthropic", "simulated"]
    base_url: str = ""
    api_key: Secret = Secret()
    models: tuple[str, ...] = ()
    timeout_s: Annotated[float, Meta(gt=0)] = 120.0
    """How long it may be silent."""
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    """How often a call that failed in passing is made again."""


class Config(Struct, frozen=True, kw_only=True):
    """Every setting, with its default. Empty `kafka` and `clickhouse` mean the embedded ones."""

    kafka: str = ""
    """Kafka's bootstrap servers, such as "broker-1:9092,broker-2:9092"."""
    clickhouse: Secret = Secret()
    """ClickHouse's HTTP address, such as "http://user:password@host:8123"."""
    data_dir: Path = Path("~/.local/share/spendstream")
    """Where the embedded parts and the spools keep their files."""
    gateway_host: str = "127.0.0.1"
    """Where the gateway listens; on any address but loopback it needs `api_keys`."""
    gateway_port: Port = 8080
    """0 takes any free port."""
    api_keys: tuple[ApiKey, ...] = ()
    """Who may call the gateway. With none, it serves loopback only and believes the caller's headers."""
    provider: tuple[ProviderSettings, ...] = ()
    """Who runs the models; of several that have the same one, the earlier is asked first. With none, a
    simulated provider answers."""
    route: tuple[dict[str, Any], ...] = ()
    """Which model answers calls for which; see docs/routing.md."""
    cache: Literal["off", "exact", "semantic"] = "off"
    """Which answers a team gets again: none, to the same request, or also to one that means the same."""
    cache_max_bytes: Positive = 256 << 20
    """How much of them a gateway keeps that has no Redis."""
    redis: Secret = Secret()
    """Redis, such as "redis://:password@host:6379/0", where gateways share limits and cached answers; with
    none each gateway has its own."""
    redis_away: Literal["fail_open", "fail_closed"] = "fail_open"
    """While Redis is away, a gateway goes by what it has seen of the limits, or refuses calls."""
    deserted_streams: Literal["abort", "drain"] = "abort"
    """What becomes of a streamed call whose client hangs up: it ends at once, and what came is counted; or
    it is read to its end, so that the provider says what it used, and charges for all of it."""
    privacy_teams: tuple[str, ...] = ()
    """Teams whose requests are masked before anybody else sees them, "*" for all; see docs/privacy.md."""
    prompt_teams: tuple[str, ...] = ()
    """Teams whose prompts are made shorter, "*" for all; see docs/prompts.md."""
    prompts: dict[str, Any] | None = None
    """How prompts are made shorter, and answers kept short; see docs/prompts.md."""
    price_file: Path | None = None
    """A TOML file of your own prices, which beat the shipped ones."""
    budget_file: Path | None = None
    """A file of budgets, which the workers watch; see docs/budgets.md."""
    admin_key_sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    """The SHA-256 of the key to the gateway's admin API, in hex; with none, that is off."""
    slack_webhook: Secret = Secret()
    """The address of a Slack incoming webhook that alerts are sent to."""
    worker_metrics_port: Port = 0
    """Where a worker answers /metrics, /health and /ready, on loopback; 0: any free port, which it prints."""
    sink_metrics_port: Port = 0
    """The same for the sinks."""
    raw_retention_days: Positive = 90
    """How long events and dead letters are kept after they arrived."""
    window_retention_days: Positive = 400
    """How long windows are kept after they arrived."""
    duplicate_horizon_s: Positive = 600
    """Ids of events younger than this are held in memory; older ones are looked up in ClickHouse."""
    allowed_lateness_s: Positive = 3600
    """Events that come later than this are counted as all others, and listed in `late_usage`."""
    events_per_record: Annotated[int, Meta(ge=1, le=10_000)] = 500
    """How many events sent together may share a record, as lines; 1 if others read the topics too."""
    spool_max_bytes: Positive = 1 << 30
    """What the gateway may owe to Kafka before it answers 503."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged, from this level up."""


def load(env: Mapping[str, str], path: Path | None = None) -> Config:
    """Return the configuration from `env` and the TOML file at `path` (or the one that `env` names).

    Raises ConfigError with one line for each unknown name or wrong value.
    """
    if path is None and FILE_VARIABLE in env:
        path = Path(env[FILE_VARIABLE])
    types = get_type_hints(Config, include_extras=True)
    given = _from_file(path) | _from_env(env)
    mistakes, values = [], {}
    for name, (raw, where) in given.items():
        if name not in types:
            mistakes.append(f"{where}: no such setting{_did_you_mean(name, types)}")
            continue
        try:
            values[name] = _convert(raw, types[name])
        except (msgspec.ValidationError, ValueError) as error:
            mistakes.append(f"{where}: {_reason(error)}")
    mistakes += _check_together(values)
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    config = Config(**values)
    return msgspec.structs.replace(config, data_dir=config.data_dir.expanduser())


def _from_file(path: Path | None) -> dict[str, tuple[Any, str]]:
    if path is None:
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration file: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    return {name: (value, f"{path}: {name}") for name, value in table.items()}


def _from_env(env: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    names = (key for key in env if key.startswith(ENV_PREFIX) and key != FILE_VARIABLE)
    return {key.removeprefix(ENV_PREFIX).lower(): (env[key], key) for key in names}


def _convert(raw: Any, kind: Any) -> Any:
    def hook(target: type, value: Any) -> Any:
        return target(value)

    return msgspec.convert(raw, kind, strict=False, dec_hook=hook)


def _check_together(values: Mapping[str, Any]) -> list[str]:
    mistakes = []
    address = urlsplit(values.get("clickhouse", ""))
    if values.get("clickhouse") and (address.scheme not in ("http", "https") or not address.hostname):
        mistakes.append("clickhouse: expected an address like http://host:8123")
    host = values.get("gateway_host", "127.0.0.1")
    if host not in ("127.0.0.1", "::1", "localhost") and not values.get("api_keys"):
        mistakes.append(
            f"gateway_host: {host} can be reached from other machines, and there are no api_keys: add some"
        )
    return mistakes


def _reason(error: Exception) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]


def _did_you_mean(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
