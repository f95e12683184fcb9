"""RouteLLM's GSM8K questions with a cheap and a strong model's correctness, and what a router makes of them.

Ong et al., "RouteLLM: Learning to Route LLMs with Preference Data", 2024. A router gives each question a
score; the highest go to the strong model. PGR, the performance gap recovered, is 0 where all calls go to the
cheap model and 1 where all go to the strong one; APGR is its average over all shares of strong calls. Random
mixing has .5.
"""

from __future__ import annotations

import csv
import gzip
import sys
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

__all__ = ["Question", "apgr", "calls_needed", "curve", "gains", "halves", "load"]

Floats = NDArray[np.float64]


class Question(Struct, frozen=True):
    """A question, and who answered it correctly."""

    prompt: str
    cheap: bool
    strong: bool


def load(path: Path) -> list[Question]:
    """Return the questions of gsm8k_responses.csv.gz."""
    csv.field_size_limit(sys.maxsize)
    with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        next(rows)
        return [Question(row[0], row[1] == "True", row[2] == "True") for row in rows]


def halves(questions: Sequence[Question]) -> tuple[list[Question], list[Question]]:
    """Return the questions to learn from and those to judge on; which is which depends on the text alone."""
    learn, judge = [], []
    for question in questions:
        digest = blake2b(question.prompt.encode(), digest_size=1).digest()
        (judge if digest[0] % 2 else learn).append(question)
    return learn, judge


def gains(questions: Sequence[Question]) -> Floats:
    """Return what the strong model is worth for each question: 1, 0, or -1 if only the cheap one is right."""
    return np.array([question.strong - question.cheap for question in questions], dtype=float)


def curve(scores: Floats, gained: Floats) -> Floats:
    """Return PGR after 0, 1, ... all questions went to the strong model, highest score first."""
    order = np.argsort(-scores, kind="stable")
    return np.concatenate([[0.0], np.cumsum(gained[order])]) / gained.sum()


def apgr(scores: Floats, gained: Floats) -> float:
    """Return the area under the curve."""
    points = curve(scores, gained)
    return float((points[:-1] + points[1:]).mean() / 2)


def calls_needed(scores: Floats, gained: Floats, share: float) -> float:
    """Return the least share of strong calls that recovers a share of the gap."""
    return float(np.argmax(curve(scores, gained) >= share) / len(gained))
