"""The cache around a call: an answer that is there, one that is under way, and what is worth keeping.

Identical calls that come while one of them is under way wait for its answer (single flight).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from gateway.exchange import Exchange
from gateway.hits import Flight, Hit, Keepsake, Sought
from spendstream.caching.admission import Admission, Policy, is_complete, reusability, stability, stateful
from spendstream.caching.answers import Answer, AnswerStore
from spendstream.caching.identity import Shape, digest, question
from spendstream.caching.semantic import SemanticAnswers
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
        """Let those have a call's answer who wait for it, and find out whether it is worth keeping."""

    async def keep(self, exchange: Exchange) -> None:
        """Keep what was found to be worth it."""


def tenant_of(org: str, team: str) -> str:
    """Return whose answers a team's are: its own, and nobody else's, whatever their names are."""
    return f"{len(org)}:{org}{team}"


class NoCache:
    """Finds nothing and keeps nothing."""

    async def find(self, exchange: Exchange, headers: Mapping[bytes, bytes]) -> None:
        """Do nothing."""

    def landed(self, exchange: Exchange) -> None:
        """Do nothing."""

    async def keep(self, exchange: Exchange) -> None:
        """Do nothing."""


class Caching:
    """A cache in front of `store`. `clock` gives microseconds UTC."""

    def __init__(
        self,
        store: AnswerStore,
        *,
        clock: Callable[[], int],
        policy: Policy | None = None,
        semantic: SemanticAnswers | None = None,
    ) -> None:
        self._store = store
        self._semantic = semantic
        self._clock = clock
        self._admission = Admission(policy or Policy())
        self._seen = Sightings()
        self._flying: dict[bytes, Flight] = {}

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
        exchange.hit = await self._found(exchange, sought)
        if exchange.hit is None and wishes.look_up and wishes.keep:
            sought = replace(sought, flight=self._take_off(sought.digest))
        if exchange.hit is None and self._semantic is not None and exchange.mask is None:
            try:
                sought, exchange.hit = await self._meant(self._semantic, exchange, body, sought)
            except BaseException:
                self._give_up(sought)
                raise
            if exchange.hit is not None:
                self._give_up(sought)
        exchange.sought = None if exchange.hit else sought

    def landed(self, exchange: Exchange) -> None:
        """Let those have a call's answer who wait for it, and find out whether it is worth keeping."""
        sought = exchange.sought
        if sought is None:
            return
        answer = _answer(exchange, sought, self._clock())
        if sought.flight is not None:
            sought.flight.set_result(answer)
        ttl = 0
        if answer is not None and sought.wishes.keep:
            ttl = self._admission.ttl(answer.cost, sought.reusability, sought.stability, len(answer.body))
        if answer is not None and ttl:  # until it is kept, it is found as one that was under way
            exchange.keepsake = Keepsake(answer, ttl, sought)
        else:
            self._forget(sought)

    async def keep(self, exchange: Exchange) -> None:
        """Keep what was found to be worth it."""
        keepsake = exchange.keepsake
        if keepsake is None:
            return
        try:
            await self._store.keep(keepsake.answer, keepsake.ttl, self._clock())
        finally:
            self._forget(keepsake.sought)
        if self._semantic is not None and keepsake.sought.asked is not None:
            self._semantic.keep(keepsake.sought.asked, keepsake.answer.digest)

    async def purge(self, tenant: str | None) -> None:
        """Forget what is kept of a tenant (`tenant_of`), or of all. Raises SpendstreamError."""
        if self._semantic is not None:
            self._semantic.purge(tenant)
        await self._store.purge(tenant)

    def _sought(self, exchange: Exchange, body: Mapping[str, Any], wishes: Wishes) -> Sought:
        caller = exchange.caller
        tenant = tenant_of(caller.org, caller.team)
        shape = _SHAPES[exchange.dialect.path]
        name = digest(shape, body, tenant)
        seen = self._seen.see(name)
        return Sought(
            tenant=tenant,
            digest=name,
            wishes=wishes,
            stability=stability(body, exchange.ask.last_text),
            seen=seen,
            reusability=reusability(seen, 0),
        )

    async def _found(self, exchange: Exchange, sought: Sought) -> Hit | None:
        """Return what there is, also if it is just being made."""
        while sought.wishes.look_up:
            now = self._clock()
            answer = await self._store.find(sought.tenant, sought.digest, now)
            if answer is not None and sought.wishes.accepts(answer.created_at, now):
                return Hit(answer=answer, outcome="exact")
            flight = self._flying.get(sought.digest)
            if flight is None:
                return None
            began = perf_counter()
            made = await asyncio.shield(flight)
            exchange.waited += perf_counter() - began
            if made is not None:
                return Hit(answer=made, outcome="exact")
        return None

    async def _meant(
        self, semantic: SemanticAnswers, exchange: Exchange, body: Mapping[str, Any], sought: Sought
    ) -> tuple[Sought, Hit | None]:
        """Look for an answer to a question that means the same; return what is then to be kept by meaning."""
        asked = question(_SHAPES[exchange.dialect.path], body, sought.tenant)
        if asked is None:
            return sought, None
        kin = self._seen.see(asked.rest)
        ready = await semantic.ask(sought.tenant, asked)
        found = None
        if ready is not None and sought.wishes.look_up:
            now = self._clock()
            found = await semantic.find(ready, now)
            if found is not None and not sought.wishes.accepts(found[0].created_at, now):
                found = None
        again = reusability(sought.seen, kin)
        hit = found and Hit(answer=found[0], outcome="semantic", similarity=found[1])
        return replace(sought, asked=ready, reusability=again), hit

    def _take_off(self, digest: bytes) -> Flight:
        """Make this the call that others wait for."""
        flight = self._flying[digest] = asyncio.get_running_loop().create_future()
        return flight

    def _give_up(self, sought: Sought) -> None:
        """Let those ask for themselves who wait for a call that is not made."""
        if sought.flight is not None:
            sought.flight.set_result(None)
        self._forget(sought)

    def _forget(self, sought: Sought) -> None:
        """Let nobody wait for a call any more, if they did for this one."""
        if sought.flight is not None and self._flying.get(sought.digest) is sought.flight:
            del self._flying[sought.digest]


def _answer(exchange: Exchange, sought: Sought, now: int) -> Answer | None:
    """Return what a call has come to, if it may be given to others."""
    event, reason = exchange.event, exchange.finish_reason
    if event is None or exchange.refusal is not None or event.usage_source != "provider":
        return None
    if exchange.is_downgraded:  # it is what there was money for, not what was asked for
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
