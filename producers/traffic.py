"""Made-up traffic of model calls: who asks what of which model, and when. The same seed, the same calls.

Arrivals are a Poisson process that alternates between calm and bursts; a burst is one team's, which then asks
four times as much as all do in calm. Part of what a team asks it has asked before, word for word or nearly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from msgspec import Struct

__all__ = ["TEAMS", "Call", "Team", "calls"]

_CALM_S = 45.0  # mean length of calm; exponential
_BURST_S = (5.0, 15.0)  # length of a burst; uniform
_BURST_RATE = 4  # times the calm rate
_MEAN_BURST_S = sum(_BURST_S) / 2

_FAMILIAR = 25  # prompts that a team repeats; the first most, by Zipf's law
_USERS = 40
_WORDS_SPREAD = 0.8  # sigma of the log-normal prompt length
_MOST_WORDS = 3000
_OPENINGS = ("", "", "", "please ", "hello, ", "can you tell me: ")
_VOCABULARY = (
    "account answer api attach average balance batch branch budget build cancel change chart check client "
    "close cluster column compare contract copy count customer daily data date delay delete deploy detail "
    "difference discount draft due email error estimate event example explain export failed field file "
    "find fix forecast form group hour import index invoice issue item job join key label last latency "
    "letter limit line list log login market merge message meter method metric month move name network "
    "next node note offer order owner page part password payment plan policy price process product "
    "project quarter query question rate reason record refund region release renew reply report request "
    "reset result review role rule sale sample save schedule schema score search send server service "
    "share ship slow source start status step stock store string summary supplier support switch system "
    "table target task team test text ticket time token total trace translate trial update usage user "
    "value version view week write year"
)
_WORDS = _VOCABULARY.split()


class Team(Struct, frozen=True, kw_only=True):
    """Who asks: its part of all traffic, its habits, and how often it asks what it has asked before."""

    name: str
    weight: int
    projects: Sequence[str]
    environments: Sequence[str] = ("production", "production", "production", "staging")
    models: Sequence[str]
    repeats: float
    words: int
    answer_tokens: int


TEAMS = (
    Team(
        name="support",
        weight=40,
        projects=("assistant", "assistant", "triage"),
        models=("gpt-3.5-turbo", "gpt-3.5-turbo", "claude-haiku"),
        repeats=0.5,
        words=25,
        answer_tokens=150,
    ),
    Team(
        name="search",
        weight=30,
        projects=("ranking", "summaries"),
        models=("claude-haiku", "claude-haiku", "gpt-3.5-turbo"),
        repeats=0.3,
        words=60,
        answer_tokens=80,
    ),
    Team(
        name="engineering",
        weight=20,
        projects=("code-review", "copilot"),
        models=("gpt-4", "gpt-4", "gpt-3.5-turbo"),
        repeats=0.1,
        words=200,
        answer_tokens=300,
    ),
    Team(
        name="finance",
        weight=10,
        projects=("reports",),
        models=("gpt-4",),
        repeats=0.2,
        words=120,
        answer_tokens=400,
    ),
)
"""The teams of the demo; a choice that is named twice is taken twice as often."""


class Call(Struct, frozen=True, kw_only=True):
    """One call to make, `at` seconds after the first could have been."""

    at: float
    team: str
    project: str
    environment: str
    user: str
    model: str
    prompt: str
    max_tokens: int
    stream: bool


def calls(seed: int, *, rate: float, streams: float, teams: Sequence[Team] = TEAMS) -> Iterator[Call]:
    """Yield calls without end, `rate` a second on average, of which the share `streams` is streamed."""
    random = Random(seed)  # noqa: S311 - traffic need not be secret
    familiar = {team.name: [_prompt(random, team) for _ in range(_FAMILIAR)] for team in teams}
    zipf = [1 / rank for rank in range(1, _FAMILIAR + 1)]
    for at, bursting in _arrivals(random, rate, teams):
        team = bursting or _weighted(random, teams)
        if random.random() < team.repeats:
            prompt = random.choice(_OPENINGS) + random.choices(familiar[team.name], zipf)[0]
        else:
            prompt = _prompt(random, team)
        yield Call(
            at=at,
            team=team.name,
            project=random.choice(team.projects),
            environment=random.choice(team.environments),
            user=f"{team.name}-{random.randrange(_USERS):02}",
            model=random.choice(team.models),
            prompt=prompt,
            max_tokens=max(1, round(random.expovariate(1 / team.answer_tokens))),
            stream=random.random() < streams,
        )


def _arrivals(random: Random, rate: float, teams: Sequence[Team]) -> Iterator[tuple[float, Team | None]]:
    """Yield arrival times, each with the team whose burst it belongs to, if to one."""
    calm = rate * (_CALM_S + _MEAN_BURST_S) / (_CALM_S + _BURST_RATE * _MEAN_BURST_S)
    start = 0.0
    while True:
        phases = (
            (random.expovariate(1 / _CALM_S), calm, None),
            (random.uniform(*_BURST_S), calm * _BURST_RATE, _weighted(random, teams)),
        )
        for length, speed, team in phases:
            at = start + random.expovariate(speed)
            while at < start + length:
                yield at, team
                at += random.expovariate(speed)
            start += length


def _weighted(random: Random, teams: Sequence[Team]) -> Team:
    return random.choices(teams, [team.weight for team in teams])[0]


def _prompt(random: Random, team: Team) -> str:
    length = round(team.words * random.lognormvariate(0, _WORDS_SPREAD))
    return " ".join(random.choices(_WORDS, k=min(max(length, 3), _MOST_WORDS)))
