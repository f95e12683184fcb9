"""Answers in Redis, shared by all gateways: keys by tenant, times to live by Redis, frames of msgpack.

A kept answer names the generation of the cache and of its tenant in which it was kept. Generations are random
keys; to purge is to replace one, in one step, however many answers there are. A generation that is gone (an
eviction, a restart) makes old answers unreadable, never readable again.

Finding takes one command, so that it asks for three keys in one: a single primary is meant, no cluster.
Redis away is a miss, and told to `on_error`; the gateway serves on.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Any, Protocol

from spendstream.caching.answers import Answer, framed, unframed
from spendstream.errors import SpendstreamError

__all__ = ["Redis", "RedisAnswers"]

_GENERATION_BYTES = 8
_TENANTS_SEEN = 10_000


class Redis(Protocol):
    """Sends one command and returns its reply, bytes for strings.

    Raises SpendstreamError when Redis is away or slow, or answers with an error.
    """

    def execute(self, *args: bytes | int | str) -> Awaitable[Any]:
        """Send a command."""


class RedisAnswers:
    """An `AnswerStore` in Redis, under keys that begin with `prefix`."""

    def __init__(
        self, redis: Redis, *, prefix: str = "spendstream:answers", on_error: Callable[[Exception], None]
    ) -> None:
        self._redis = redis
        self._prefix = prefix.encode()
        self._all = self._prefix + b":generation"
        self._seen: dict[bytes, bytes] = {}
        self._on_error = on_error

    async def find(self, tenant: str, digest: bytes, now: int) -> Answer | None:  # noqa: ARG002  # Redis has a clock
        """Return the answer that was kept, if its time is not over; None if Redis is away."""
        own = self._own(tenant)
        try:
            found = await self._redis.execute("MGET", self._all, own, own + digest)
        except SpendstreamError as error:
            self._on_error(error)
            return None
        everything, generation, value = found
        if everything is None or generation is None:
            self._seen.pop(own, None)
            return None
        generations = self._note(own, everything + generation)
        return None if value is None else _read(tenant, digest, generations, value)

    async def keep(self, answer: Answer, ttl: int, now: int) -> None:  # noqa: ARG002  # Redis has a clock
        """Keep an answer for `ttl` microseconds at most; nowhere if Redis is away."""
        milliseconds = ttl // 1000
        if milliseconds <= 0:
            return
        own = self._own(answer.tenant)
        try:
            # A purge since they were seen leaves an answer of a past generation, which nobody finds.
            generations = self._seen.get(own) or self._note(own, await self._generations(own))
            value = generations + framed(answer)
            await self._redis.execute("SET", own + answer.digest, value, "PX", milliseconds)
        except SpendstreamError as error:
            self._on_error(error)

    async def purge(self, tenant: str | None) -> None:
        """Forget all answers of a tenant; of all tenants if None.

        Raises SpendstreamError: who purges must know whether it is done.
        """
        self._seen.clear()
        await self._redis.execute("SET", self._all if tenant is None else self._own(tenant), _new())

    async def _generations(self, own: bytes) -> bytes:
        found = await self._redis.execute("MGET", self._all, own)
        if None in found:
            for key in (self._all, own):
                await self._redis.execute("SET", key, _new(), "NX")  # or another gateway was faster
            found = await self._redis.execute("MGET", self._all, own)
        return b"".join(each or b"" for each in found)  # one that is gone again leaves what nobody reads

    def _note(self, own: bytes, generations: bytes) -> bytes:
        """Remember a tenant's generations, so that what is kept after a look costs one command."""
        if len(self._seen) >= _TENANTS_SEEN:
            self._seen.clear()
        self._seen[own] = generations
        return generations

    def _own(self, tenant: str) -> bytes:
        """Return what the keys of a tenant begin with, which is the key of its generation, too."""
        name = blake2b(tenant.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return b"%s:%s:" % (self._prefix, name.encode())


def _new() -> bytes:
    return secrets.token_bytes(_GENERATION_BYTES)


def _read(tenant: str, digest: bytes, generations: bytes, value: bytes) -> Answer | None:
    if not value.startswith(generations):
        return None
    answer = unframed(value[len(generations) :])
    if answer is None or answer.tenant != tenant or answer.digest != digest:
        return None
    return answer
