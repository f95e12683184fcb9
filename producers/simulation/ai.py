"""The AI half: the calls that are made in both phases, and what the gateway is told to do with them.

All calls ask for gpt-4. Before, they get it. After, the gateway gives an answer again to a question that it
has answered, word for word or in meaning, and shares the rest among three models. Nothing is left to chance
or to time: simulated models answer at once and never fail, and calls follow one another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from producers.simulation.fleet import Phase
from producers.traffic import TEAMS, Call, calls

__all__ = ["MIX", "REPEATS", "SHORTEST_LIFE_S", "Gateway", "demand", "gateway_of"]

MIX: Mapping[str, int] = {"gpt-4": 30, "gpt-3.5-turbo": 50, "claude-haiku": 20}
"""What an optimised gateway routes to each model, in percent."""
REPEATS: Mapping[str, float] = {"support": 0.8, "search": 0.7, "engineering": 0.3, "finance": 0.5}
"""The share of a team's calls that repeat one of its 25 familiar prompts, half of them in other words."""

SHORTEST_LIFE_S = 150.0
"""Seconds that any answer which is kept stays in the cache: it is worth 0.3 or more, and not tied to now.

Calls that take longer may find an answer gone, and the figures then depend on the machine.
"""

_MODEL = "gpt-4"
_STREAMED = 0.25
_RATE = 1.0  # calls follow one another, so that only their order counts
_MOST_ANSWER_TOKENS = 2_048
_ANSWERS: Mapping[str, int] = {"gpt-4": 220, "gpt-3.5-turbo": 160, "claude-haiku": 180}
"""Mean tokens of an answer, by model, as the simulated provider has them by default."""


class Gateway(Struct, frozen=True, kw_only=True):
    """How the gateway runs in a phase: its configuration file, and what no environment may change of it."""

    toml: str
    settings: Mapping[str, str]


def demand(seed: int, environment: str, number: int) -> Sequence[Call]:
    """Return so many calls, in their order; the same seed makes the same ones, whatever the environment."""
    teams = [
        replace(team, models=(_MODEL,), repeats=REPEATS[team.name], environments=(environment,))
        for team in TEAMS
    ]
    made = islice(calls(seed, rate=_RATE, streams=_STREAMED, teams=teams), number)
    return [replace(call, at=0.0, max_tokens=_MOST_ANSWER_TOKENS) for call in made]


def gateway_of(phase: Phase) -> Gateway:
    """Return how the gateway runs in a phase."""
    optimized = phase == "optimized"
    settings = {
        "SPENDSTREAM_CACHE": "semantic" if optimized else "off",
        "SPENDSTREAM_GATEWAY_HOST": "127.0.0.1",
        "SPENDSTREAM_GATEWAY_PORT": "0",
        "SPENDSTREAM_KEY_SECRET": "",
        "SPENDSTREAM_REDIS": "",
    }
    return Gateway(toml=_PROVIDER + (_ROUTE if optimized else ""), settings=settings)


_PROVIDER = """[[provider]]
name = "simulated"
kind = "simulated"
""" + "".join(
    f"""
[provider.profiles."{model}"]
time_to_first_token = 0
tokens_per_second = inf
mean_output_tokens = {tokens}
"""
    for model, tokens in _ANSWERS.items()
)
_ROUTE = f"""
[[route]]
name = "shared-out"
models = ["{_MODEL}"]
strategy = "mix"
""" + "".join(
    f"""
[[route.candidates]]
provider = "simulated"
model = "{model}"
share = {share}
"""
    for model, share in MIX.items()
)
