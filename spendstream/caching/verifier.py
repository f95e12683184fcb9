"""The verifier: whether one question may have another's answer, which the likeness of vectors cannot say.

It is trained on pairs of questions that people took for the same; see docs/caching.md.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from msgspec import Struct

from spendstream.caching.embedding import Embedding, Vector
from spendstream.caching.features import certainty, features, wordings
from spendstream.caching.phrases import Phrase, phrase
from spendstream.caching.weights import Weights, load

__all__ = ["Precision", "Prepared", "Verifier"]

Precision: TypeAlias = Literal["0.90", "0.95"]
"""How many of a hundred pairs that it lets through were the same in training, when half of all pairs were."""


class Prepared(Struct, frozen=True):
    """A question with all that is computed of it alone, once."""

    phrase: Phrase
    projected: Vector

    @property
    def size(self) -> int:
        """Bytes that it takes, roughly."""
        return self.phrase.size + self.projected.nbytes


class Verifier:
    """Compares prepared questions."""

    def __init__(self, weights: Weights | None = None) -> None:
        self._weights = weights or load()

    def prepare(self, text: str, embedding: Embedding) -> Prepared | None:
        """Take a question apart; None if it has no words."""
        taken = phrase(text, embedding)
        return Prepared(taken, self._weights.kinship.project(taken.vector)) if taken.words else None

    def score(self, one: Prepared, other: Prepared) -> float:
        """Return the log odds that two questions ask the same, among pairs of which half do.

        Infinite where their words leave no doubt (`spendstream.caching.features.certainty`).
        """
        certain = certainty(one.phrase, other.phrase)
        if certain is not None:
            return math.inf if certain else -math.inf
        return self._weights.trees.score(self.features(one, other))

    def threshold(self, precision: Precision) -> float:
        """Return the score from which on pairs have that precision."""
        low, high = self._weights.thresholds
        return high if precision == "0.95" else low

    def features(self, one: Prepared, other: Prepared) -> list[float]:
        """Return what the trees judge by."""
        weights = self._weights
        return [
            *features(one.phrase, other.phrase, weights.rarity),
            *weights.kinship.features(one.projected, other.projected),
            weights.wordings.score(wordings(one.phrase, other.phrase)),
        ]
