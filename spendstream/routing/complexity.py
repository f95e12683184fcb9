"""How complex a prompt is, from 0 to 1: a weighted sum of its features, squashed.

The weights are in `complexity.json`: most are learned from mathematical questions that a cheap and a strong
model answered (benchmarks/routing_training.py); a few, which those questions cannot teach, are set by hand
and marked as such. None is negative: more of anything never makes a prompt simpler. The score is no
probability; 0.5 is the middle of those questions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from spendstream.routing.features import NAMES, features

__all__ = ["REACH", "Complexity", "Term", "Weighing", "complexity", "shipped"]

REACH = 3.0
"""A feature counts up to this many scales from its centre: no single one decides."""


class Term(Struct, frozen=True, kw_only=True):
    """What a feature adds: weight · (value - centre) / scale, within REACH scales."""

    centre: float
    scale: float
    weight: float
    learned: bool


class Weighing(Struct, frozen=True, kw_only=True):
    """A term for each feature, and how steeply their sum becomes a score."""

    terms: Mapping[str, Term]
    steepness: float

    def __post_init__(self) -> None:
        if set(self.terms) != set(NAMES) or any(term.scale <= 0 for term in self.terms.values()):
            raise ValueError(f"expected a term with a positive scale for each of {', '.join(NAMES)}")


Complexity = Callable[[str], float]
"""Tells how complex a prompt is, from 0 to 1."""


def complexity(weighing: Weighing) -> Complexity:
    """Return the judge that weighs so."""
    terms = [weighing.terms[name] for name in NAMES]
    plain = [(term.centre, term.scale, term.weight) for term in terms]

    def judge(prompt: str) -> float:
        total = 0.0
        for value, (centre, scale, weight) in zip(features(prompt), plain, strict=True):
            total += weight * min(max((value - centre) / scale, -REACH), REACH)
        return 1 / (1 + math.exp(-weighing.steepness * total))

    return judge


@cache
def shipped() -> Complexity:
    """Return the judge with the weights that come with Spendstream."""
    text = files("spendstream.routing").joinpath("complexity.json").read_bytes()
    return complexity(msgspec.json.decode(text, type=Weighing))
