"""The cache around a call: an answer that is there, one that is under way, and what is worth keeping.

Identical calls that come while one of them is under way wait for its answer (single flight).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from gateway.exchange import Exchange
from gateway.hits import Hit, Sought
from spendstream.caching.admission import Admission, Policy, is_complete, reusability, stability, stateful
from spendstream.caching.answers import Answer, AnswerStore
from spendstream.caching.identity import Shape, digest, question
from spendstream.caching.sightings import Sightings
from spendstream.caching.wishes import NO_WISHES, Wishes, wishes_of

__all__ = ["Caching", "NoCache", "ReplyCache", "tenant_of"]

_SHAPES: Mapping[str, Shape] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
}

_decode = msgspec.json.Decoder().decode


class ReplyCache(Protocol):
    """What a call asks of a cache."""

    async def find(self, exchange: Exchange, headers: Mapping[bytes, bytes]) -> None:
        """Give the call its hit, or note in it what is sought."""

    def landed(self, exchange: Exchange) -> None:
        """Keep a call's answer if it is worth it, and let those have it who wait for it."""


def tenant_of(org: str, team: str) -> str:
    """Return whose answers a team's are: its own, and nobody else's."""
    return f"{org}\n{team}"


class NoCache:
    """Finds nothing and keeps nothing."""

    async def find(self, exchange: Exchange, headers: Mapping[bytes, bytes]) -> None:
        """Do nothing."""

    def landed(self, exchange: Exchange) -> None:
        """Do nothing."""


class Caching:
    """A cache in front of `store`. `clock` gives microseconds UTC."""

    def __init__(self, store: AnswerStore, *, clock: Callable[[], int], policy: Policy | None = None) -> None:
        self._store = store
        self._clock = clock
        self._admission = Admission(policy or Policy())
        self._seen = Sightings()
        self._flying: dict[bytes, asyncio.Future[Answer | None]] = {}
        self._keeping: set[asyncio.Task[None]] = set()

    async def find(self, exchange: Exchange, headers: Mapping[bytes, bytes]) -> None:
        """Give the call its hit, or note in it what is sought."""
        said = headers.get(b"cache-control")
        wishes = NO_WISHES if said is None else wishes_of(said.decode("latin-1"))
        if not wishes.look_up and not wishes.keep:
            return
        body = _decode(exchange.request)
        if stateful(body):
            return
        sought = self._sought(exchange, body, wishes)
        exchange.hit = await self._found(sought)
        exchange.sought = None if exchange.hit else sought

    def landed(self, exchange: Exchange) -> None:
        """Keep a call's answer if it is worth it, and let those have it who wait for it."""
        sought = exchange.sought
        if sought is None:
            return
        answer = _answer(exchange, sought, self._clock())
        flight = self._flying.get(sought.digest)
        if flight is not None and not flight.done():
            flight.set_result(answer)
        ttl = 0
        if answer is not None and sought.wishes.keep:
            ttl = self._admission.ttl(answer.cost, sought.reusability, sought.stability, len(answer.body))
        if answer is not None and ttl:
            self._soon(self._keep(answer, ttl))
        else:
            self._flying.pop(sought.digest, None)

    async def purge(self, tenant: str | None) -> None:
        """Forget what is kept of a tenant (`tenant_of`), or of all. Raises SpendstreamError."""
        await self._store.purge(tenant)

    async def close(self) -> None:
        """Wait for what is being kept."""
        if self._keeping:
            await asyncio.wait(self._keeping)

    def _sought(self, exchange: Exchange, body: Mapping[str, Any], wishes: Wishes) -> Sought:
        caller = exchange.caller
        tenant = tenant_of(caller.org, caller.team)
        shape = _SHAPES[exchange.dialect.path]
        name = digest(shape, body, tenant)
        asked = question(shape, body, tenant)
        kin = 0 if asked is None else self._seen.see(asked.rest)
        return Sought(
            tenant=tenant,
            digest=name,
            wishes=wishes,
            stability=stability(body, exchange.ask.last_text),
            reusability=reusability(self._seen.see(name), kin),
        )

    async def _found(self, sought: Sought) -> Hit | None:
        """Return what there is, also if it is just being made; None makes this the call to wait for."""
        while sought.wishes.look_up:
            now = self._clock()
            answer = await self._store.find(sought.tenant, sought.digest, now)
            if answer is not None and sought.wishes.accepts(answer.created_at, now):
                return Hit(answer=answer, outcome="exact")
            flight = self._flying.get(sought.digest)
            if flight is None:
                if sought.wishes.keep:
                    self._flying[sought.digest] = asyncio.get_running_loop().create_future()
                return None
            made = await asyncio.shield(flight)
            if made is not None:
                return Hit(answer=made, outcome="exact")
        return None

    async def _keep(self, answer: Answer, ttl: int) -> None:
        """Keep an answer; until that is done, it is found as one that was under way."""
        await self._store.keep(answer, ttl, self._clock())
        self._flying.pop(answer.digest, None)

    def _soon(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)


def _answer(exchange: Exchange, sought: Sought, now: int) -> Answer | None:
    """Return what a call has come to, if it may be given to others."""
    event, reason = exchange.event, exchange.finish_reason
    if event is None or exchange.refusal is not None or event.usage_source != "provider":
        return None
    if not is_complete(_SHAPES[exchange.dialect.path], exchange.status, [reason]):
        return None
    body = exchange.reader.whole() if exchange.reader is not None else exchange.body
    return Answer(
        tenant=sought.tenant,
        digest=sought.digest,
        provider=event.provider,
        model=event.model,
        body=body,
        finish_reason=reason,
        input_tokens=event.input_tokens,
        output_tokens=event.output_tokens,
        cache_read_tokens=event.cache_read_tokens,
        cache_write_tokens=event.cache_write_tokens,
        cache_write_1h_tokens=event.cache_write_1h_tokens,
        reasoning_tokens=event.reasoning_tokens,
        cost=event.cost,
        created_at=now,
    )
