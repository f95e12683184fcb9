"""The live view says what matters in words and numbers, and nothing is hidden."""

import io

from rich.console import Console

from infra.local.readings import Reading, Spend
from infra.local.view import line, picture

READING = Reading(
    cost=1_234_500_000_000,
    calls=4,
    cache_hits=1,
    events=4,
    input_tokens=1_000,
    output_tokens=50,
    received=5,
    landed=4,
    lag=7,
    dead_letters=1,
    teams=[Spend(team="search", cost=10**12, events=3, tokens=900)],
    minutes=[(0, 1), (60, 8)],
    alerts=["Search: 80% of the budget is spent"],
)


def shown(reading, restarts):
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(picture(reading, {"gateway": "http://127.0.0.1:8080/v1"}, restarts))
    return console.export_text()


def test_the_picture_shows_spend_flow_and_addresses():
    text = shown(READING, {})
    for part in ("$1.2345", "25.0%", "search", "$1.0000", "lag 7", "http://127.0.0.1:8080/v1", "▁█"):
        assert part in text


def test_everything_that_needs_a_person_is_told():
    text = shown(READING, {"worker": 2})
    for part in ("80% of the budget", "worker was restarted 2 times", "1 dead letters"):
        assert part in text


def test_a_quiet_stack_says_so():
    assert "none" in shown(Reading(), {})


def test_a_reading_is_one_line_for_a_log():
    assert "\n" not in line(READING, 5)
    assert "landed 4" in line(READING, 5)
