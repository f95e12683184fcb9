"""A kept answer, the role of a store of them, and the frame that a store outside this process holds."""

from __future__ import annotations

from typing import Protocol

import msgspec
from msgspec import Struct

__all__ = ["Answer", "AnswerStore", "framed", "unframed"]

_VERSION = b"\x01"


class Answer(Struct, frozen=True, kw_only=True, array_like=True):
    """One whole reply, as its provider sent it, and what it cost then.

    `digest` is the request's (`spendstream.caching.identity`), `cost` in picodollars, None if no price was
    known. Cache tokens are part of `input_tokens`, and reasoning tokens of `output_tokens`, as in every
    event. `created_at` is in microseconds since 1970 UTC.
    """

    tenant: str
    digest: bytes
    provider: str
    model: str
    body: bytes
    finish_reason: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    cost: int | None
    created_at: int

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, roughly."""
        return len(self.body) + len(self.tenant) + _FIXED


_FIXED = 1_000
"""Bytes of an answer beside its body, with its places in the structures of a store in memory: measured."""


class AnswerStore(Protocol):
    """Keeps answers by tenant and digest. What it gives back is what was kept, or nothing.

    A store that is away finds nothing and keeps nothing; only `purge` raises SpendstreamError then.
    """

    async def find(self, tenant: str, digest: bytes, now: int) -> Answer | None:
        """Return the answer that was kept, if its time is not over."""

    async def keep(self, answer: Answer, ttl: int, now: int) -> None:
        """Keep an answer for `ttl` microseconds at most; it may go earlier. A newer one takes its place."""

    async def purge(self, tenant: str | None) -> None:
        """Forget all answers of a tenant; of all tenants if None."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Answer).decode


def framed(answer: Answer) -> bytes:
    """Return an answer as bytes: a version, then msgpack."""
    return _VERSION + _encode(answer)


def unframed(frame: bytes) -> Answer | None:
    """Return the answer in a frame; None for one of another version, or that is damaged."""
    if frame[:1] != _VERSION:
        return None
    try:
        return _decode(memoryview(frame)[1:])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
