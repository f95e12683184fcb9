"""Answers to questions that mean the same: an index of the questions asked, beside a store of answers.

A question is compared only with those of its tenant whose whole rest is equal: model, system prompt, earlier
turns, temperature, tools. The likeliest by their vectors are judged by the verifier.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from spendstream.caching.answers import Answer, AnswerStore
from spendstream.caching.embedding import DIMENSIONS, Embedder, Vector
from spendstream.caching.identity import Question
from spendstream.caching.verifier import Precision, Prepared, Verifier

__all__ = ["Asked", "Near", "SemanticAnswers", "SemanticIndex"]

_CANDIDATES = 3
_LEAST_LIKENESS = 0.7  # cosine; in training hardly a pair below was told apart with any precision
_FIRST_ROWS = 4


class Asked(Struct, frozen=True):
    """A question that is ready to be compared, whose it is, and the digest of its rest."""

    tenant: str
    rest: bytes
    prepared: Prepared


class Near(Struct, frozen=True):
    """The digest of a question that was asked before and means the same, and the cosine of the two."""

    digest: bytes
    similarity: float


class _Group:
    """Questions with the same rest, `most` at most: then the oldest makes room."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._matrix: Vector = np.zeros((min(_FIRST_ROWS, most), DIMENSIONS), dtype=np.float32)
        self._asked: list[tuple[bytes, Prepared] | None] = []
        self._places: dict[bytes, int] = {}
        self._next = 0
        self.size = 0

    def __len__(self) -> int:
        return len(self._places)

    def add(self, digest: bytes, prepared: Prepared) -> None:
        self.forget(digest)
        place = self._next
        if place == len(self._asked):
            self._asked.append(None)
            if place == len(self._matrix):
                rows = min(2 * place, self._most) - place
                self._matrix = np.vstack([self._matrix, np.zeros((rows, DIMENSIONS), dtype=np.float32)])
        before = self._asked[place]
        if before is not None:
            self.forget(before[0])
        self._asked[place] = digest, prepared
        self._places[digest] = place
        self._matrix[place] = prepared.phrase.vector
        self._next = (place + 1) % self._most
        self.size += prepared.size + self._matrix.itemsize * DIMENSIONS

    def forget(self, digest: bytes) -> None:
        place = self._places.pop(digest, None)
        if place is None:
            return
        asked = self._asked[place]
        self._asked[place] = None
        self._matrix[place] = 0
        if asked is not None:
            self.size -= asked[1].size + self._matrix.itemsize * DIMENSIONS

    def nearest(self, vector: Vector) -> list[tuple[float, bytes, Prepared]]:
        """Return the questions whose vectors are nearest, the nearest first, with their cosines."""
        likeness = self._matrix[: len(self._asked)] @ vector
        best = np.argsort(-likeness, kind="stable")[:_CANDIDATES].tolist()
        found = []
        for place in best:
            asked = self._asked[place]
            if asked is not None and likeness[place] >= _LEAST_LIKENESS:
                found.append((min(float(likeness[place]), 1.0), *asked))
        return found


class SemanticIndex:
    """The questions asked, in at most `max_bytes`; the rest that was not asked for longest goes first."""

    def __init__(
        self, verifier: Verifier, max_bytes: int, *, precision: Precision = "0.95", most_per_rest: int = 1024
    ) -> None:
        self._verifier = verifier
        self._max_bytes = max_bytes
        self._threshold = verifier.threshold(precision)
        self._most_per_rest = most_per_rest
        self._groups: dict[tuple[str, bytes], _Group] = {}
        self._bytes = 0

    @property
    def taken(self) -> int:
        """Bytes that are taken now, roughly."""
        return self._bytes

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def find(self, asked: Asked) -> Near | None:
        """Return the question, asked before, that most likely means the same; None if none likely does."""
        key = asked.tenant, asked.rest
        group = self._groups.pop(key, None)
        if group is None:
            return None
        self._groups[key] = group  # now the last to go
        judged = [
            (self._verifier.score(asked.prepared, prepared), Near(digest, likeness))
            for likeness, digest, prepared in group.nearest(asked.prepared.phrase.vector)
        ]
        score, near = max(judged, key=lambda each: each[0], default=(-np.inf, None))
        return near if score >= self._threshold else None

    def add(self, asked: Asked, digest: bytes) -> None:
        """Remember a question by the digest of its request."""
        key = asked.tenant, asked.rest
        group = self._groups.pop(key, None) or _Group(self._most_per_rest)
        self._groups[key] = group
        self._bytes -= group.size
        group.add(digest, asked.prepared)
        self._bytes += group.size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._groups)))

    def forget(self, asked: Asked, digest: bytes) -> None:
        """Forget a question with the same rest as `asked`, by its request's digest."""
        key = asked.tenant, asked.rest
        group = self._groups.get(key)
        if group is None:
            return
        self._bytes -= group.size
        group.forget(digest)
        self._bytes += group.size
        if not len(group):
            self._drop(key)

    def purge(self, tenant: str | None) -> None:
        """Forget all questions of a tenant; of all tenants if None."""
        for key in [key for key in self._groups if tenant is None or key[0] == tenant]:
            self._drop(key)

    def _drop(self, key: tuple[str, bytes]) -> None:
        self._bytes -= self._groups.pop(key).size


class SemanticAnswers:
    """Finds answers by meaning: an embedder, the index, and the store that has the answers."""

    def __init__(
        self, embedder: Embedder, verifier: Verifier, index: SemanticIndex, store: AnswerStore
    ) -> None:
        self._embedder = embedder
        self._verifier = verifier
        self._index = index
        self._store = store

    async def ask(self, tenant: str, question: Question) -> Asked | None:
        """Make a question ready to be found or kept; None if it has no words."""
        prepared = self._verifier.prepare(question.text, await self._embedder.embed(question.text))
        return Asked(tenant, question.rest, prepared) if prepared else None

    async def find(self, asked: Asked, now: int) -> tuple[Answer, float] | None:
        """Return the answer to a question that means the same, and the cosine of the two."""
        near = self._index.find(asked)
        if near is None:
            return None
        answer = await self._store.find(asked.tenant, near.digest, now)
        if answer is None:  # its time is over, or it was purged
            self._index.forget(asked, near.digest)
            return None
        return answer, near.similarity

    def keep(self, asked: Asked, digest: bytes) -> None:
        """Let a question be found whose answer is kept under `digest`."""
        self._index.add(asked, digest)

    def purge(self, tenant: str | None) -> None:
        """Forget the questions of a tenant, or all; their answers are the store's to forget."""
        self._index.purge(tenant)
