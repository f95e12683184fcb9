"""What a call has to do with the cache: the answer that it found there, or what it was looking for."""

from __future__ import annotations

import asyncio
from typing import TypeAlias

from msgspec import Struct

from gateway.usage import Usage
from spendstream.caching.answers import Answer
from spendstream.caching.semantic import Asked
from spendstream.caching.wishes import Wishes
from spendstream.events import CacheOutcome

__all__ = ["Flight", "Hit", "Keepsake", "Sought"]


class Hit(Struct, frozen=True, kw_only=True):
    """An answer that need not be paid for. `similarity` is the cosine of the questions, if they differ."""

    answer: Answer
    outcome: CacheOutcome
    similarity: float | None = None

    @property
    def usage(self) -> Usage:
        """What the answer used when it was made."""
        return Usage(
            input_tokens=self.answer.input_tokens,
            output_tokens=self.answer.output_tokens,
            cache_read_tokens=self.answer.cache_read_tokens,
            cache_write_tokens=self.answer.cache_write_tokens,
            cache_write_1h_tokens=self.answer.cache_write_1h_tokens,
            reasoning_tokens=self.answer.reasoning_tokens,
        )


Flight: TypeAlias = "asyncio.Future[Answer | None]"
"""The answer of a call under way; None if it comes to nothing that others may have."""


class Sought(Struct, frozen=True, kw_only=True):
    """A request that the cache was asked about, so that its answer can be kept.

    It was `seen` so often before. `asked` is its question, where answers are found by meaning. Others wait
    for its answer if there is a `flight`.
    """

    tenant: str
    digest: bytes
    wishes: Wishes
    stability: float
    seen: int
    reusability: float
    asked: Asked | None = None
    flight: Flight | None = None


class Keepsake(Struct, frozen=True):
    """An answer to keep for `ttl` microseconds, and what it answers."""

    answer: Answer
    ttl: int
    sought: Sought
