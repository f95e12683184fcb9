"""`spendstream alerts test` says of each channel whether it works, and exits accordingly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spendstream.cli import cli
from tests.fixtures.receivers import HttpReceiver, MailReceiver, http_receiver, mail_receiver

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as running:
        yield running


@pytest.fixture
async def mail_server() -> AsyncIterator[MailReceiver]:
    async with mail_receiver() as running:
        yield running


async def ran(config: Path, *arguments: str) -> Result:
    environment = {"SPENDSTREAM_CONFIG": str(config)}
    return await asyncio.to_thread(
        CliRunner().invoke, cli, ["alerts", "test", *arguments], env=environment, standalone_mode=False
    )


def written(directory: Path, receiver: HttpReceiver, mail_server: MailReceiver) -> Path:
    config = directory / "spendstream.toml"
    config.write_text(f"""
        slack_webhook = "{receiver.url}"
        [[channel]]
        name = "hook"
        kind = "webhook"
        url = "{receiver.url}"
        severities = ["critical"]
        [[channel]]
        name = "pager"
        kind = "pagerduty"
        url = "{receiver.url}"
        key = "{KEY}"
        [[channel]]
        name = "mail"
        kind = "email"
        url = "{mail_server.url}"
        sender = "spend@example.com"
        to = ["finops@example.com"]
    """)
    return config


async def test_every_channel_gets_an_alert_and_its_end(
    tmp_path: Path, receiver: HttpReceiver, mail_server: MailReceiver
) -> None:
    result = await ran(written(tmp_path, receiver, mail_server))
    assert result.exception is None
    assert result.stdout.splitlines() == [
        "slack (slack): has taken a test alert, and its end",
        "hook (webhook): has taken a test alert, and its end",
        "pager (pagerduty): has taken a test alert, and its end",
        "mail (email): has taken a test alert, and its end",
    ]
    assert len(receiver.taken) == 6
    actions = [body["event_action"] for body in receiver.taken if "event_action" in body]
    assert actions == ["trigger", "resolve"]
    assert [letter["Subject"][:15] for letter in mail_server.taken] == ["[info] Test: al", "[resolved] Reso"]


async def test_one_channel_may_be_chosen(
    tmp_path: Path, receiver: HttpReceiver, mail_server: MailReceiver
) -> None:
    result = await ran(written(tmp_path, receiver, mail_server), "--channel", "mail")
    assert result.stdout.splitlines() == ["mail (email): has taken a test alert, and its end"]
    assert not receiver.taken


async def test_a_channel_that_fails_is_told_with_the_reason_and_without_its_secrets(
    tmp_path: Path, receiver: HttpReceiver, mail_server: MailReceiver
) -> None:
    receiver.says = f"no_service for {KEY} at {receiver.url}"
    receiver.answers.append((404, {}))
    result = await ran(written(tmp_path, receiver, mail_server), "--channel", "pager")
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 1
    assert result.stdout == "pager (pagerduty): failed: pager answers 404: no_service for *** at ***\n"


@pytest.mark.parametrize(
    ("text", "arguments", "mistake"),
    [
        ("", (), "no channel to test: set slack_webhook, or add a [[channel]] to the configuration"),
        (
            'slack_webhook = "https://hooks.example.com/x"',
            ("--channel", "slak"),
            "there is no channel slak; did you mean slack?",
        ),
    ],
)
async def test_a_channel_that_is_not_there_is_a_mistake(
    tmp_path: Path, text: str, arguments: tuple[str, ...], mistake: str
) -> None:
    config = tmp_path / "spendstream.toml"
    config.write_text(text)
    assert str((await ran(config, *arguments)).exception) == mistake
