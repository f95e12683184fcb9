"""Pairs of questions that mean the same (GPTCache's sample of Quora's pairs, MIT licence), in two halves.

Only pairs that mean the same are labelled. Their questions fall into groups: what a chain of pairs connects
means the same. A group is in one half or the other, so that no question of one half, in whatever spelling, is
in the other one. Each pair gets the hardest pair there is that is not labelled: its first question with the
nearest question of another group of its half. Some of these do mean the same, and nobody said so; they count
as errors here.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from benchmarks.children import BenchmarkError
from spendstream.adapters.minilm import MiniLM
from spendstream.caching.embedding import Embedding, Vector

__all__ = ["Half", "Pairs", "Questions", "hard_pairs", "questions"]

Half: TypeAlias = Literal[0, 1]
_FILE = "similiar_qqp.json.gz"
_CACHE = Path(__file__).parents[1] / ".cache" / "benchmarks"
_BLOCK = 1_000


class Questions(Struct, frozen=True, kw_only=True):
    """All questions, their groups and halves, the labelled pairs (places), and what a model tells of them.

    Tokens of all questions follow one another; `ends` says where those of each end.
    """

    texts: Sequence[str]
    groups: NDArray[np.int64]
    halves: NDArray[np.int64]
    pairs: Sequence[tuple[int, int]]
    vectors: Vector
    tokens: NDArray[np.float16]
    spans: NDArray[np.int32]
    ends: NDArray[np.int64]

    def embedding(self, place: int) -> Embedding:
        """Return what the model tells of one question."""
        words = slice(int(self.ends[place - 1]) if place else 0, int(self.ends[place]))
        spans = [(start, end) for start, end in self.spans[words].tolist()]
        return Embedding(
            vector=self.vectors[place], tokens=self.tokens[words].astype(np.float32), spans=spans
        )


class Pairs(Struct, frozen=True, kw_only=True):
    """Pairs of places, whether they mean the same, and the group of the first one."""

    places: NDArray[np.int64]
    same: NDArray[np.bool_]
    groups: NDArray[np.int64]


def questions(folder: Path, told: Callable[[int, int], None]) -> Questions:
    """Read and embed the questions in `folder`; `told` hears how many of how many are embedded.

    Raises BenchmarkError where the file is missing.
    """
    file = folder / _FILE
    if not file.is_file():
        raise BenchmarkError(f"no {_FILE} in {folder}: set PUBLIC_DATA to the folder that holds qqp")
    with tarfile.open(file) as archive:
        member = next(each for each in archive if each.name.endswith(".json") and "/." not in each.name)
        content = archive.extractfile(member)
        if content is None:
            raise BenchmarkError(f"no questions in {file}")
        labelled = [(str(each["origin"]), str(each["similar"])) for each in json.load(content)]
    texts = list(dict.fromkeys(text for pair in labelled for text in pair))
    places = {text: place for place, text in enumerate(texts)}
    pairs = [(places[one], places[other]) for one, other in labelled]
    names = _groups(texts, pairs)
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    return Questions(
        texts=texts,
        groups=np.array([numbers[name] for name in names]),
        halves=np.array([_half(name) for name in names]),
        pairs=pairs,
        **_embedded(texts, told),
    )


def hard_pairs(all_questions: Questions, half: Half) -> Pairs:
    """Return the labelled pairs of a half, and for each the hardest one that is not labelled."""
    labelled = np.array([pair for pair in all_questions.pairs if all_questions.halves[pair[0]] == half])
    pool = np.flatnonzero(all_questions.halves == half)
    vectors, groups = all_questions.vectors, all_questions.groups
    asked = np.unique(labelled[:, 0])
    nearest: dict[int, int] = {}
    for block in (asked[start : start + _BLOCK] for start in range(0, len(asked), _BLOCK)):
        likeness = vectors[block] @ vectors[pool].T
        likeness[groups[block][:, None] == groups[pool][None]] = -1
        nearest.update(zip(block.tolist(), pool[likeness.argmax(axis=1)].tolist(), strict=True))
    others = np.array([(one, nearest[one]) for one in labelled[:, 0].tolist()])
    places = np.concatenate([labelled, others])
    same = np.arange(len(places)) < len(labelled)
    return Pairs(places=places, same=same, groups=groups[places[:, 0]])


def _groups(texts: Sequence[str], pairs: Sequence[tuple[int, int]]) -> list[str]:
    """Return the name of each question's group: its first spelling in the order of the alphabet."""
    parents = {_plain(text): _plain(text) for text in texts}

    def root(name: str) -> str:
        while parents[name] != name:
            parents[name] = parents[parents[name]]
            name = parents[name]
        return name

    for one, other in pairs:
        first, last = sorted((root(_plain(texts[one])), root(_plain(texts[other]))))
        parents[last] = first
    return [root(_plain(text)) for text in texts]


def _plain(text: str) -> str:
    """Return what all spellings of a question have in common that differ in case and punctuation."""
    return re.sub(r"[\W_]+", " ", text.lower()).strip()


def _half(name: str) -> int:
    return blake2b(name.encode(), digest_size=1).digest()[0] % 2


def _embedded(texts: Sequence[str], told: Callable[[int, int], None]) -> dict[str, NDArray[Any]]:
    """Embed all texts, or read what an earlier run has embedded: it takes minutes."""
    file = _CACHE / f"questions-{sha256(json.dumps(texts).encode()).hexdigest()[:16]}.npz"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        embeddings = list(_embed(texts, told))
        half_written = file.with_suffix(".part.npz")
        np.savez(
            half_written,
            vectors=np.array([each.vector for each in embeddings]),
            tokens=np.concatenate([each.tokens for each in embeddings]),
            spans=np.concatenate([np.array(each.spans, np.int32).reshape(-1, 2) for each in embeddings]),
            ends=np.cumsum([len(each.tokens) for each in embeddings]),
        )
        half_written.rename(file)
    with np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in ("vectors", "tokens", "spans", "ends")}


def _embed(texts: Sequence[str], told: Callable[[int, int], None]) -> Iterator[Embedding]:
    model = MiniLM()
    for place, text in enumerate(texts):
        embedding = model.embed_now(text)
        yield replace(embedding, tokens=embedding.tokens.astype(np.float16))
        told(place + 1, len(texts))
    model.close()
