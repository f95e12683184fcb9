"""Slack is told within its limits, waited for when it is busy, and never shown in an error."""

import json
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web

from sinks.slack import SlackWebhook, message
from spendstream.alerts import Alert
from spendstream.config import Secret
from spendstream.errors import TerminalError, TransientError


def alert(**changes):
    return Alert(
        **{
            "id": UUID(int=1),
            "kind": "budget_threshold",
            "state": "firing",
            "severity": "critical",
            "rule": "budget/search",
            "scope": {"team": "search"},
            "title": "Search: 100% of the budget is spent",
            "summary": "$10.00 of $10.00",
            "started_at": 1,
            **changes,
        }
    )


def test_a_message_stays_within_block_kits_limits_and_escapes_markup():
    said = message(alert(title="t" * 500, summary="<!channel> & " * 500))
    header, section, _ = said["blocks"]
    assert len(header["text"]["text"]) <= 150
    assert len(section["text"]["text"]) <= 3000
    assert "<!channel>" not in json.dumps(said)
    assert said["text"]


def test_a_resolved_alert_says_so():
    assert message(alert(state="resolved"))["text"].startswith("Resolved: ")


class FakeSlack:
    def __init__(self):
        self.answers = []
        self.got = []

    async def handle(self, request):
        self.got.append(await request.json())
        status, headers = self.answers.pop(0) if self.answers else (200, {})
        return web.Response(status=status, headers=headers, text="ok" if status == 200 else "no_service")


@pytest.fixture
async def slack():
    fake = FakeSlack()
    app = web.Application()
    app.router.add_post("/hook", fake.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = Secret(f"http://127.0.0.1:{runner.addresses[0][1]}/hook")
    yield fake
    await runner.cleanup()


async def test_a_busy_slack_says_when_to_come_back(slack):
    slack.answers = [(429, {"retry-after": "7"})]
    async with aiohttp.ClientSession() as http:
        with pytest.raises(TransientError) as busy:
            await SlackWebhook(slack.url, http).send(alert())
        assert busy.value.retry_after == 7


async def test_a_refused_message_is_not_tried_again(slack):
    slack.answers = [(404, {})]
    async with aiohttp.ClientSession() as http:
        with pytest.raises(TerminalError, match="404"):
            await SlackWebhook(slack.url, http).send(alert())


async def test_a_dead_slack_is_waited_for_and_its_address_kept_secret():
    async with aiohttp.ClientSession() as http:
        with pytest.raises(TransientError) as dead:
            await SlackWebhook(Secret("http://127.0.0.1:1/T0/secret"), http).send(alert())
    assert "secret" not in str(dead.value)
    assert dead.value.__suppress_context__


async def test_messages_go_one_a_second(slack):
    async with aiohttp.ClientSession() as http:
        webhook = SlackWebhook(slack.url, http)
        await webhook.send(alert())
        free_at = webhook.free_at
        await webhook.send(alert())
    assert len(slack.got) == 2
    assert webhook.free_at >= free_at + 1.0
