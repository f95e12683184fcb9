"""People are called for what they can act on, in words that a team lead understands."""

from uuid import UUID

import pytest
from msgspec import structs

from spendstream.anomalies.anomaly import Anomaly
from spendstream.anomalies.contributors import Contribution, PriceVolumeMix
from spendstream.anomalies.keys import Gathering, Key
from spendstream.anomalies.price_change import PriceChange
from spendstream.anomalies.telling import alert_of
from spendstream.anomalies.watch import Notice
from spendstream.money import PICO
from spendstream.windows import DAY, HOUR, MINUTE, Dimensions, Measures

TEAM, ORG = Key("tokens", "acme", "search"), Key("tokens", "acme")
AT = 1_800_000_000 - 1_800_000_000 % HOUR


def part(dimension, name, expected, actual):
    return Contribution(dimension=dimension, name=name, expected=expected, actual=actual)


def notice(key=TEAM, size=HOUR, **changes):
    spike = Anomaly(
        id=UUID(int=1),
        type="cost_spike",
        key=key.text,
        state="opened",
        window=AT,
        start=AT,
        end=AT,
        measure="cost",
        value=12.4 * PICO,
        expected=3.6 * PICO,
        low=3.1 * PICO,
        high=4.2 * PICO,
        severity="high",
        score=6.04,
        impact=88 * PICO // 10,
        contributors=(
            part("model", "openai/gpt-4", 2 * PICO, 93 * PICO // 10),
            part("model", "small", 16 * PICO // 10, 31 * PICO // 10),
        ),
        drivers=PriceVolumeMix(price=0, volume=8 * PICO, mix=8 * PICO // 10),
    )
    return Notice(key=key, size=size, anomaly=structs.replace(spike, **changes))


def test_a_spike_says_how_much_was_expected_what_it_cost_and_who_is_behind_it():
    alert = alert_of(notice(), None)
    assert alert.title == "Team search spent $12.40 in an hour, expected $3.10 to $4.20"
    assert alert.summary == (
        "Since 2027-01-15 08:00 UTC. That is $8.80 more than expected so far. "
        "Of the difference, 82% is model openai/gpt-4, 17% is model small. The main reason is more usage."
    )
    assert (alert.state, alert.severity, alert.version, alert.team) == ("firing", "warning", 2, "search")
    assert alert.values == {
        "value": 124 * PICO // 10,
        "expected": 36 * PICO // 10,
        "low": 31 * PICO // 10,
        "high": 42 * PICO // 10,
        "impact": 88 * PICO // 10,
    }


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        (
            {"type": "cache_collapse", "measure": "prompt_cache", "value": 0.02, "expected": 0.4},
            "Team search: the provider's prompt cache serves 2%, expected 40%",
        ),
        (
            {"type": "error_spike", "measure": "errors", "value": 0.4, "expected": 0.0123},
            "Team search: 40% of calls fail, expected 1.2%",
        ),
        (
            {"type": "usage_pattern", "measure": "tokens", "value": 5e6, "low": -1.0, "high": 2e6},
            "Team search: 5,000,000 tokens in an hour, expected 0 to 2,000,000",
        ),
        (
            {"type": "usage_pattern", "measure": "requests", "value": 0.0, "low": 7.0, "high": 7.0},
            "Team search: 0 calls in an hour, expected about 7",
        ),
        (
            {
                "type": "usage_pattern",
                "measure": "cost_per_request",
                "value": 5e10,
                "low": 1e10,
                "high": 2e10,
            },
            "Team search: a call costs $0.0500, expected $0.0100 to $0.0200",
        ),
    ],
)
def test_each_kind_of_episode_has_its_sentence(changes, title):
    assert alert_of(notice(**changes), None).title == title


def test_a_new_price_names_the_kinds_of_tokens():
    change = PriceChange(model="gpt-4", old={"input": 30 * PICO}, new={"input": 15 * PICO})
    told = notice(ORG, MINUTE, type="price_change", state="told", measure="gpt-4", prices=change)
    title = alert_of(told, None).title
    assert (
        title == "All teams of acme: a million tokens of gpt-4 have a new price: input from $30.00 to $15.00"
    )


@pytest.mark.parametrize(
    "untold",
    [
        notice(severity="warn"),
        notice(size=MINUTE),
        notice(planned=True),
        notice(value=4.2 * PICO),
        notice(ORG, type="error_spike"),
        notice(ORG, contributors=(part("team", "search", 0, 5 * PICO),)),
        notice(size=MINUTE, severity="critical", type="usage_pattern", measure="tokens"),
        notice(type="new_model", state="told", size=MINUTE),
        notice(ORG, type="new_model", state="told", size=HOUR),
        notice(ORG, type="new_key", state="told", size=MINUTE),
    ],
    ids=lambda each: f"{each.anomaly.type}-{each.size}-{each.key.team}-{each.anomaly.severity}",
)
def test_nobody_is_called_for_these(untold):
    assert alert_of(untold, None) is None


@pytest.mark.parametrize(
    "told",
    [
        notice(size=DAY),
        notice(size=MINUTE, severity="critical"),
        notice(size=MINUTE, severity="critical", value=0.03 * PICO, expected=0.0),
        notice(ORG, contributors=(part("team", "search", 0, 4 * PICO), part("team", "chat", 0, 4 * PICO))),
        notice(ORG, type="unpriced_model", state="told", size=MINUTE, severity="warn"),
    ],
    ids=lambda each: f"{each.anomaly.type}-{each.size}-{each.key.team}-{each.anomaly.severity}",
)
def test_people_are_called_for_these(told):
    assert alert_of(told, None).id == told.anomaly.id


def test_who_was_told_hears_of_the_rest_and_who_was_not_does_not():
    opened = alert_of(notice(), None)
    worse = alert_of(notice(state="worsened", severity="critical", planned=True), opened)
    assert (worse.version, worse.severity) == (3, "critical")
    over = notice(state="resolved", severity="critical", end=AT + HOUR, window=AT + 4 * HOUR)
    resolved = alert_of(over, worse)
    assert (resolved.state, resolved.version) == ("resolved", 3)
    assert resolved.resolved_at == (AT + 5 * HOUR) * 1_000_000
    assert resolved.summary.startswith("From 2027-01-15 08:00 until 2027-01-15 10:00 UTC.")
    assert alert_of(over, None) is None


def test_sums_that_the_wire_cannot_hold_are_left_to_the_words():
    alert = alert_of(notice(value=1e20, impact=10**20), None)
    assert {"value", "impact"}.isdisjoint(alert.values)
    assert "$100,000,000.00" in alert.title


def test_no_two_keys_share_a_text():
    assert Key("tokens", "a", "").text != Key("tokens", "a").text
    assert Key("tokens", 'a","b').text != Key("tokens", "a", "b").text


def test_teams_and_organisations_add_up_the_same_spend():
    gathering = Gathering(AT)
    for team, model in (("search", "m"), ("search", "n"), ("", "m")):
        dimensions = Dimensions("tokens", "acme", team, "web", "prod", "openai", model, "", "")
        gathering.add(dimensions, Measures(events=1, cost=5))
    gathering.add(Dimensions("pods", "acme", "search", "", "", "", "", "east", "web"), Measures(cost=7))
    readings = gathering.readings()
    assert {key: reading.measures.cost for key, reading in readings.items()} == {
        TEAM: 10,
        Key("tokens", "acme", ""): 5,
        ORG: 15,
        Key("pods", "acme", "search"): 7,
        Key("pods", "acme"): 7,
    }
    assert {name: part.cost for name, part in readings[ORG].parts["model"].items()} == {
        "openai/m": 10,
        "openai/n": 5,
    }
    assert readings[ORG].parts["team"].keys() == {"search", ""}
    assert readings[TEAM].parts.keys() == {"model", "project", "environment"}
    assert readings[Key("pods", "acme")].parts["namespace"].keys() == {"east/web"}
