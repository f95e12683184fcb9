"""What an embedding model tells of a text, and the role of such a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

__all__ = ["DIMENSIONS", "Embedder", "Embedding", "Vector"]

DIMENSIONS = 384
"""Of the vectors of all-MiniLM-L6-v2, for which the verifier is trained."""

Vector: TypeAlias = NDArray[np.float32]


class Embedding(Struct, frozen=True, kw_only=True):
    """A text's vector, of length 1, and that of each of its tokens, in context.

    `tokens` is tokens x dimensions; `spans` says from which character of the text to which each token goes.
    """

    vector: Vector
    tokens: Vector
    spans: Sequence[tuple[int, int]]


class Embedder(Protocol):
    """Embeds texts, one at a time."""

    async def embed(self, text: str) -> Embedding:
        """Return what the model tells of `text`, of which a model may read the beginning only."""
