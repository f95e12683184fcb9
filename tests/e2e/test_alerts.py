"""A channel that is away holds up no other, and is told all when it is back: once, in order, by any sink."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from spendstream import alerts
from spendstream.alerts import Alert
from spendstream.topics import ALERTS
from tests.fixtures.alerting import alert, resolved
from tests.fixtures.stack import BROKERS, Pipeline, kafka_of, running, until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("alerts"), pytest.mark.timeout(180)]

CONFIG = """
slack_webhook = "{talk}"

[[channel]]
name = "hook"
kind = "webhook"
url = "{hook}"
"""


class Receiver:
    """Takes what is posted to it while it is `up`, and answers 503 else."""

    def __init__(self) -> None:
        self.up = True
        self.asked = 0
        self.taken: list[dict[str, Any]] = []
        this = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                this.asked += 1
                if this.up:
                    this.taken.append(body)
                self.send_response(200 if this.up else 503)
                self.send_header("retry-after", "1")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def states(self) -> list[tuple[int, str]]:
        """Which alerts a webhook was told of, and whether they fire, in order."""
        return [
            (int(each["fingerprint"], 16), each["status"]) for body in self.taken for each in body["alerts"]
        ]


@pytest.fixture
def talk() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def hook() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(params=BROKERS)
def pipeline(
    request: pytest.FixtureRequest, talk: Receiver, hook: Receiver, tmp_path: Path
) -> Iterator[Pipeline]:
    config = tmp_path / "spendstream.toml"
    config.write_text(CONFIG.format(talk=talk.url, hook=hook.url))
    settings = {"SPENDSTREAM_CONFIG": str(config)}
    with running(tmp_path, "sink", kafka=kafka_of(request), **settings) as fresh:
        yield fresh


def tell(pipeline: Pipeline, *states: Alert) -> None:
    pipeline.send(ALERTS.name, [(state.id.bytes, alerts.encode(state)) for state in states])


def until_remembered(pipeline: Pipeline, states: int) -> None:
    """Wait until that many were said, and noted down: between the two, a crash repeats one."""
    count = "SELECT count() FROM notification FINAL"
    until(lambda: pipeline.value(count) == states, "what was said is remembered")


def test_a_channel_that_is_away_holds_up_no_other_and_is_told_all_when_it_is_back(
    pipeline: Pipeline, talk: Receiver, hook: Receiver
) -> None:
    hook.up = False
    tell(pipeline, alert(1), alert(2))
    until(lambda: talk.taken, "the other is told")
    until(lambda: hook.asked, "the one that is away is tried")
    until_remembered(pipeline, 2)
    pipeline.restart("sink")
    tell(pipeline, resolved(1), alert(3, team="chat"))
    until(lambda: len(talk.taken) == 3, "the other is told the rest")
    until(lambda: pipeline.value("SELECT count() FROM alert_raw FINAL") == 3, "alerts there")
    assert not hook.taken
    hook.up = True
    until(lambda: len(hook.states) == 4, "the one that was away is told")
    assert hook.states == [(1, "firing"), (2, "firing"), (1, "resolved"), (3, "firing")]
    until_remembered(pipeline, 8)
    assert len(talk.taken) == 3
    assert len(hook.states) == 4


def test_another_sink_says_the_rest_when_one_dies(pipeline: Pipeline, hook: Receiver) -> None:
    pipeline.start("sink-2")
    states = [alert(number, team=f"team-{number}") for number in range(1, 13)]  # a message each
    tell(pipeline, *states)
    until(lambda: len(hook.states) >= 3, "it has begun")
    pipeline.kill("sink")
    until(lambda: {number for number, _ in hook.states} == set(range(1, 13)), "all are told", 90)
    told = [number for number, _ in hook.states]
    assert list(dict.fromkeys(told)) == sorted(set(told))
    assert len(told) - len(set(told)) <= 1  # the one that was said when the sink died, if any
