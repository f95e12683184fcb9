"""Configuration: one place for each setting, all mistakes at once, and no secret in sight."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spendstream.config import Config, Secret, load
from spendstream.errors import ConfigError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "spendstream.toml"
    path.write_text(text)
    return path


def test_without_anything_there_are_defaults() -> None:
    config = load({})
    assert (config.kafka, config.clickhouse, config.gateway_port) == ("", "", 8080)
    assert config.data_dir.is_absolute()


def test_the_environment_beats_the_file_which_beats_the_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, 'kafka = "file:1"\ngateway_port = 1\n')
    config = load({"SPENDSTREAM_GATEWAY_PORT": "2"}, path)
    assert (config.kafka, config.gateway_port, config.log_level) == ("file:1", 2, "info")


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "raw_retention_days = 3\n")
    assert load({"SPENDSTREAM_CONFIG": str(path)}).raw_retention_days == 3


KEYS = f"""
[[api_keys]]
id = "k1"
hash = "{"ab" * 32}"
team = "search"
expires_at = 2027-01-01T00:00:00Z
"""


def test_keys_come_from_the_file_with_the_secret_of_the_environment(tmp_path: Path) -> None:
    [key] = load({"SPENDSTREAM_KEY_SECRET": "s" * 32}, written(tmp_path, KEYS)).api_keys
    assert key.expires_at == datetime(2027, 1, 1, tzinfo=UTC)
    assert (key.id, key.team, key.org) == ("k1", "search", "")


def test_all_mistakes_are_told_together_each_where_it_was_made(tmp_path: Path) -> None:
    path = written(tmp_path, 'gateway_prot = 1\nraw_retention_days = 0\nlog_level = "loud"\n')
    env = {"SPENDSTREAM_GATEWAY_PORT": "high", "SPENDSTREAM_CLICKHOUSE": "host:8123", "HOME": "/root"}
    with pytest.raises(ConfigError) as caught:
        load(env, path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    for start, reason in (
        (f"{path}: gateway_prot: ", "did you mean gateway_port?"),
        (f"{path}: raw_retention_days: ", ">= 1"),
        (f"{path}: log_level: ", "'loud'"),
        ("SPENDSTREAM_GATEWAY_PORT: ", "got `str`"),
        ("clickhouse: ", "expected an address like http://host:8123"),
    ):
        [line] = [line for line in lines if line.startswith(start)]
        assert reason in line


@pytest.mark.parametrize("text", ["no toml at all", "a = 1\na = 2\n"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=rf"^{path}: not valid TOML: "):
        load({}, path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot read the configuration file: No such file"):
        load({}, tmp_path / "nowhere.toml")


def test_a_gateway_that_others_can_reach_needs_keys() -> None:
    with pytest.raises(ConfigError, match=r"gateway_host: 0\.0\.0\.0 can be reached"):
        load({"SPENDSTREAM_GATEWAY_HOST": "0.0.0.0"})  # noqa: S104  # that is the point


SECRET = "hunter2"
ADDRESS = f"http://me:{SECRET}@host:8123"


def test_a_secret_is_never_shown() -> None:
    config = load({"SPENDSTREAM_CLICKHOUSE": ADDRESS})
    assert config.clickhouse == ADDRESS
    for shown in (repr(config), f"{config!r}", repr([config.clickhouse]), repr({"a": Secret(ADDRESS)})):
        assert SECRET not in shown
        assert "Secret(***)" in shown


@pytest.mark.parametrize("address", [f"ftp://me:{SECRET}@host", f"{SECRET}@host", f"http://:{SECRET}@:1"])
def test_a_wrong_address_is_refused_without_being_repeated(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({"SPENDSTREAM_CLICKHOUSE": address})
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Config().kafka = "elsewhere"  # type: ignore[misc]  # the point of the test


def test_every_mistake_in_a_table_is_told_with_its_place(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        [[provider]]
        name = "fast"
        kind = "simulated"
        [provider.profiles."gpt-4"]
        time_to_first_token = nan
        tokens_per_second = 0
        mean_output_tokens = 20
        error_rat = 0.1
        [[provider]]
        kind = "other"
        retries = 100
        """,
    )
    with pytest.raises(ConfigError) as caught:
        load({}, path)
    assert str(caught.value).splitlines() == [
        f"{path}: provider: 1: profiles: gpt-4: time_to_first_token: expected `float` >= 0.0",
        f"{path}: provider: 1: profiles: gpt-4: tokens_per_second: expected `float` > 0.0",
        f"{path}: provider: 1: profiles: gpt-4: error_rat: no such setting; did you mean error_rate?",
        f"{path}: provider: 2: name: is missing",
        f"{path}: provider: 2: kind: invalid enum value 'other'",
        f"{path}: provider: 2: retries: expected `int` <= 10",
    ]


PROFILE = "time_to_first_token = 0.1\ntokens_per_second = inf\nmean_output_tokens = 20\nbreak_rate = 1"


def provider(kind: str, *lines: str) -> str:
    return "\n".join(
        ["[[provider]]", 'name = "p"', f'kind = "{kind}"', *lines, '[provider.profiles."m"]', PROFILE]
    )


def test_a_simulated_provider_has_the_models_of_its_profiles(tmp_path: Path) -> None:
    [found] = load({}, written(tmp_path, provider("simulated"))).provider
    assert found.profiles["m"].break_rate == 1.0
    assert found.profiles["m"].error_rate == 0.0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (provider("openai", 'models = ["m"]'), "profiles: only simulated models have some"),
        (provider("simulated", 'models = ["m", "n"]'), "models: n has no profile"),
    ],
)
def test_profiles_belong_to_simulated_models(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"^provider p: {reason}$"):
        load({}, written(tmp_path, text))


def test_mistakes_in_providers_are_told_with_their_names(tmp_path: Path) -> None:
    one = '[[provider]]\nname = "p"\nkind = "openai"\nbase_url = "http://x/v1"\n'
    path = written(tmp_path, f'{one}models = ["m"]\napi_key = "a\\nb"\n{one}')
    with pytest.raises(ConfigError) as caught:
        load({}, path)
    assert str(caught.value).splitlines() == [
        "provider p: is there twice",
        "provider p: api_key: expected printable ASCII characters only",
        "provider p: models: name at least one",
    ]


CHANNELS = """
slack_webhook = "https://hooks.slack.com/services/T0/B0/s3cr3t"

[[channel]]
name = "pager"
kind = "pagerduty"
key = "0123456789abcdef0123456789abcdef"
severities = ["critical"]

[[channel]]
name = "mail"
kind = "email"
url = "smtps://spend:s3cr3t@mail.example.com"
sender = "spend@example.com"
to = ["finops@example.com", "cfo@example.com"]
quiet_hours = { start = "20:00", end = "08:00", time_zone = "Europe/Berlin" }

[[alert_route]]
severities = ["critical"]
channels = ["pager", "slack"]

[[alert_route]]
channels = ["slack", "mail"]
"""


def test_slack_webhook_is_short_for_a_channel(tmp_path: Path) -> None:
    config = load({}, written(tmp_path, CHANNELS))
    assert [(channel.name, channel.kind) for channel in config.channels] == [
        ("slack", "slack"),
        ("pager", "pagerduty"),
        ("mail", "email"),
    ]
    assert [route.channels for route in config.alert_route] == [("pager", "slack"), ("slack", "mail")]
    assert not any(secret in repr(config) for secret in ("s3cr3t", "0123456789", "@"))


def test_mistakes_in_channels_and_routes_are_told_together_without_secrets(tmp_path: Path) -> None:
    text = CHANNELS.replace("smtps://", "https://").replace('"pager", "slack"', '"pagerr", "slack"')
    text = text.replace('kind = "pagerduty"', 'kind = "pagerduty"\nurl = "s3cr3t"')
    with pytest.raises(ConfigError) as wrong:
        load({}, written(tmp_path, text))
    assert str(wrong.value).splitlines() == [
        "channel pager: url: expected an address like https://host/path",
        "channel mail: url: expected an address like smtps://user:password@mail.example.com:465",
        "alert_route 1: there is no channel pagerr; did you mean pager?",
        "channel pager: no alert_route leads to it",
    ]


def test_a_setting_that_a_channel_has_not_is_told_with_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, CHANNELS.replace("severities", "severity", 1).replace('"mail"', '"Mail"', 1))
    with pytest.raises(ConfigError) as wrong:
        load({}, path)
    [first, second] = str(wrong.value).splitlines()
    assert first == f"{path}: channel: 1: severity: no such setting; did you mean severities?"
    assert second.startswith(f"{path}: channel: 2: name: ")


def test_the_example_in_the_docs_is_a_configuration(tmp_path: Path) -> None:
    [example] = re.findall(
        r"```toml\n(.*?)```", Path("docs/alerts.md").read_text(encoding="utf-8"), re.DOTALL
    )
    config = load({}, written(tmp_path, example))
    assert {channel.kind for channel in config.channels} == {"slack", "webhook", "pagerduty", "email"}


COLLECTOR = """
[collector]
cluster = "prod"
interval_s = 60

[collector.attribution.team]
labels = ["squad"]
default = "nobody"
"""


def test_which_cluster_is_collected_and_whose_its_pods_are_is_a_table(tmp_path: Path) -> None:
    settings = load({}, written(tmp_path, COLLECTOR)).collector
    assert (settings.cluster, settings.interval_s, settings.usage) == ("prod", 60, "metrics-api")
    assert settings.attribution.team.labels == ("squad",)
    assert settings.attribution.project.labels == ("project",)


def test_mistakes_in_the_table_of_the_collector_say_where_they_are(tmp_path: Path) -> None:
    text = '[collector]\ninterval_s = 1\nusage = "guess"\n[collector.attribution.teem]\nlabels = ["x"]\n'
    with pytest.raises(ConfigError) as caught:
        load({}, written(tmp_path, text))
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "attribution: teem: no such setting; did you mean team?" in lines[2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("interval_s = 49", "an hour is no multiple of 49 s"),
        ('usage = "prometheus"', "expected an address like"),
        (
            'usage = "prometheus"\nprometheus = "http://me:se#cret@prometheus:9090"',
            "expected an address like",
        ),
        ('usage = "prometheus"\nprometheus = "http://[::1"', "expected an address like"),
    ],
)
def test_settings_of_the_collector_that_do_not_fit_are_told(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load({}, written(tmp_path, f"[collector]\n{text}\n"))
