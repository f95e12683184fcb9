"""Fits the verifier to pairs of questions, with scipy and scikit-learn, which it does not need later.

Two of its models judge pairs for the third, the trees. They would be too sure of pairs that they were fitted
to, so the trees learn from what they say of groups that they have not seen, in four folds.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import scipy.linalg
from msgspec import Struct
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from benchmarks.questions import Half, Pairs, Questions, hard_pairs
from spendstream.caching.embedding import Vector
from spendstream.caching.features import Rarity, certainty, features, wordings
from spendstream.caching.phrases import Phrase, phrase
from spendstream.caching.weights import Kinship, Trees, Weights, Wordings

__all__ = ["fit", "threshold"]

_FOLDS = 4
_SEEDS = (0, 1)
_DEPTHS = (64, 128, 300, 384)
_LEAST_QUESTIONS = 3  # of a stem whose rarity is known
_LEAST_PAIRS = 8  # of a wording that has a weight
_LEAST_SPREAD = 1e-3
_RIDGE = 1e-5

_Rows: TypeAlias = NDArray[np.float32]
_Labels: TypeAlias = NDArray[np.bool_]


class _Judged(Struct, frozen=True, kw_only=True):
    """Pairs of one half, and all that is known of them before anything is fitted."""

    pairs: Pairs
    vectors: tuple[Vector, Vector]
    certain: Sequence[bool | None]
    plain: _Rows
    named: Sequence[Sequence[str]]


def fit(questions: Questions, half: Half, told: Callable[[int, int], None]) -> Weights:
    """Return a verifier that has seen one half of the questions; `told` hears of steps done, of how many."""
    steps = 2 * _FOLDS + 2
    mine = np.flatnonzero(questions.halves == half)
    phrases = {place: phrase(questions.texts[place], questions.embedding(place)) for place in mine.tolist()}
    rarity = _rarity(list(phrases.values()))
    judged = _judged(questions, hard_pairs(questions, half), phrases, rarity)
    told(1, steps)
    same, folds = judged.pairs.same, judged.pairs.groups % _FOLDS
    said = np.zeros((len(same), 3 * len(_DEPTHS) + 1), dtype=np.float32)
    for fold in range(_FOLDS):
        out = folds == fold
        elsewhere = questions.vectors[mine[questions.groups[mine] % _FOLDS != fold]]
        kinship, weights = _kinship(judged, elsewhere, ~out), _wordings(judged, ~out)
        said[out] = _said(judged, kinship, weights, np.flatnonzero(out))
        told(2 + fold, steps)
    rows = np.column_stack([judged.plain, said])
    unseen = np.zeros(len(rows))
    for fold in range(_FOLDS):
        out = folds == fold
        trees = _boosted(rows[~out], same[~out])
        unseen[out] = [trees.score(row) for row in rows[out].tolist()]
        told(2 + _FOLDS + fold, steps)
    for row, certain in enumerate(judged.certain):
        if certain is not None:
            unseen[row] = math.inf if certain else -math.inf
    everything = np.ones(len(same), dtype=bool)
    fitted = Weights(
        rarity=rarity,
        kinship=_kinship(judged, questions.vectors[mine], everything),
        wordings=_wordings(judged, everything),
        trees=_boosted(rows, same),
        thresholds=(threshold(unseen, same, 0.90), threshold(unseen, same, 0.95)),
    )
    told(steps, steps)
    return fitted


def threshold(scores: NDArray[np.float64], same: _Labels, precision: float) -> float:
    """Return the score from which on pairs have that precision; infinity if there is none."""
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(same[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(right >= precision)
    return float(scores[order[enough[-1]]]) if len(enough) else math.inf


def _judged(questions: Questions, pairs: Pairs, phrases: Mapping[int, Phrase], rarity: Rarity) -> _Judged:
    both = [(phrases[one], phrases[other]) for one, other in pairs.places.tolist()]
    return _Judged(
        pairs=pairs,
        vectors=(questions.vectors[pairs.places[:, 0]], questions.vectors[pairs.places[:, 1]]),
        certain=[certainty(one, other) for one, other in both],
        plain=np.array([features(one, other, rarity) for one, other in both], dtype=np.float32),
        named=[wordings(one, other) for one, other in both],
    )


def _rarity(phrases: Sequence[Phrase]) -> Rarity:
    count = Counter(stem for each in phrases for stem in each.different)
    known = {
        stem: round(math.log(len(phrases) / (found + 1)), 3)
        for stem, found in sorted(count.items())
        if found >= _LEAST_QUESTIONS
    }
    return Rarity(known, round(math.log(len(phrases) / (_LEAST_QUESTIONS - 1)), 3))


def _kinship(judged: _Judged, population: Vector, seen: _Labels) -> Kinship:
    """Find the directions in which meanings differ most, measured by how much one meaning varies."""
    use = seen & judged.pairs.same
    apart = (judged.vectors[0][use] - judged.vectors[1][use]).astype(np.float64)
    mean = population.mean(axis=0)
    centred = (population - mean).astype(np.float64)
    within = apart.T @ apart / (2 * len(apart))
    total = centred.T @ centred / len(centred)
    spread, directions = scipy.linalg.eigh(total, within + _RIDGE * np.eye(len(within)))
    most = np.argsort(-spread)[: max(_DEPTHS)]
    return Kinship(
        mean,
        directions[:, most].astype(np.float16).astype(np.float32),  # as precise as it is stored
        np.maximum(spread[most] - 1, _LEAST_SPREAD).astype(np.float32),
        _DEPTHS,
    )


def _wordings(judged: _Judged, seen: _Labels) -> Wordings:
    """Weigh wordings beside the plain features, so that they say what those do not."""
    count = Counter(name for row in np.flatnonzero(seen).tolist() for name in judged.named[row])
    names = sorted(name for name, found in count.items() if found >= _LEAST_PAIRS)
    columns = {name: column for column, name in enumerate(names)}
    found = [[columns[name] for name in row if name in columns] for row in judged.named]
    ends = np.cumsum([0, *map(len, found)])
    flat = np.fromiter((column for row in found for column in row), dtype=np.int64, count=ends[-1])
    sparse = csr_matrix((np.ones(len(flat), np.float32), flat, ends), shape=(len(found), len(names)))
    spread = np.nanstd(judged.plain, axis=0) + 1e-6
    plain = np.nan_to_num((judged.plain - np.nanmean(judged.plain, axis=0)) / spread).clip(-5, 5) / 2
    model = LogisticRegression(C=0.03, max_iter=60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged: stopping early does no harm
        model.fit(hstack([sparse, csr_matrix(plain)]).tocsr()[seen], judged.pairs.same[seen])
    return Wordings(dict(zip(names, model.coef_[0, : len(names)].round(4).tolist(), strict=True)))


def _said(judged: _Judged, kinship: Kinship, weights: Wordings, rows: NDArray[np.int64]) -> _Rows:
    ones, others = (kinship.project(each[rows]) for each in judged.vectors)
    return np.array(
        [
            [*kinship.features(one, other), weights.score(judged.named[row])]
            for one, other, row in zip(ones, others, rows.tolist(), strict=True)
        ],
        dtype=np.float32,
    )


def _boosted(rows: _Rows, same: _Labels) -> Trees:
    """Fit boosted trees from several seeds, and put them together: their mean is steadier than each."""
    models = [
        HistGradientBoostingClassifier(
            learning_rate=0.05, max_iter=220, max_leaf_nodes=12, l2_regularization=10,
            min_samples_leaf=60, max_features=0.4, early_stopping=False, random_state=seed,
        ).fit(rows, same)
        for seed in _SEEDS
    ]  # fmt: skip
    grown = [stage[0].nodes for model in models for stage in model._predictors]  # noqa: SLF001  # no other way
    starts = np.cumsum([0, *map(len, grown)])
    nodes = np.concatenate(grown)
    places = np.arange(len(nodes), dtype=np.int32)
    own = np.repeat(starts[:-1], [len(tree) for tree in grown])
    leaf = nodes["is_leaf"].astype(bool)
    return Trees(
        starts[:-1].astype(np.int32),
        np.where(leaf, 0, nodes["feature_idx"]).astype(np.int16),
        np.where(leaf, 0, nodes["num_threshold"]).astype(np.float32),
        np.where(leaf, places, own + nodes["left"]).astype(np.int32),
        np.where(leaf, places, own + nodes["right"]).astype(np.int32),
        nodes["missing_go_to_left"].astype(bool),
        (np.where(leaf, nodes["value"], 0) / len(models)).astype(np.float32),
        int(nodes["depth"].max()),
        float(np.mean([model._baseline_prediction[0, 0] for model in models])),  # noqa: SLF001
    )
