"""Configuration: read once, at the edge, from a TOML file and the environment into one frozen value.

Every field has the same name everywhere: `gateway_port` here, `gateway_port = 8080` in the file,
`SPENDSTREAM_GATEWAY_PORT=8080` in the environment. The environment beats the file; all mistakes are reported
together. A secret never shows in a repr, a log or an error.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from spendstream.errors import ConfigError
from spendstream.keys import ApiKey
from spendstream.mistakes import did_you_mean, mistakes
from spendstream.notifications import Channel, Route, setting_mistakes
from spendstream.secret import Secret
from spendstream.workloads.attribution import Attribution

__all__ = ["CollectorSettings", "Config", "Profile", "ProviderSettings", "Secret", "load"]

ENV_PREFIX = "SPENDSTREAM_"
FILE_VARIABLE = "SPENDSTREAM_CONFIG"
_LEAST_SECRET = 32
_HOUR_S = 3600

Port = Annotated[int, Meta(ge=0, le=65_535)]
Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Profile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a simulated model behaves: times in seconds, rate in tokens a second, errors as a share of calls.

    Of the input, `cached_input` is the share that a provider's own cache knows; before it answers, a model
    thinks for `mean_reasoning_tokens`.
    """

    time_to_first_token: Annotated[float, Meta(ge=0, le=600)]
    tokens_per_second: Annotated[float, Meta(gt=0)]
    mean_output_tokens: Annotated[int, Meta(ge=1, le=1_000_000)]
    mean_reasoning_tokens: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    cached_input: Share = 0.0
    error_rate: Share = 0.0
    """How many calls fail before their answer begins."""
    break_rate: Share = 0.0
    """How many streams break off in the middle."""


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
    profiles: Mapping[str, Profile] = {}
    """Of a simulated one: how its models behave, by name. With none, it has three that are well known."""


class CollectorSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which cluster is collected, and how; see docs/collector.md."""

    cluster: Annotated[str, Meta(max_length=512)] = ""
    """What the cluster is called in events: no two may share a name."""
    region: Annotated[str, Meta(max_length=512)] = ""
    """Where its nodes are that have no label that says so, and its control plane."""
    kubeconfig: Path | None = None
    """How to reach it from outside; with none, the collector runs in it."""
    context: str = ""
    """Which context of the kubeconfig; with none, its current one."""
    interval_s: Annotated[int, Meta(ge=5, le=3600)] = 30
    """How long a sample is, at most; an hour has to be a multiple of it."""
    usage: Literal["metrics-api", "prometheus"] = "metrics-api"
    """Where usage is read: from metrics.k8s.io, or from Prometheus, which knows GPUs and network too."""
    prometheus: Secret = Secret()
    """Its address, such as "http://prometheus.monitoring:9090"."""
    control_plane: Annotated[str, Meta(max_length=512)] = ""
    """Of which kind the control plane is, such as "eks"; with none it costs nothing."""
    traffic: Annotated[str, Meta(max_length=512)] = "zone"
    """Which traffic what pods send is taken for, by the price file: where bytes go cannot be seen."""
    price_file: Path | None = None
    """A YAML file of your own prices of nodes and other things, which beat the shipped ones."""
    attribution: Attribution = Attribution()
    """Which labels and annotations say whose a pod is."""
    metrics_host: str = "127.0.0.1"
    """Where it answers /metrics, /health and /ready: in a cluster, on "0.0.0.0"."""
    metrics_port: Port = 0
    """The port for that; 0: any free one, which it prints."""


class Config(Struct, frozen=True, kw_only=True):
    """Every setting, with its default. Empty `kafka` and `clickhouse` mean the embedded ones."""

    kafka: str = ""
    """Kafka's bootstrap servers, such as "broker-1:9092,broker-2:9092"."""
    clickhouse: Secret = Secret()
    """ClickHouse's HTTP address, such as "http://user:password@host:8123"."""
    data_dir: Path = Path("~/.local/share/spendstream")
    """Where the embedded parts and the spools keep their files."""
    gateway_host: str = "127.0.0.1"
    """Where the gateway listens; on any address but loopback it needs a `key_secret`."""
    gateway_port: Port = 8080
    """0 takes any free port."""
    api_keys: tuple[ApiKey, ...] = ()
    """Who may call the gateway, beside those with a key from the admin API; see docs/security.md."""
    key_secret: Secret = Secret()
    """What the hashes of API keys are keyed with, 32 characters or more. With it every call needs a key;
    without it the gateway serves loopback only and believes the caller's headers."""
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
    audit_calls: bool = False
    """Whether the audit log has the decision on every call, too: who, which model, and why it was refused."""
    tls_certificate: Path | None = None
    """The gateway's certificate in PEM, with those that it depends on; needs `tls_key`."""
    tls_key: Path | None = None
    """The certificate's private key in PEM, without a password."""
    slack_webhook: Secret = Secret()
    """The address of a Slack incoming webhook that alerts are sent to: a channel of the name "slack"."""
    channel: tuple[Channel, ...] = ()
    """Where alerts are sent: Slack, webhooks, PagerDuty, e-mail; see docs/alerts.md."""
    alert_route: tuple[Route, ...] = ()
    """Which alerts are sent where; with none, all of them everywhere."""
    worker_metrics_port: Port = 0
    """Where a worker answers /metrics, /health and /ready, on loopback; 0: any free port, which it prints."""
    sink_metrics_port: Port = 0
    """The same for the sinks."""
    collector: CollectorSettings = CollectorSettings()
    """Which Kubernetes cluster `spendstream collect` collects, a table in the file; see docs/collector.md."""
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
    otlp_endpoint: str = ""
    """Where an OpenTelemetry collector takes OTLP over HTTP, such as "http://collector:4318", for the traces
    of the gateway's calls; with none there are none. It takes `pip install 'spendstream[tracing]'`."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What is logged, from this level up."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """All channels for alerts, with the one that `slack_webhook` is short for."""
        return _channels(self.slack_webhook, self.channel)


def load(env: Mapping[str, str], path: Path | None = None) -> Config:
    """Return the configuration from `env` and the TOML file at `path` (or the one that `env` names).

    Raises ConfigError with one line for each unknown name or wrong value.
    """
    if path is None and FILE_VARIABLE in env:
        path = Path(env[FILE_VARIABLE])
    types = get_type_hints(Config, include_extras=True)
    given = _from_file(path) | _from_env(env)
    wrong: list[str] = []
    values = {}
    for name, (raw, where) in given.items():
        if name not in types:
            wrong.append(f"{where}: no such setting{did_you_mean(name, types)}")
        elif found := [f"{where}: {mistake}" for mistake in mistakes(raw, types[name], _convert)]:
            wrong += found
        else:
            values[name] = _convert(raw, types[name])
    wrong += _check_together(values)
    if {"slack_webhook", "channel", "alert_route"} & given.keys() <= values.keys():
        wrong += _check_channels(values)
    if wrong:
        raise ConfigError("\n".join(wrong))
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
    found = []
    address = urlsplit(values.get("clickhouse", ""))
    if values.get("clickhouse") and (address.scheme not in ("http", "https") or not address.hostname):
        found.append("clickhouse: expected an address like http://host:8123")
    collector = urlsplit(values.get("otlp_endpoint", ""))
    if values.get("otlp_endpoint") and (collector.scheme not in ("http", "https") or not collector.hostname):
        found.append("otlp_endpoint: expected an address like http://host:4318")
    found += _check_providers(values.get("provider", ()))
    found += _check_collector(values.get("collector", CollectorSettings()))
    return found + _check_keys(values) + _check_tls(values)


def _check_channels(values: Mapping[str, Any]) -> list[str]:
    channels = _channels(values.get("slack_webhook", Secret()), values.get("channel", ()))
    return list(setting_mistakes(channels, values.get("alert_route", ())))


def _channels(slack_webhook: Secret, others: tuple[Channel, ...]) -> tuple[Channel, ...]:
    slack = Channel(name="slack", kind="slack", url=slack_webhook)
    return (slack, *others) if slack_webhook else others


def _check_collector(settings: CollectorSettings) -> list[str]:
    found = []
    if _HOUR_S % settings.interval_s:
        found.append(
            f"collector: interval_s: an hour is no multiple of {settings.interval_s} s: try 30 or 60"
        )
    if settings.usage == "prometheus" and not _is_http(settings.prometheus):
        found.append("collector: prometheus: expected an address like http://prometheus:9090")
    return found


def _is_http(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none; its text may be a piece of a password with a "#" or "/"
        return False


def _check_keys(values: Mapping[str, Any]) -> list[str]:
    found = []
    host, secret = values.get("gateway_host", "127.0.0.1"), values.get("key_secret", "")
    if secret and len(secret) < _LEAST_SECRET:
        found.append(f"key_secret: expected {_LEAST_SECRET} characters or more, found {len(secret)}")
    if host not in ("127.0.0.1", "::1", "localhost") and not secret:
        found.append(
            f"gateway_host: {host} can be reached from other machines, and there is no key_secret: set one"
        )
    keys = values.get("api_keys", ())
    if keys and not secret:
        found.append("api_keys: need the key_secret that they were made with")
    ids = [key.id for key in keys]
    found += [f"api_keys: {name} is there twice" for name in sorted({i for i in ids if ids.count(i) > 1})]
    return found


def _check_tls(values: Mapping[str, Any]) -> list[str]:
    if (values.get("tls_certificate") is None) != (values.get("tls_key") is None):
        return ["tls_certificate: tls_certificate and tls_key need each other"]
    return []


def _check_providers(providers: Sequence[ProviderSettings]) -> list[str]:
    found = []
    names = [provider.name for provider in providers]
    found += [f"provider {name}: is there twice" for name in sorted({n for n in names if names.count(n) > 1})]
    for provider in providers:
        if provider.kind != "simulated" and not provider.models:
            found.append(f"provider {provider.name}: models: name at least one")
        if not provider.api_key.isascii() or not provider.api_key.isprintable():
            found.append(f"provider {provider.name}: api_key: expected printable ASCII characters only")
        found += _check_profiles(provider)
    return found


def _check_profiles(provider: ProviderSettings) -> list[str]:
    """Return the mistakes that a provider's profiles are, or that there are none for its models."""
    if not provider.profiles:
        return []
    if provider.kind != "simulated":
        return [f"provider {provider.name}: profiles: only simulated models have some"]
    return [
        f"provider {provider.name}: models: {model} has no profile"
        for model in provider.models
        if model not in provider.profiles
    ]
