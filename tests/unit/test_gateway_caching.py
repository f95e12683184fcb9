"""The cache on the hot route: hits as good as live answers, free of charge, and nobody else's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import numpy as np
import pytest

from gateway.caching import Caching, tenant_of
from gateway.simulated import Failure, Piece
from gateway.testing import ScriptedModels, Step
from spendstream.caching.admission import Policy
from spendstream.caching.embedding import DIMENSIONS, Embedding
from spendstream.caching.memory import MemoryAnswers
from spendstream.caching.semantic import SemanticAnswers, SemanticIndex
from spendstream.caching.verifier import Verifier
from tests.fixtures.calling import ANSWER, COST, INPUT, NOW, Client

Make = Callable[..., Client]
EVERYTHING = Policy(least_value=0.0)


@pytest.fixture
async def client() -> AsyncIterator[Make]:
    clients: list[Client] = []

    def make(script: Sequence[Step] = ANSWER) -> Client:
        caching = Caching(MemoryAnswers(1 << 20), clock=lambda: NOW, policy=EVERYTHING)
        clients.append(Client(ScriptedModels(script), caching=caching))
        return clients[-1]

    yield make
    for one in clients:
        await one.close()


async def test_the_same_question_is_answered_again_without_a_call(client):
    one = client()
    first, second = await one.post(), await one.post()
    assert second.body == first.body
    assert second.headers["content-type"] == first.headers["content-type"]
    assert len(one.models.calls) == 1
    event = one.publisher.events[1]
    assert (event.cost, event.list_cost, event.avoided_by_cache) == (0, COST, COST)
    assert (event.usage_source, event.cache_outcome) == ("cached", "exact")
    assert (event.input_tokens, event.output_tokens, event.model) == (INPUT, 2, "gpt-4")
    assert second.headers["x-spendstream-cost"] == "0.000000000000"
    assert (one.metric("ai_cache_hits_total"), one.metric("ai_cache_misses_total")) == (1, 1)


@pytest.mark.parametrize(("first", "second"), [(False, True), (True, False), (True, True)])
async def test_an_answer_is_streamed_or_not_as_each_caller_likes(client, first, second):
    one = client()
    await one.post(stream=first)
    response = await one.post(stream=second, stream_options={"include_usage": True} if second else None)
    assert len(one.models.calls) == 1
    if second:
        *chunks, usage, done = response.sse
        assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "Three dollars"
        assert (usage["usage"]["completion_tokens"], done) == (2, "DONE")
    else:
        assert response.json["choices"][0]["message"]["content"] == "Three dollars"
        assert response.json["usage"]["completion_tokens"] == 2
    assert one.publisher.events[1].cache_outcome == "exact"


@pytest.mark.parametrize("name", ["org", "team"])
async def test_a_tenant_never_gets_another_one_s_answer(client, name):
    one = client()
    for value in ("a", "b", "a\n", ""):
        await one.post(headers={f"x-spendstream-{name}": value})
    assert len(one.models.calls) == 3  # a name's outer blanks are no part of it


@pytest.mark.parametrize(
    "other",
    [{"temperature": 0.5}, {"tools": [{"type": "function"}]}, {"seed": 1}, {"max_tokens": 5}, {"x": 1}],
)
async def test_whatever_can_change_the_answer_makes_it_another_question(client, other):
    one = client()
    await one.post()
    await one.post(**other)
    assert len(one.models.calls) == 2


@pytest.mark.parametrize(("said", "calls"), [("no-store", 1), ("no-cache", 2), ("max-age=9", 1), ("odd", 1)])
async def test_callers_can_be_stricter(client, said, calls):
    one = client()
    await one.post()
    await one.post(headers={"cache-control": said})
    assert len(one.models.calls) == calls


async def test_what_must_not_be_stored_is_not(client):
    one = client()
    await one.post(headers={"cache-control": "no-store"})
    await one.post()
    assert len(one.models.calls) == 2


@pytest.mark.parametrize(
    "script",
    [
        [Failure(500, "server_error", "it broke")],
        [Piece(text="Three"), Failure(500, "server_error", "it broke")],
        [Piece(text="Three", finish_reason="length", usage=ANSWER[-1].usage)],
        [Piece(text="Three", finish_reason="stop")],
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_failed_was_cut_or_is_not_known_is_not_given_again(client, script, stream):
    one = client(script)
    await one.post(stream=stream)
    await one.post(stream=stream)
    assert len(one.models.calls) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_questions_side_by_side_are_asked_once(client, stream):
    gate = asyncio.Event()
    one = client([gate, *ANSWER])
    await one.app()
    asking = [asyncio.create_task(one.post(stream=stream)) for _ in range(10)]
    async with asyncio.timeout(10):
        await one.until(lambda: bool(one.models.calls))
        gate.set()
        responses = await asyncio.gather(*asking)
    assert len(one.models.calls) == 1
    assert all(b"dollars" in response.body for response in responses)
    costs = sorted(event.cost for event in one.publisher.events)
    assert costs == [0] * 9 + [COST]


async def test_who_waits_for_a_call_that_fails_asks_for_himself(client):
    gate = asyncio.Event()
    one = client([gate, Failure(400, "bad", "no")])
    await one.app()
    asking = [asyncio.create_task(one.post()) for _ in range(5)]
    async with asyncio.timeout(10):
        await one.until(lambda: bool(one.models.calls))
        gate.set()
        responses = await asyncio.gather(*asking)
    assert [response.status for response in responses] == [400] * 5
    assert len(one.models.calls) == 5
    assert one.metric("ai_active_requests") == 0


async def test_a_caller_that_goes_while_it_waits_leaves_nothing_behind(client):
    gate = asyncio.Event()
    one = client([gate, *ANSWER])
    await one.app()
    first = asyncio.create_task(one.post())
    async with asyncio.timeout(10):
        await one.until(lambda: bool(one.models.calls))
        second = asyncio.create_task(one.post())
        await one.until(lambda: one.metric("ai_active_requests") == 2)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.set()
        assert (await first).status == 200
    assert one.metric("ai_active_requests") == 0


async def test_a_conversation_that_the_provider_remembers_is_never_cached(client):
    one = client()
    fields: dict[str, Any] = {"conversation": "c1"}
    await one.post(**fields)
    await one.post(**fields)
    assert len(one.models.calls) == 2


class Sense:
    """An embedder that takes all questions for the same, so that the verifier has to judge."""

    async def embed(self, text: str) -> Embedding:
        words = [(found.start(), found.end()) for found in re.finditer(r"\w+", text)]
        vector = np.ones(DIMENSIONS, dtype=np.float32) / np.sqrt(DIMENSIONS).astype(np.float32)
        return Embedding(vector=vector, tokens=np.tile(vector, (len(words), 1)), spans=words)


def by_meaning() -> Client:
    store = MemoryAnswers(1 << 20)
    verifier = Verifier()
    semantic = SemanticAnswers(Sense(), verifier, SemanticIndex(verifier, 1 << 20), store)
    caching = Caching(store, clock=lambda: NOW, policy=EVERYTHING, semantic=semantic)
    return Client(ScriptedModels(ANSWER), caching=caching)


def asking(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


async def test_a_question_that_means_the_same_is_answered_again():
    one = by_meaning()
    await one.post(messages=asking("How do I reset my password?"))
    await one.post(messages=asking("how do i reset my password"))
    assert len(one.models.calls) == 1
    event = one.publisher.events[1]
    assert (event.cache_outcome, event.cost, event.avoided_by_cache > 0) == ("semantic", 0, True)
    assert event.cache_similarity == pytest.approx(1)
    await one.close()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("How do I enable logging?", "How do I not enable logging?"),
        ("What is 2 plus 2?", "What is 2 plus 3?"),
    ],
)
async def test_a_number_or_a_negation_makes_it_another_question(first, second):
    one = by_meaning()
    await one.post(messages=asking(first))
    await one.post(messages=asking(second))
    assert len(one.models.calls) == 2
    await one.close()


async def test_a_question_of_another_team_is_never_compared():
    one = by_meaning()
    await one.post(messages=asking("How do I reset my password?"))
    await one.post(messages=asking("how do i reset my password"), headers={"x-spendstream-team": "other"})
    assert len(one.models.calls) == 2
    await one.close()


async def test_an_answer_that_is_not_to_be_stored_is_not_given_to_who_waits_for_another(client):
    gates = [asyncio.Event(), asyncio.Event()]
    one = client()
    plays = iter(
        [[gates[0], *ANSWER], [gates[1], Piece(text="Four", finish_reason="stop", usage=ANSWER[-1].usage)]]
    )
    answer = one.models.answer

    def next_one(call: Any) -> Any:
        one.models.script = next(plays, ANSWER)
        return answer(call)

    one.models.answer = next_one
    await one.app()
    async with asyncio.timeout(10):
        private = asyncio.create_task(one.post(headers={"cache-control": "no-store"}))
        await one.until(lambda: len(one.models.calls) == 1)
        shared = asyncio.create_task(one.post())
        await one.until(lambda: len(one.models.calls) == 2)
        waiting = asyncio.create_task(one.post())
        await one.until(lambda: one.metric("ai_active_requests") == 3)
        gates[0].set()
        await private
        gates[1].set()
        assert b"Four" in (await shared).body
        assert b"Four" in (await waiting).body
    assert len(one.models.calls) == 2


def test_no_two_teams_are_one_tenant_however_they_are_named():
    names = ["", "a", "b", "ab", "a\nb", "1:a", ":", "1"]
    tenants = {tenant_of(org, team) for org in names for team in names}
    assert len(tenants) == len(names) ** 2
