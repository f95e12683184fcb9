"""How two questions differ and agree, as numbers: the same for either order of the two."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from spendstream.caching.embedding import Vector
from spendstream.caching.phrases import ANTONYMS, Phrase

__all__ = ["Rarity", "certainty", "features", "wordings"]


class Rarity(Struct, frozen=True):
    """How much a stem tells: the logarithm of how many questions there are for each that has it."""

    known: Mapping[str, float]
    unknown: float

    def of(self, stem: str) -> float:
        """Return it for a stem; all that are not known tell equally much."""
        return self.known.get(stem, self.unknown)

    def total(self, stems: Collection[str]) -> float:
        """Return the sum over stems."""
        return sum(map(self.of, stems))


class _Side(Struct, frozen=True):
    """One of the two: what its words are worth, and how near each comes to a word of the other one."""

    phrase: Phrase
    weights: Vector
    nearest: Vector
    alone: Sequence[int]  # places of the words whose stems the other one has not
    telling: Sequence[int]  # those of them that are no stop words

    def pooled(self) -> Vector:
        """Return the direction of its telling words together."""
        return _unit(self.weights[self.telling] @ self.phrase.vectors[self.telling])

    def aligned(self) -> tuple[float, ...]:
        """Return how well its words are met in the other one: weighted, plain, the worst."""
        near, weights = self.nearest, self.weights
        missing = (1 - near) * weights
        return (
            float(near @ weights) / float(weights.sum()),
            float(near.mean()),
            float(near.min()),
            float(missing.max()),
            float(missing.sum()),
            float(near[self.telling].min()) if self.telling else 1.0,
            float(weights[self.telling].max()) if self.telling else 0.0,
            float(len(self.telling)),
            float(len(self.alone)),
        )


def features(a: Phrase, b: Phrase, rarity: Rarity) -> list[float]:
    """Return the features of a pair; nan for what it has not. Both need words."""
    near = a.vectors @ b.vectors.T
    one, other = _side(a, b, near, rarity), _side(b, a, near.T, rarity)
    return [
        *_vectors(one, other),
        *_overlaps(a, b, rarity),
        *_alignments(one, other),
        *_substitution(one, other, near),
        *_particulars(one, other),
    ]


def certainty(a: Phrase, b: Phrase) -> bool | None:
    """Return whether two questions ask the same, where their words leave no doubt; else None.

    They do with the same words in the same order. They do not if one has a number that the other has not,
    only one is negated, each has a name that the other has not, or one has the opposite of a word of the
    other. A model that is trained on what people ask has seen few of these, and an answer that is wrong by
    a "not" is worse than one that is paid for again.
    """
    if a.words == b.words:
        return True
    if a.numbers != b.numbers or a.negations % 2 != b.negations % 2:
        return False
    if a.names - b.different and b.names - a.different:
        return False
    alone_a = {word for word, stem in zip(a.words, a.stems, strict=True) if stem not in b.different}
    alone_b = {word for word, stem in zip(b.words, b.stems, strict=True) if stem not in a.different}
    opposed = any(not ANTONYMS.get(word, frozenset()).isdisjoint(alone_b) for word in alone_a)
    return False if opposed else None


def wordings(a: Phrase, b: Phrase) -> list[str]:
    """Return names of what a pair has in common and what not, word by word, for a table of weights."""
    only_a, only_b = a.different - b.different, b.different - a.different
    apart = only_a | only_b
    names = [f"- {stem}" for stem in apart]
    names += [f"= {stem}" for stem in a.different & b.different]
    if len(only_a) == len(only_b) == 1:
        names.append("~ " + " ".join(sorted(apart)))
    elif not only_a or not only_b:
        names += [f"+ {stem}" for stem in apart]
    names.append("? " + " | ".join(sorted((" ".join(a.words[:2]), " ".join(b.words[:2])))))
    return names


def _side(phrase: Phrase, other: Phrase, near: Vector, rarity: Rarity) -> _Side:
    alone = [place for place, stem in enumerate(phrase.stems) if stem not in other.different]
    return _Side(
        phrase,
        np.array([rarity.of(stem) for stem in phrase.stems], dtype=np.float32),
        near.max(axis=1),
        alone,
        [place for place in alone if place in phrase.content],
    )


def _vectors(one: _Side, other: _Side) -> tuple[float, ...]:
    a, b = one.phrase, other.phrase
    weighted = [_unit(side.weights @ side.phrase.vectors) for side in (one, other)]
    return float(a.vector @ b.vector), float(weighted[0] @ weighted[1])


def _overlaps(a: Phrase, b: Phrase, rarity: Rarity) -> tuple[float, ...]:
    short, long = sorted((len(a.words), len(b.words)))
    both = rarity.total(a.different & b.different)
    less, more = sorted((rarity.total(a.different - b.different), rarity.total(b.different - a.different)))
    content = [[each.stems[place] for place in each.content] for each in (a, b)]
    return (
        short,
        long,
        short / long,
        a.length + b.length,
        _share(a.different, b.different),
        _share(a.content_stems, b.content_stems),
        _share(a.trigrams, b.trigrams),
        _share(a.bigrams, b.bigrams),
        both,
        both / ((both + less + more) or 1),
        both / ((both + less) or 1),
        less,
        more,
        len(a.different & b.different) / min(len(a.different), len(b.different)),
        _in_order(a.stems, b.stems) / long,
        _in_order(*content) / (max(map(len, content)) or 1),
    )


def _alignments(one: _Side, other: _Side) -> list[float]:
    pairs = zip(one.aligned(), other.aligned(), strict=True)
    return [each for pair in pairs for each in sorted(pair)]


def _substitution(one: _Side, other: _Side, near: Vector) -> tuple[float, ...]:
    """Return how near the words of one that the other has not come to those of the other."""
    if not one.telling or not other.telling:
        return math.nan, math.nan, math.nan
    between = near[np.ix_(one.telling, other.telling)]
    worst = sorted((float(between.max(axis=1).min()), float(between.max(axis=0).min())))
    return float(one.pooled() @ other.pooled()), *worst


def _particulars(one: _Side, other: _Side) -> tuple[float, ...]:
    """Return what turns a question into another: names, numbers, negation, opposites, how it is asked."""
    a, b = one.phrase, other.phrase
    names = sorted((len(a.names - b.different), len(b.names - a.different)))
    questions = sorted((a.question, b.question))
    opposed = sum(not ANTONYMS.get(a.words[place], frozenset()).isdisjoint(b.words) for place in one.alone)
    ends = [[each.stems[each.content[side]] if each.content else "" for each in (a, b)] for side in (0, -1)]
    return (
        len(a.numbers ^ b.numbers),
        len(a.numbers & b.numbers),
        *names,
        len(a.names & b.names),
        abs(a.negations - b.negations),
        a.negations + b.negations,
        *questions,
        float(a.question == b.question),
        opposed,
        *(float(first == second) for first, second in ends),
        float(a.words[:2] == b.words[:2]),
    )


def _share(a: frozenset[Any], b: frozenset[Any]) -> float:
    """Return Jaccard's index."""
    return len(a & b) / len(a | b) if a or b else 1.0


def _in_order(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    before = [0] * (len(b) + 1)
    for mine in a:
        row = [0]
        for place, yours in enumerate(b):
            row.append(before[place] + 1 if mine == yours else max(before[place + 1], row[place]))
        before = row
    return before[-1]


def _unit(vector: Vector) -> Vector:
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length else vector
