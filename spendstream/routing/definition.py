"""What a route is: the models that callers ask for, those that can answer, and how one of them is chosen.

A route answers for its own name and for real model names that match its patterns. Its rules are asked in
order; the first whose conditions all hold narrows the candidates, and may choose by another strategy.
"""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct

__all__ = ["FULL", "STRATEGIES", "Candidate", "Condition", "Limit", "Route", "Rule", "Strategy", "Weights"]

FULL = 10_000
"""Basis points in 100 percent."""

Strategy = Literal["cheapest", "fastest", "balanced", "quality-first", "mix", "complexity"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


class Candidate(Struct, frozen=True, kw_only=True):
    """A model of a provider that can answer. What its name costs and how fast it is is not written here.

    `share` is its part of a mix, relative to the others. `quality` is the operator's own scale, 0 to 100.
    `up_to` is the highest complexity that it is trusted with, from 0 to 1. `context` is the most tokens that
    it takes, 0 if that does not matter.
    """

    provider: str
    model: str
    share: int = 0
    quality: int = 0
    up_to: float = 1.0
    context: int = 0
    tools: bool = True
    vision: bool = True

    @property
    def name(self) -> str:
        """How people call it: provider/model."""
        return f"{self.provider}/{self.model}"


class Condition(Struct, frozen=True, kw_only=True):
    """What must hold of a call. A field at its default does not matter; of several values one must fit.

    `models` are patterns of the model asked for, in which * stands for anything. Lengths are tokens of the
    prompt, both included.
    """

    team: tuple[str, ...] = ()
    project: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    at_least: int = 0
    at_most: int | None = None
    tools: bool | None = None
    vision: bool | None = None


class Rule(Struct, frozen=True, kw_only=True):
    """Calls that fulfil `when` go to the candidates named in `use`; none named are all of them.

    `strategy` None is that of the route.
    """

    when: Condition
    use: tuple[str, ...] = ()
    strategy: Strategy | None = None


class Limit(Struct, frozen=True, kw_only=True):
    """No provider gets more than `share` (basis points) of the calls of the last `window` microseconds."""

    share: int
    window: int


class Weights(Struct, frozen=True, kw_only=True):
    """What matters how much to the balanced strategy; only their ratios count."""

    cost: int = 1
    latency: int = 1
    quality: int = 1


class Route(Struct, frozen=True, kw_only=True):
    """One route. Ties are settled by the order of `candidates`."""

    name: str
    strategy: Strategy
    candidates: tuple[Candidate, ...]
    models: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    weights: Weights = Weights()
    limit: Limit | None = None
