"""Made-up traffic is the same for the same seed, and has the habits it claims."""

from __future__ import annotations

from collections import Counter
from itertools import islice, takewhile

import pytest

from producers.traffic import TEAMS, Call, calls

MODELS = {"gpt-4", "gpt-3.5-turbo", "claude-haiku"}


def some(count: int, *, seed: int = 1, rate: float = 20, streams: float = 0.25) -> list[Call]:
    return list(islice(calls(seed, rate=rate, streams=streams), count))


def test_the_same_seed_makes_the_same_calls_and_another_seed_others() -> None:
    assert some(500) == some(500)
    assert some(500) != some(500, seed=2)


@pytest.mark.parametrize(("rate", "seconds"), [(0.5, 8 * 3600), (8, 3600)])
def test_the_rate_is_the_average_over_calm_and_bursts(rate: float, seconds: int) -> None:
    arrived = sum(1 for _ in takewhile(lambda call: call.at < seconds, calls(7, rate=rate, streams=0)))
    assert arrived / seconds == pytest.approx(rate, rel=0.1)


def test_calls_come_in_order_of_time() -> None:
    times = [call.at for call in some(2000)]
    assert times == sorted(times)
    assert times[0] >= 0


def test_every_team_project_and_model_occurs_and_weights_order_the_teams() -> None:
    made = some(20_000, rate=0.5)  # hundreds of bursts
    teams = Counter(call.team for call in made)
    assert [name for name, _ in teams.most_common()] == [team.name for team in TEAMS]
    assert {call.model for call in made} == MODELS
    assert {(call.team, call.project) for call in made} == {
        (team.name, project) for team in TEAMS for project in team.projects
    }


def test_a_burst_is_one_teams_and_several_times_the_calm_rate() -> None:
    made = takewhile(lambda call: call.at < 1800, calls(3, rate=20, streams=0))
    seconds = Counter(int(call.at) for call in made)
    calm = sorted(seconds.values())[len(seconds) // 2]
    assert max(seconds.values()) > 2.5 * calm


def test_teams_repeat_themselves_as_often_as_their_habits_say() -> None:
    made = some(20_000)
    for team in TEAMS:
        prompts = Counter(call.prompt for call in made if call.team == team.name)
        again = sum(count for count in prompts.values() if count > 1) / prompts.total()
        assert again == pytest.approx(team.repeats, abs=0.05)


@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_the_share_of_streams_is_as_asked(share: float) -> None:
    streamed = sum(call.stream for call in some(4000, streams=share))
    assert streamed / 4000 == pytest.approx(share, abs=0.03)


def test_every_call_asks_something_and_allows_an_answer() -> None:
    assert all(call.prompt.strip() and call.max_tokens >= 1 for call in some(5000))
