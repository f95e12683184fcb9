"""The semantic cache: how many questions it answers again, and how many of these rightly.

Half of the pairs that are judged mean the same, by their label; the other half are the hardest of those
without a label (`benchmarks.questions`). Recall is the share of the former that is let through, by the lowest
threshold at which a given share of all that is let through means the same. The verifier is fitted to one half
of the questions and judges the other, and the other way round.

Then, with the thresholds that are shipped, as a cache: of the half that the shipped verifier has not seen one
question of each second group is kept, another of each group is asked, and the nearest that is kept is judged.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import shared_data
from benchmarks.fitting import fit, threshold
from benchmarks.questions import Half, Pairs, Questions, hard_pairs, questions
from benchmarks.reporting import Machine, machine, options, report
from spendstream.caching import weights as stored
from spendstream.caching.verifier import Precision, Verifier

_SEEN: Half = 0
_UNSEEN: Half = 1
_PRECISIONS: Sequence[Precision] = ("0.90", "0.95")
_COSINE = 0.8
_RESAMPLES = 200
_BLOCK = 1_000

_Scores: TypeAlias = NDArray[np.float64]
_Progress: TypeAlias = Callable[[int, int], None]


class _Recall(Struct, frozen=True, kw_only=True):
    """A recall, and the middle 95 % of what it is for groups drawn with replacement."""

    value: float
    low: float
    high: float


class _Judge(Struct, frozen=True, kw_only=True):
    """What tells pairs of a half apart, and how well by the threshold that is best for these very pairs."""

    judge: str
    half: Half
    pairs: int
    recall_at: Mapping[Precision, _Recall]


class _Set(Struct, frozen=True, kw_only=True):
    """What a threshold that was set beforehand comes to on pairs, and in a cache."""

    judge: str
    pairs_precision: float
    pairs_recall: float
    cache_precision: float
    cache_recall: float


class _Report(Struct, frozen=True, kw_only=True):
    machine: Machine
    questions: int
    groups: int
    judges: Sequence[_Judge]
    thresholds: Sequence[_Set]
    microseconds: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = options(__doc__)
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="write the verifier that is fitted to the first half"
    )
    chosen = parser.parse_args(argv)
    measured = report(partial(_measured, write=chosen.write), _show, as_json=chosen.json)
    return 0 if measured else 1


def _measured(_: Path, bars: Progress, *, write: Path | None) -> _Report:
    asked = questions(shared_data.folder() / "qqp", _bar(bars, "embedding"))
    judges: list[_Judge] = []
    halves: Sequence[tuple[Half, Half]] = ((_SEEN, _UNSEEN), (_UNSEEN, _SEEN))
    for seen, unseen in halves:
        fitted = fit(asked, seen, _bar(bars, f"fitting to half {seen}"))
        if write is not None and seen == _SEEN:
            stored.save(fitted, write)
        pairs = hard_pairs(asked, unseen)
        likeness = _likeness(asked, pairs.places)
        scores, _spent = _scored(asked, Verifier(fitted), pairs.places, _bar(bars, f"judging half {unseen}"))
        judges += [_judge("cosine", unseen, likeness, pairs), _judge("verifier", unseen, scores, pairs)]
    thresholds, spent = _thresholds(asked, bars)
    return _Report(
        machine=machine(),
        questions=len(asked.texts),
        groups=len(set(asked.groups.tolist())),
        judges=judges,
        thresholds=thresholds,
        microseconds=round(spent, 1),
    )


def _bar(bars: Progress, what: str) -> _Progress:
    task = bars.add_task(what, total=None)
    return lambda done, of: bars.update(task, completed=done, total=of)


def _likeness(asked: Questions, places: NDArray[np.int64]) -> _Scores:
    """Return the cosine of each pair."""
    ones, others = asked.vectors[places[:, 0]], asked.vectors[places[:, 1]]
    likeness: _Scores = np.einsum("ij,ij->i", ones, others).astype(np.float64)
    return likeness


def _scored(
    asked: Questions, verifier: Verifier, places: NDArray[np.int64], told: _Progress
) -> tuple[_Scores, float]:
    """Return the verifier's score of each pair, and how many microseconds one takes."""
    prepared = {
        place: verifier.prepare(asked.texts[place], asked.embedding(place))
        for place in np.unique(places).tolist()
    }
    scores = []
    spent = 0.0
    for start in range(0, len(places), _BLOCK):
        started = time.process_time()
        for one, other in places[start : start + _BLOCK].tolist():
            first, second = prepared[one], prepared[other]
            scores.append(verifier.score(first, second) if first and second else -np.inf)
        spent += time.process_time() - started
        told(len(scores), len(places))
    return np.array(scores), 1e6 * spent / len(scores)


def _judge(judge: str, half: Half, scores: _Scores, pairs: Pairs) -> _Judge:
    recalls = {name: _recall(scores, pairs, float(name)) for name in _PRECISIONS}
    return _Judge(judge=judge, half=half, pairs=len(scores), recall_at=recalls)


def _recall(scores: _Scores, pairs: Pairs, precision: float) -> _Recall:
    order = np.argsort(-scores, kind="stable")
    same = pairs.same[order]
    _, groups = np.unique(pairs.groups[order], return_inverse=True)
    rng = np.random.default_rng(0)
    count = int(groups.max()) + 1
    drawn = []
    for _ in range(_RESAMPLES):
        times = np.bincount(rng.integers(count, size=count), minlength=count)[groups]
        drawn.append(_weighted_recall(same, times, precision))
    low, high = np.quantile(drawn, [0.025, 0.975]).round(4).tolist()
    value = pairs.same[scores >= threshold(scores, pairs.same, precision)].sum() / pairs.same.sum()
    return _Recall(value=round(float(value), 4), low=low, high=high)


def _weighted_recall(same: NDArray[np.bool_], times: NDArray[np.int64], precision: float) -> float:
    """Return the recall of pairs in the order of their scores, each of which is there so many times."""
    right, through = np.cumsum(same * times), np.cumsum(times)
    enough = np.flatnonzero(right >= precision * np.maximum(through, 1))
    return float(right[enough[-1]] / right[-1]) if len(enough) else 0.0


def _thresholds(asked: Questions, bars: Progress) -> tuple[list[_Set], float]:
    """Judge the half that the shipped verifier has not seen, and how many microseconds a pair takes."""
    shipped = Verifier()
    pairs = hard_pairs(asked, _UNSEEN)
    cached, right, counterparts = _cached(asked)
    told = _bar(bars, "judging with the shipped weights")
    scores, spent = _scored(asked, shipped, np.concatenate([pairs.places, cached]), told)
    likeness = _likeness(asked, np.concatenate([pairs.places, cached]))
    judged = [(f"cosine {_COSINE}", likeness >= _COSINE)]
    judged += [(f"verifier {name}", scores >= shipped.threshold(name)) for name in _PRECISIONS]
    return [
        _Set(
            judge=judge,
            pairs_precision=_share(pairs.same, through[: len(pairs.same)]),
            pairs_recall=round(float(through[: len(pairs.same)][pairs.same].mean()), 4),
            cache_precision=_share(right, through[len(pairs.same) :]),
            cache_recall=round(float(right[through[len(pairs.same) :]].sum() / counterparts), 4),
        )
        for judge, through in judged
    ], spent


def _share(same: NDArray[np.bool_], through: NDArray[np.bool_]) -> float:
    return round(float(same[through].mean()), 4) if through.any() else 1.0


def _cached(asked: Questions) -> tuple[NDArray[np.int64], NDArray[np.bool_], int]:
    """Return questions asked with the nearest one kept, and whether these mean the same.

    Also how many of the questions asked have a counterpart that is kept.
    """
    rng = np.random.default_rng(0)
    members: dict[int, list[int]] = {}
    for place in rng.permutation(np.flatnonzero(asked.halves == _UNSEEN)).tolist():
        members.setdefault(int(asked.groups[place]), []).append(place)
    several = [places for places in members.values() if len(places) > 1]
    kept = np.array([places[0] for places in several[::2]])
    asking = np.array([places[1] for places in several])
    nearest = np.concatenate(
        [
            kept[(asked.vectors[asking[start : start + _BLOCK]] @ asked.vectors[kept].T).argmax(axis=1)]
            for start in range(0, len(asking), _BLOCK)
        ]
    )
    return np.column_stack([asking, nearest]), asked.groups[asking] == asked.groups[nearest], len(kept)


def _show(measured: _Report, console: Console) -> None:
    console.print(f"{measured.machine}. {measured.questions:,} questions, {measured.groups:,} groups.")
    table = Table(title="Recall on the half that was not seen (95 % interval)", box=SIMPLE)
    for name in ("judge", "half", "pairs"):
        table.add_column(name, no_wrap=True)
    for precision in _PRECISIONS:
        table.add_column(f"at precision {precision}", justify="right", no_wrap=True)
    for each in measured.judges:
        recalls = [
            f"{recall.value:.3f} ({recall.low:.3f}-{recall.high:.3f})" for recall in each.recall_at.values()
        ]
        table.add_row(each.judge, str(each.half), f"{each.pairs:,}", *recalls)
    console.print(table)
    table = Table(title=f"Thresholds set beforehand, shipped weights, half {_UNSEEN}", box=SIMPLE)
    table.add_column("judge", no_wrap=True)
    for name in ("pairs: precision", "recall", "as a cache: precision", "recall"):
        table.add_column(name, justify="right", no_wrap=True)
    for held in measured.thresholds:
        shares = (held.pairs_precision, held.pairs_recall, held.cache_precision, held.cache_recall)
        table.add_row(held.judge, *(f"{share:.3f}" for share in shares))
    console.print(table)
    console.print(
        f"The verifier takes {measured.microseconds:.0f} µs of CPU for a pair, beside the embedding."
    )


if __name__ == "__main__":
    sys.exit(main())
