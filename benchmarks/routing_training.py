"""Learns the weights of the complexity router and writes spendstream/routing/complexity.json.

    python -m benchmarks.routing_training

They are learned from one half of RouteLLM's GSM8K questions (Apache-2.0); benchmarks/routing.py judges them
on the other. What is learned is the gain, that is how much more often the strong model is right: by ridge
regression with weights that are not negative. The penalty is strong, because the gain is mostly chance: what
features know of a question explains little of it, and 660 questions teach no fine differences. Features that
hardly occur in such questions, like code, have weights that were set by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.routellm import Question, apgr, gains, halves, load
from benchmarks.shared_data import located
from spendstream.routing.complexity import REACH, Term, Weighing
from spendstream.routing.features import NAMES, features

__all__ = ["cross_validated", "learned"]

Floats = NDArray[np.float64]

_WEIGHTS = Path(__file__).parents[1] / "spendstream" / "routing" / "complexity.json"
_PENALTY = 1_000.0
_BY_HAND: Mapping[str, float] = {"reasoning": 0.12, "items": 0.04, "code": 0.12}
"""For the first such thing; three count double. In the unit of the learned weights, of which .02 is a strong
one: a short prompt that asks for a proof and an explanation comes to the middle."""


def main() -> int:
    """Learn, write, and say how well it does within the learning half; return the exit code."""
    questions, _ = halves(load(located("routellm/gsm8k_responses.csv.gz")))
    weighing = learned(questions)
    _WEIGHTS.write_bytes(msgspec.json.format(msgspec.json.encode(weighing), indent=2) + b"\n")
    print(f"{len(questions)} questions; APGR within them, cross-validated: {cross_validated(questions):.3f}")
    return 0


def learned(questions: Sequence[Question]) -> Weighing:
    """Return the weights that questions teach, and those set by hand."""
    matrix = _matrix(questions)
    centres, scales, weights = _fit(matrix, gains(questions))
    sums = _standardised(matrix, centres, scales) @ weights
    terms = {
        name: Term(
            centre=round(float(centre), 4),
            scale=round(float(scale), 4),
            weight=round(float(weight), 5),
            learned=True,
        )
        for name, centre, scale, weight in zip(NAMES, centres, scales, weights, strict=True)
    } | {
        name: Term(centre=0.0, scale=round(float(np.log1p(1)), 4), weight=weight, learned=False)
        for name, weight in _BY_HAND.items()
    }
    return Weighing(terms=terms, steepness=round(float(1 / sums.std()), 3))


def cross_validated(questions: Sequence[Question], folds: int = 5, rounds: int = 10) -> float:
    """Return the mean APGR when each fold is scored by what the others teach."""
    matrix, gained = _matrix(questions), gains(questions)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(rounds):
        fold = rng.permutation(len(questions)) % folds
        scores = np.zeros(len(questions))
        for each in range(folds):
            centres, scales, weights = _fit(matrix[fold != each], gained[fold != each])
            scores[fold == each] = _standardised(matrix[fold == each], centres, scales) @ weights
        found.append(apgr(scores, gained))
    return float(np.mean(found))


def _matrix(questions: Sequence[Question]) -> Floats:
    matrix = np.array([features(question.prompt) for question in questions])
    matrix[:, [NAMES.index(name) for name in _BY_HAND]] = 0.0
    return matrix


def _fit(matrix: Floats, gained: Floats) -> tuple[Floats, Floats, Floats]:
    """Return centres, scales and weights, by coordinate descent."""
    centres, scales = matrix.mean(axis=0), matrix.std(axis=0)
    scales[scales == 0] = 1.0
    values = _standardised(matrix, centres, scales)
    weights = np.zeros(len(NAMES))
    rest = gained - gained.mean()
    for _ in range(200):
        for each in range(len(NAMES)):
            column = values[:, each]
            best = (column @ rest + weights[each] * (column @ column)) / (column @ column + _PENALTY)
            step = max(best, 0.0) - weights[each]
            weights[each] += step
            rest -= step * column
    return centres, scales, weights


def _standardised(matrix: Floats, centres: Floats, scales: Floats) -> Floats:
    return np.clip((matrix - centres) / scales, -REACH, REACH)


if __name__ == "__main__":
    sys.exit(main())
