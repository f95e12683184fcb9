"""Channels are quiet when they should be, and written down right or told what is wrong, without a secret."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from spendstream.clock import to_micros
from spendstream.notifications import Channel, QuietHours, Route, leads_to, setting_mistakes
from spendstream.secret import Secret
from tests.fixtures.alerting import CHANNELS, MICROS, alert

BERLIN = QuietHours(start="22:00", end="07:00", time_zone="Europe/Berlin")


def berlin(text: str) -> int:
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")))


@pytest.mark.parametrize(
    ("at", "quiet"),
    [
        ("2026-01-15T21:59:59", False),
        ("2026-01-15T22:00:00", True),
        ("2026-01-16T06:59:59", True),
        ("2026-01-16T07:00:00", False),
        ("2026-07-15T22:00:00", True),  # summer: an hour earlier in UTC
        ("2026-07-16T07:00:00", False),
    ],
)
def test_a_night_is_quiet_by_the_clock_on_the_wall(at: str, quiet: bool) -> None:  # noqa: FBT001
    assert BERLIN.cover(berlin(at)) is quiet


def test_hours_within_a_day_are_quiet_too() -> None:
    noon = QuietHours(start="12:00", end="13:00")
    hours = [datetime(2026, 1, 15, hour, tzinfo=UTC) for hour in range(24)]
    assert [hour.hour for hour in hours if noon.cover(to_micros(hour))] == [12]


@given(
    st.integers(1_700_000_000, 1_900_000_000),
    st.times(),
    st.times(),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
)
def test_every_moment_is_in_some_hours_or_in_those_between_them(
    second: int, start: time, end: time, zone: str
) -> None:
    first, last = f"{start:%H:%M}", f"{end:%H:%M}"
    assume(first != last)
    hours = QuietHours(start=first, end=last, time_zone=zone)
    others = QuietHours(start=last, end=first, time_zone=zone)
    assert hours.cover(second * MICROS) is not others.cover(second * MICROS)


@pytest.mark.parametrize("kind", CHANNELS)
def test_a_channel_of_each_kind_can_be_written_down(kind: str) -> None:
    assert list(setting_mistakes([CHANNELS[kind]], [])) == []


@pytest.mark.parametrize(
    ("kind", "change", "mistake"),
    [
        ("slack", {"url": Secret()}, "url: is missing; slack needs it"),
        ("slack", {"url": Secret("hooks.example.com/s3cr3t")}, "url: expected an address like https://host/path"),
        ("slack", {"url": Secret("https://host:port/s3cr3t")}, "url: expected an address like https://host/path"),
        ("slack", {"url": Secret("http://host/s3cr3t")}, "url: is a secret or goes with one: expected https"),
        ("slack", {"key": Secret("s3cr3t")}, "key: slack has none"),
        ("webhook", {"key": Secret("s3cr3t\n")}, "key: expected printable ASCII characters only"),
        ("webhook", {"url": Secret("https://u:s3cr3t@host/in")}, "key: the url has a user already"),
        ("webhook", {"to": (Secret("s3cr3t@example.com"),)}, "to: webhook has none"),
        ("pagerduty", {"key": Secret()}, "key: is missing; pagerduty needs it"),
        ("pagerduty", {"key": Secret("s3cr3t")}, "key: expected the 32 letters and digits of an Events"),
        ("pagerduty", {"quiet_hours": BERLIN}, "quiet_hours: pagerduty has none: a service there has"),
        ("email", {"url": Secret("https://s3cr3t")}, "url: expected an address like smtps://user:password@"),
        ("email", {"to": ()}, "to: is missing; email needs it"),
        ("email", {"sender": Secret("s3cr3t")}, "sender: expected an address like finops@example.com"),
        ("email", {"to": (Secret("a@b.c, s3cr3t@b.c"),)}, "to: expected an address like finops@example.com"),
        ("email", {"quiet_hours": QuietHours(start="07:00", end="07:00")}, "quiet_hours: start and end are"),
        ("email", {"quiet_hours": replace(BERLIN, time_zone="Mars")}, "time_zone: 'Mars' is none"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_and_no_secret_shown(kind: str, change: dict[str, Any], mistake: str) -> None:
    [found] = setting_mistakes([replace(CHANNELS[kind], **change)], [])
    assert found.startswith(f"channel {CHANNELS[kind].name}: ")
    assert mistake in found
    assert "s3cr3t" not in found


@given(st.sampled_from(sorted(CHANNELS)), st.text(), st.text())
def test_whatever_is_written_down_is_a_channel_or_a_mistake(kind: str, url: str, key: str) -> None:
    for address in (url, f"https://{url}", f"smtp://{url}"):
        channel = replace(CHANNELS[kind], url=Secret(address), key=Secret(key))
        assert all(found.startswith("channel ") for found in setting_mistakes([channel], []))


def test_a_channels_secrets_do_not_show() -> None:
    for channel in CHANNELS.values():
        for secret in ("s3cr3t", "p4ss", "t0ken", "0123456789", "@example"):
            assert secret not in repr(channel)


TALK, HOOK = CHANNELS["slack"], CHANNELS["webhook"]
ROUTES = (
    Route(teams=("search", "chat"), severities=("critical",), channels=("hook",)),
    Route(kinds=("anomaly",), channels=("talk", "hook")),
    Route(channels=("talk",)),
)


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"severity": "critical"}, ["hook"]),
        ({"severity": "critical", "kind": "anomaly"}, ["hook"]),
        ({"severity": "critical", "team": "other"}, ["talk"]),
        ({"kind": "anomaly"}, ["talk", "hook"]),
        ({}, ["talk"]),
    ],
)
def test_the_first_route_that_fits_decides(about: dict[str, Any], told: list[str]) -> None:
    assert [it.name for it in (TALK, HOOK) if leads_to(ROUTES, alert(**about), it)] == told


def test_without_routes_every_channel_is_told_of_all() -> None:
    assert leads_to((), alert(), TALK)


def test_a_channel_is_told_of_its_severities_only() -> None:
    urgent = replace(TALK, severities=("critical",))
    assert not leads_to((), alert(severity="warning"), urgent)
    assert leads_to((), alert(severity="critical"), urgent)


def test_routes_that_lose_alerts_or_lead_nowhere_are_told() -> None:
    last = Route(channels=("talk",))
    assert list(setting_mistakes([TALK, HOOK], ROUTES)) == []
    assert list(setting_mistakes([TALK], [Route(teams=("a",), channels=("talk",))])) == [
        "alert_route: alerts that fit none would be lost: end with one that has channels only"
    ]
    assert list(setting_mistakes([TALK, HOOK], [last])) == ["channel hook: no alert_route leads to it"]
    assert list(setting_mistakes([TALK], [last, Route(teams=("a",), channels=("talk",)), last])) == [
        "alert_route 1: fits every alert, so that those after it are never asked"
    ]
    assert list(setting_mistakes([TALK], [Route(channels=("talk", "talkk"))])) == [
        "alert_route 1: there is no channel talkk; did you mean talk?"
    ]


def test_two_channels_of_one_name_are_told() -> None:
    assert list(setting_mistakes([TALK, Channel(name="talk", kind="slack", url=TALK.url)], [])) == [
        "channel talk: is there twice"
    ]
