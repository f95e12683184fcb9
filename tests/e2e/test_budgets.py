"""A budget that is spent is said to Slack, once for each threshold, whoever is killed meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
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

pytestmark = [pytest.mark.xdist_group("budgets"), pytest.mark.timeout(120)]

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
    settings = {"SPENDSTREAM_BUDGET_FILE": str(budgets), "SPENDSTREAM_SLACK_WEBHOOK": slack.url}
    with running(tmp_path, "worker", "sink", kafka=kafka_of(request), **settings) as fresh:
        yield fresh


def spend(pipeline: Pipeline, usd: int) -> None:
    now = now_micros()
    event = TokenUsage(
        id=new_id(now), event_time=now, source="test", team="search", model="gpt-4", cost=usd * PICO
    )
    pipeline.send(USAGE_TOKENS.name, [(b"search", TOKENS.encode(event))])


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
