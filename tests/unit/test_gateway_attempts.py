"""What is tried until an answer is there: retries, the next provider, and breakers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.dialects import DIALECTS, Ask
from gateway.simulated import Failure, Piece, SimulatedProvider, serving
from gateway.testing import ScriptedModels, Step
from gateway.upstream import attempts
from gateway.upstream.attempts import begin
from gateway.upstream.breaker import Breaker
from gateway.upstream.provider import Candidate, Provider, ProviderError
from gateway.usage import Usage
from spendstream.config import ProviderSettings

CHAT = "/v1/chat/completions"
ASK = DIALECTS[CHAT].ask(b'{"model": "gpt-4", "messages": [{"role": "user", "content": "Why?"}]}')
ANSWER = [Piece(text="So.", finish_reason="stop", usage=Usage(input_tokens=1, output_tokens=2))]
BUSY = Failure(429, "rate_limit_exceeded", "too busy")
BAD = Failure(400, "context_length_exceeded", "too long")

Make = Callable[..., Any]


class Flaky(ScriptedModels):
    """Fails `failures` first, one after the other, and then answers."""

    def __init__(self, failures: Sequence[Step]) -> None:
        super().__init__(ANSWER)
        self._failures = list(failures)

    def answer(self, call: Any) -> Any:
        self.script = [self._failures.pop(0)] if self._failures else ANSWER
        return super().answer(call)


@pytest.fixture
async def provider(monkeypatch) -> AsyncIterator[Make]:
    monkeypatch.setattr(attempts, "_FIRST_WAIT_S", 0.0)
    async with AsyncExitStack() as stack:

        async def make(name: str, *failures: Step, retries: int = 2) -> tuple[Provider, Flaky]:
            models = Flaky(failures)
            address = await stack.enter_async_context(serving(SimulatedProvider(models)))
            settings = ProviderSettings(
                name=name, kind="simulated", base_url=address, models=("gpt-4",), retries=retries
            )
            found = Provider(settings)
            stack.push_async_callback(found.close)
            return found, models

        yield make


async def call(*providers: Provider, ask: Ask = ASK) -> tuple[list[str], bytes]:
    """Return who was tried, and the answer."""
    tried: list[str] = []
    begun = await begin(
        [Candidate(one, "gpt-4") for one in providers],
        CHAT,
        lambda model: DIALECTS[CHAT].forward(ask, model),
        stream=False,
        tried=lambda candidate: tried.append(candidate.provider.name) or b"",
        failed=lambda _: None,
    )
    return tried, begun.first


async def test_a_failure_that_passes_is_tried_again(provider):
    one, _ = await provider("one", BUSY, Failure(503, "overloaded", "later"))
    tried, answer = await call(one)
    assert tried == ["one"] * 3
    assert b"So." in answer


async def test_a_failure_that_stays_goes_to_the_next_provider(provider):
    one, _ = await provider("one", BUSY, BUSY, BUSY)
    other, _ = await provider("other")
    assert (await call(one, other))[0] == ["one", "one", "one", "other"]


async def test_a_request_at_fault_is_not_tried_again(provider):
    one, _ = await provider("one", BAD)
    other, models = await provider("other")
    with pytest.raises(ProviderError) as caught:
        await call(one, other)
    assert (caught.value.status, caught.value.error_type) == (400, "context_length_exceeded")
    assert caught.value.body
    assert not models.calls


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_provider_that_refuses_our_account_is_left_for_the_next_at_once(provider, status):
    one, _ = await provider("one", Failure(status, "invalid_api_key", "who are you?"))
    other, _ = await provider("other")
    assert (await call(one, other))[0] == ["one", "other"]


async def test_a_provider_that_keeps_refusing_our_account_is_left_alone(provider):
    one, models = await provider("one", *[Failure(401, "invalid_api_key", "who are you?")] * 100)
    other, _ = await provider("other")
    for _ in range(8):
        await call(one, other)
    assert len(models.calls) == 5


async def test_who_asks_for_more_patience_than_a_caller_has_is_left_for_the_next(provider):
    one, _ = await provider("one", Failure(429, "quota", "tomorrow", retry_after=3600))
    other, _ = await provider("other")
    assert (await call(one, other))[0] == ["one", "other"]


async def test_the_last_failure_is_told_when_nobody_answers(provider):
    one, _ = await provider("one", BUSY, retries=0)
    other, _ = await provider("other", Failure(503, "overloaded", "later", retry_after=7), retries=0)
    with pytest.raises(ProviderError) as caught:
        await call(one, other)
    assert (caught.value.status, caught.value.retry_after) == (503, 7)


async def test_a_provider_that_is_away_is_a_bad_gateway(provider):
    settings = ProviderSettings(
        name="away", kind="openai", base_url="http://127.0.0.1:1/v1", models=("gpt-4",)
    )
    away = Provider(settings)
    other, _ = await provider("other")
    assert (await call(away, other))[0] == ["away"] * 3 + ["other"]
    with pytest.raises(ProviderError) as caught:
        await call(away)
    assert caught.value.status == 502


async def test_a_provider_that_keeps_failing_is_left_alone(provider):
    one, models = await provider("one", *[BUSY] * 100)
    other, _ = await provider("other")
    for _ in range(4):
        await call(one, other)
    assert len(models.calls) == 5
    with pytest.raises(ProviderError) as caught:
        await call(one)
    assert (caught.value.status, caught.value.error_type) == (503, "circuit_open")


class TestBreaker:
    def test_opens_after_failures_in_a_row_only(self):
        breaker = Breaker()
        for _ in range(20):
            for _ in range(4):
                breaker.failed(0)
            breaker.succeeded()
        assert breaker.allows(0)
        for _ in range(5):
            breaker.failed(0)
        assert not breaker.allows(9.9)

    def test_lets_one_call_try_after_its_rest(self):
        breaker = Breaker()
        for _ in range(5):
            breaker.failed(0)
        assert breaker.allows(10)
        breaker.begun(10)
        assert not breaker.allows(10)
        breaker.succeeded()
        assert breaker.allows(10)

    def test_rests_again_when_the_trial_fails_or_never_ends(self):
        breaker = Breaker()
        for _ in range(5):
            breaker.failed(0)
        breaker.begun(10)
        assert not breaker.allows(19.9)
        assert breaker.allows(20)
        breaker.begun(20)
        breaker.failed(25)
        assert not breaker.allows(34.9)
        assert breaker.allows(math.inf)


async def test_a_caller_that_gives_up_ends_the_attempt(provider):
    one, models = await provider("one", asyncio.Event())
    asking = asyncio.create_task(call(one))
    async with asyncio.timeout(10):
        while not models.calls:  # noqa: ASYNC110 - the fake has no event
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_a_chat_can_fall_back_on_a_provider_that_speaks_messages_only(provider):
    one, _ = await provider("one", BUSY, retries=0)
    models = Flaky([])
    async with serving(SimulatedProvider(models)) as address:
        base = address.removesuffix("/v1")
        settings = ProviderSettings(name="claude", kind="anthropic", base_url=base, models=("gpt-4",))
        other = Provider(settings)
        tried, answer = await call(one, other)
        await other.close()
    assert tried == ["one", "claude"]
    assert DIALECTS[CHAT].outcome(answer).usage == Usage(input_tokens=1, output_tokens=2)
    assert DIALECTS[CHAT].text(answer) == "So."


async def test_what_one_provider_has_no_words_for_is_asked_of_the_next(provider):
    several = DIALECTS[CHAT].ask(b'{"model":"gpt-4","n":2,"messages":[{"role":"user","content":"Why?"}]}')
    settings = ProviderSettings(
        name="claude", kind="anthropic", base_url="http://127.0.0.1:1", models=("gpt-4",)
    )
    claude = Provider(settings)
    other, _ = await provider("other")
    assert (await call(claude, other, ask=several))[0] == ["claude", "other"]
    with pytest.raises(ProviderError) as caught:
        await call(claude, ask=several)
    assert (caught.value.status, caught.value.error_type) == (400, "not_translatable")


async def test_a_request_at_fault_shows_that_its_provider_is_well_again(provider):
    one, models = await provider("one", *[BUSY] * 4, BAD, *[BUSY] * 4, retries=0)
    for _ in range(9):
        with pytest.raises(ProviderError):
            await call(one)
    assert (await call(one))[0] == ["one"]
    assert len(models.calls) == 10
