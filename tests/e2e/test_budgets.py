"""A budget that is spent is said to Slack, soon, and once for each threshold, whoever is killed meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from spendstream.clock import now_micros
from spendstream.codec import TOKENS
from spendstream.events import TokenUsage
from spendstream.ids import new_id
from spendstream.money import PICO
from spendstream.topics import USAGE_TOKENS
from tests.fixtures.stack import BROKERS, Pipeline, kafka_of, running, until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("budgets"), pytest.mark.timeout(120)]

BUDGETS = """
[[budgets]]
id = "search"
name = "Search"
scope = { team = "search" }
amount = "10 USD"
period = "month"
burn_rate = false
forecast = false
"""


ADMIN_KEY = "of-the-admin"
SOON_S = 5  # from an event to the message


class Slack:
    """A Slack that listens on loopback, and remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        said = self.said

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["text"])
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def told(self, words: str) -> int:
        return sum(words in text for text in self.said)


@pytest.fixture
def slack() -> Iterator[Slack]:
    fake = Slack()
    yield fake
    fake.close()


@pytest.fixture(params=BROKERS)
def pipeline(request: pytest.FixtureRequest, slack: Slack, tmp_path: Path) -> Iterator[Pipeline]:
    budgets = tmp_path / "budgets.toml"
    budgets.write_text(BUDGETS)
    settings = {
        "SPENDSTREAM_BUDGET_FILE": str(budgets),
        "SPENDSTREAM_SLACK_WEBHOOK": slack.url,
        "SPENDSTREAM_ADMIN_KEY_SHA256": sha256(ADMIN_KEY.encode()).hexdigest(),
    }
    with running(tmp_path, "worker", "sink", kafka=kafka_of(request), **settings) as fresh:
        yield fresh


def spend(pipeline: Pipeline, usd: int, team: str = "search") -> None:
    now = now_micros()
    event = TokenUsage(
        id=new_id(now), event_time=now, source="test", team=team, model="gpt-4", cost=usd * PICO
    )
    pipeline.send(USAGE_TOKENS.name, [(team.encode(), TOKENS.encode(event))])


def administer(pipeline: Pipeline, method: str, budget: str, **version: object) -> int:
    """Ask the admin API of the gateway; return the status."""
    connection = HTTPConnection(pipeline.gateway.removeprefix("http://"), timeout=30)
    try:
        connection.request(
            method,
            f"/admin/budgets/{budget}",
            json.dumps({"versions": [version]}),
            {"authorization": f"Bearer {ADMIN_KEY}"},
        )
        return connection.getresponse().status
    finally:
        connection.close()


def set_budget(pipeline: Pipeline, team: str, amount: str) -> None:
    """Set the budget of a team, of which only its end is told; wait for a gateway that is not ready yet."""
    version = {"amount": amount, "period": "month", "scope": {"team": team}, "thresholds": [100]}
    quiet = {"burn_rate": False, "forecast": False}
    until(lambda: administer(pipeline, "PUT", team, **version, **quiet) == 200, f"budget of {team} set")


def until_remembered(pipeline: Pipeline, messages: int) -> None:
    """Wait until that many messages were sent, and noted down: between the two, a crash repeats one."""
    count = "SELECT count() FROM notification FINAL"
    until(lambda: pipeline.value(count) == messages, f"{messages} messages sent")


def test_every_threshold_is_said_once_though_worker_and_sink_are_killed(
    pipeline: Pipeline, slack: Slack
) -> None:
    spend(pipeline, 6)
    until_remembered(pipeline, 1)
    pipeline.restart("worker", "sink")
    spend(pipeline, 3)
    until_remembered(pipeline, 2)
    pipeline.restart("sink")
    spend(pipeline, 3)
    until_remembered(pipeline, 3)
    until(lambda: pipeline.value("SELECT count() FROM alert WHERE state = 'firing'") == 3, "alerts there")
    assert [slack.told(share) for share in ("50%", "80%", "100%")] == [1, 1, 1]
    assert len(slack.said) == 3


def test_a_breach_is_told_soon_and_over_once_the_budget_is_raised_or_deleted(
    pipeline: Pipeline, slack: Slack
) -> None:
    pipeline.start("gateway")
    set_budget(pipeline, "support", "10 USD")
    spend(pipeline, 1, "support")
    until(lambda: pipeline.value("SELECT count() FROM token_usage") == 1, "the pipeline runs")
    spend(pipeline, 20, "support")
    until(lambda: slack.told("support: 100%"), "breach told", SOON_S)
    set_budget(pipeline, "support", "100 USD")
    until(lambda: slack.told("Resolved: support"), "end told", SOON_S)
    until_remembered(pipeline, 2)
    pipeline.restart("worker", "sink")
    set_budget(pipeline, "sales", "10 USD")
    spend(pipeline, 20, "sales")
    until_remembered(pipeline, 3)
    assert administer(pipeline, "DELETE", "sales") == 204
    until(lambda: slack.told("Resolved: sales"), "end told", SOON_S)
    assert [text.partition(" of the budget")[0] for text in slack.said] == [
        "support: 100%",
        "Resolved: support: 100%",
        "sales: 100%",
        "Resolved: sales: 100%",
    ]
