"""Our webhooks are those of the real Alertmanager: for the same alerts it sends what we send."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from spendstream import clock
from spendstream.alerts import Alert
from spendstream.notifications import Message, webhook_body
from tests.fixtures.alerting import MICROS, alert
from tests.fixtures.alertmanager import alertmanager, checked
from tests.fixtures.receivers import http_receiver

CONFIG = """
route:
  receiver: hook
  group_by: [alertname, team]
  group_wait: 1s
  group_interval: 1s
receivers:
  - name: hook
    webhook_configs:
      - url: "{url}"
        send_resolved: true
"""
SOON_S = 30
NOT_YET = "0001-01-01T00:00:00Z"


def sent_by_us(*alerts: Alert) -> dict[str, Any]:
    return webhook_body(Message(alerts=alerts), "hook")


async def give(http: aiohttp.ClientSession, url: str, alerts: list[dict[str, Any]]) -> None:
    """Hand alerts to Alertmanager, once it has started."""
    fields = ("labels", "annotations", "startsAt", "endsAt")
    body = [{name: each[name] for name in fields if each[name] != NOT_YET} for each in alerts]
    async with asyncio.timeout(SOON_S):
        while True:
            try:
                async with http.post(f"{url}/api/v2/alerts", json=body) as answer:
                    assert answer.status == 200, await answer.text()
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)


def shape(value: Any) -> Any:
    """Return the names and types in a body; lists have one kind of member."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return [shape(value[0])] if isinstance(value, list) else type(value).__name__


def comparable(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body without what is Alertmanager's own: addresses, fingerprints, the order of alerts."""
    alerts = [
        {name: value for name, value in each.items() if name not in ("generatorURL", "fingerprint")}
        for each in body["alerts"]
    ]
    return {
        **{name: value for name, value in body.items() if name != "externalURL"},
        "alerts": sorted(alerts, key=lambda each: each["annotations"]["summary"]),
    }


async def test_alertmanager_tells_the_same_of_the_same_alerts(tmp_path: Path) -> None:
    start = clock.now_micros() // MICROS * MICROS
    firing = [alert(n, started_at=start, scope={"team": "search", "model": 'a "b"\\'}) for n in (1, 2)]
    ended = [
        alert(n, started_at=start, scope=firing[0].scope, state="resolved", resolved_at=start + MICROS)
        for n in (1, 2)
    ]
    async with http_receiver() as receiver, aiohttp.ClientSession() as http:
        config = tmp_path / "alertmanager.yml"
        config.write_text(CONFIG.format(url=receiver.url))
        with alertmanager(config) as url:
            for number, states in enumerate((firing, ended), 1):
                ours = sent_by_us(*states)
                await give(http, url, ours["alerts"])
                async with asyncio.timeout(SOON_S):
                    theirs = await receiver.told(number)
                assert shape(theirs) == shape(ours)
                assert comparable(theirs) == comparable(ours)
                for each in (*theirs["alerts"], *ours["alerts"]):
                    assert re.fullmatch("[0-9a-f]{16}", each["fingerprint"])


@pytest.mark.parametrize("part", ["receiver: hook", "group_by"])
def test_the_configuration_that_we_compare_with_is_valid(part: str, tmp_path: Path) -> None:
    config = tmp_path / "alertmanager.yml"
    config.write_text(CONFIG.format(url="http://127.0.0.1:9/"))
    assert checked(config).returncode == 0
    config.write_text(CONFIG.format(url="http://127.0.0.1:9/").replace(part, f"no_{part}"))
    assert checked(config).returncode != 0
