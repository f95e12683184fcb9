"""What is said fits its channel's rules, and shows neither markup nor secrets."""

from __future__ import annotations

import json
import re
from email import message_from_bytes, policy
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from spendstream.notifications import (
    Message,
    mail,
    pagerduty_body,
    redacted,
    slack_body,
    webhook_body,
)
from tests.fixtures.alerting import CHANNELS, INTEGRATION_KEY, MICROS, alert, resolved

ONE = Message(alerts=(alert(1),))
SEVERAL = Message(alerts=(alert(1), resolved(2), alert(3, kind="budget_threshold")))
DIGEST = Message(alerts=(alert(1), resolved(2, team="chat")), digest=True)
NOON = 1_800_000_000 * MICROS

words = st.text(max_size=4_000)
about = st.builds(
    lambda number, title, summary, scope, over: (resolved if over else alert)(
        number, title=title, summary=summary, scope=scope
    ),
    st.integers(1, 1 << 120), words, words,
    st.dictionaries(st.sampled_from(["team", "model"]), words), st.booleans(),
)  # fmt: skip
messages = st.builds(
    lambda alerts, digest: Message(alerts=tuple(alerts), digest=digest),
    st.lists(about, min_size=1, max_size=20, unique_by=lambda each: each.id),
    st.booleans(),
)


def texts(value: Any) -> list[str]:
    """Return every text in a message for Slack."""
    if isinstance(value, dict):
        return [found for name, each in value.items() if name != "type" for found in texts(each)]
    if isinstance(value, list):
        return [found for each in value for found in texts(each)]
    return [value]


class TestSlack:
    @pytest.mark.parametrize("message", [ONE, SEVERAL, DIGEST])
    def test_it_says_what_there_is_to_know(self, message: Message) -> None:
        said = slack_body(message)
        for each in message.alerts:
            assert each.title in said["text"]
            assert any(each.summary in text for text in texts(said["blocks"]))

    def test_an_end_says_so(self) -> None:
        assert slack_body(Message(alerts=(resolved(1),)))["text"].startswith("Resolved: ")

    @given(messages)
    def test_slacks_own_library_takes_it(self, message: Message) -> None:
        said = slack_body(message)
        assert set(said) == {"text", "blocks"}
        assert said["text"]
        assert len(said["blocks"]) <= 50
        for block in Block.parse_all(said["blocks"]):
            block.validate_json()
        for block in said["blocks"]:
            for part in [block, *block.get("elements", [])]:
                text = part if "elements" not in part and part["type"] == "mrkdwn" else part.get("text")
                if isinstance(text, dict):
                    limit = 150 if text["type"] == "plain_text" else 3_000
                    assert 1 <= len(text["text"]) <= limit
        assert len(said["text"]) <= 4_000
        assert len(json.dumps(said["blocks"], ensure_ascii=False)) < 40_000

    @given(messages)
    def test_nobody_can_call_people_or_make_links_with_it(self, message: Message) -> None:
        said = slack_body(message)
        markup = [said["text"], *(text for block in said["blocks"][1:] for text in texts(block))]
        for text in markup:
            assert "<" not in text
            assert ">" not in text
            assert not re.search(r"&(?!amp;|lt;|gt;)", text)


class TestWebhook:
    @pytest.mark.parametrize("message", [ONE, SEVERAL, DIGEST])
    def test_status_and_common_labels_are_those_of_the_alerts(self, message: Message) -> None:
        said = webhook_body(message, "hook")
        assert said["status"] == "firing"
        for name, value in said["commonLabels"].items():
            assert all(each["labels"][name] == value for each in said["alerts"])
        assert said["groupLabels"].items() <= said["commonLabels"].items()

    def test_alerts_of_a_message_belong_to_a_team_and_a_kind(self) -> None:
        said = webhook_body(SEVERAL, "hook")
        assert said["groupLabels"] == {"alertname": "budget_threshold", "team": "search"}
        assert said["groupKey"] == '{}:{alertname="budget_threshold", team="search"}'

    def test_a_digest_belongs_to_none(self) -> None:
        said = webhook_body(DIGEST, "hook")
        assert (said["groupLabels"], said["groupKey"]) == ({}, "{}:{}")

    def test_an_end_has_the_fingerprint_of_its_beginning(self) -> None:
        worse = webhook_body(Message(alerts=(resolved(1, severity="critical"),)), "hook")
        assert worse["status"] == "resolved"
        [end], [start] = worse["alerts"], webhook_body(ONE, "hook")["alerts"]
        assert end["fingerprint"] == start["fingerprint"]
        assert (start["endsAt"], end["endsAt"]) == ("0001-01-01T00:00:00Z", "2027-01-15T09:00:00Z")

    def test_money_is_exact(self) -> None:
        [said] = webhook_body(ONE, "hook")["alerts"]
        assert said["annotations"]["limit_usd"] == "10.000000000001"

    @given(messages)
    def test_labels_are_fit_for_prometheus(self, message: Message) -> None:
        for each in webhook_body(message, "hook")["alerts"]:
            assert all(re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) for name in each["labels"])
            assert all(isinstance(value, str) and value for value in each["labels"].values())


class TestPagerDuty:
    """Fields and limits of https://developer.pagerduty.com/docs/events-api-v2/trigger-events/."""

    def test_an_alert_triggers_and_its_end_resolves_the_same_incident(self) -> None:
        trigger = pagerduty_body(ONE, INTEGRATION_KEY)
        resolve = pagerduty_body(Message(alerts=(resolved(1, version=2),)), INTEGRATION_KEY)
        assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
        assert trigger["dedup_key"] == resolve["dedup_key"]
        assert trigger["routing_key"] == resolve["routing_key"] == INTEGRATION_KEY

    @given(about)
    def test_a_trigger_has_what_is_needed_within_limits(self, each: Any) -> None:
        event = pagerduty_body(Message(alerts=(each,)), INTEGRATION_KEY)
        assert len(event["dedup_key"]) <= 255
        if event["event_action"] == "trigger":
            payload = event["payload"]
            assert 1 <= len(payload["summary"]) <= 1_024
            assert payload["source"]
            assert payload["severity"] in ("critical", "error", "warning", "info")
            assert len(json.dumps(event)) < 512 * 1024


class TestMail:
    def test_it_is_read_back_as_it_was_meant(self) -> None:
        letter = mail(SEVERAL, CHANNELS["email"], NOON)
        read = message_from_bytes(bytes(letter), policy=policy.default)
        assert read["Subject"] == "[warning] 3 alerts, 1 of them resolved for search: budget threshold"
        assert read["To"] == "a@example.com, b@example.com"
        assert read["Date"] == "Fri, 15 Jan 2027 08:00:00 +0000"
        body = read.get_content()
        assert all(each.title in body and each.summary in body for each in SEVERAL.alerts)

    def test_the_same_message_has_the_same_id_and_another_another(self) -> None:
        ids = [
            mail(it, CHANNELS["email"], now)["Message-ID"]
            for it, now in [(ONE, 1), (ONE, NOON), (SEVERAL, 1), (Message(alerts=(resolved(1),)), 1)]
        ]
        assert [one == other for one, other in pairwise(ids)] == [True, False, False]
        assert all(re.fullmatch(r"<[0-9a-f]{32}@example\.com>", each) for each in ids)

    @given(messages)
    def test_no_title_can_add_a_header(self, message: Message) -> None:
        letter = mail(message, CHANNELS["email"], NOON)
        read = message_from_bytes(bytes(letter), policy=policy.default)
        assert set(read.keys()) >= {"Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted"}
        assert len(read.keys()) == 9  # with MIME-Version, Content-Type and Content-Transfer-Encoding


class TestRedaction:
    @pytest.mark.parametrize("kind", CHANNELS)
    @given(before=st.text(), after=st.text(), data=st.data())
    def test_nothing_that_is_secret_about_a_channel_is_left(
        self, kind: str, before: str, after: str, data: st.DataObject
    ) -> None:
        channel = CHANNELS[kind]
        whole = [secret for secret in (channel.url, channel.key, channel.sender, *channel.to) if secret]
        parts = [part for part in ("s3cr3t", "us3r", "p4ss") if part in channel.url]
        secret = data.draw(st.sampled_from(whole + parts))
        assert secret not in redacted(f"{before} {secret} {after}", channel)

    def test_words_that_tell_nothing_stay(self) -> None:
        assert redacted("no_service: /in", CHANNELS["slack"]) == "no_service: /in"
