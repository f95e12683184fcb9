"""The simulated provider: made-up answers at a real pace."""

from __future__ import annotations

import asyncio
import math
from itertools import pairwise

import pytest

from gateway.simulated import PROFILES, Call, Failure, Piece, Profile, SimulatedModels, models
from gateway.usage import Usage
from spendstream.pricing import simulation_book
from spendstream.tokens import ChatMessage, count_text

STEADY = {
    model: Profile(time_to_first_token=2.0, tokens_per_second=10, mean_output_tokens=40) for model in PROFILES
}
PROMPT = [ChatMessage("user", "Why?")]


def call(prompt: str = "Why?", **more: object) -> Call:
    return Call(**{"model": "gpt-4", "messages": [ChatMessage("user", prompt)], **more})  # type: ignore[arg-type]


def fast(seed: int = 0) -> SimulatedModels:
    return SimulatedModels(STEADY, seed=seed, speed=math.inf)


async def pieces(provider: SimulatedModels, asked: Call) -> list[Piece]:
    return [piece async for piece in provider.answer(asked)]


async def text(provider: SimulatedModels, asked: Call) -> str:
    return "".join(piece.text for piece in await pieces(provider, asked))


async def test_the_same_prompt_gets_the_same_answer_streamed_or_not_and_from_any_instance():
    first = await text(fast(), call())
    assert first
    assert await text(fast(), call(stream=True)) == first
    assert await text(fast(), call("Why??")) != first
    assert await text(fast(), call(model="gpt-3.5-turbo")) != first
    assert await text(fast(seed=1), call()) != first


@pytest.mark.parametrize("model", PROFILES)
@pytest.mark.parametrize("stream", [False, True])
async def test_usage_is_what_the_tokenizer_counts(model, stream):
    *_, last = found = await pieces(fast(), call(model=model, input_tokens=9, stream=stream))
    answer = "".join(piece.text for piece in found)
    assert last.usage == Usage(input_tokens=9, output_tokens=count_text(model, answer))
    assert last.finish_reason == "stop"


@pytest.mark.parametrize("model", PROFILES)
@pytest.mark.parametrize("limit", [1, 3])
async def test_a_limit_cuts_the_answer_to_that_many_tokens(model, limit):
    *_, last = await pieces(fast(), call(model=model, max_tokens=limit))
    assert last.usage
    assert last.usage.output_tokens == limit
    assert last.finish_reason == "length"


@pytest.mark.parametrize("model", PROFILES)
def test_every_word_is_one_token_so_that_limits_are_exact(model):
    for left, right in pairwise(models._WORDS):
        assert count_text(model, f"{left} {right}") == 2


async def test_time_passes_as_the_profile_says_divided_by_the_speed(monkeypatch):
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await pieces(SimulatedModels(STEADY, speed=4), call(max_tokens=20))
    assert waits == [2.0 / 4, 20 / 10 / 4]
    waits.clear()
    await pieces(SimulatedModels(STEADY), call(max_tokens=3, stream=True))
    assert waits == [2.0, 0.1, 0.1, 0.1]


async def test_calls_fail_as_often_as_the_profile_says():
    flaky = {
        "gpt-4": Profile(time_to_first_token=0, tokens_per_second=10, mean_output_tokens=2, error_rate=0.2)
    }
    provider = SimulatedModels(flaky, speed=math.inf)
    failures = []
    for _ in range(500):
        try:
            await pieces(provider, call())
        except Failure as error:
            failures.append(error.status)
    assert 60 <= len(failures) <= 140
    assert set(failures) == {429, 500, 503}


def test_every_model_has_a_price_in_the_simulation_s_book():
    provider = SimulatedModels()
    assert set(provider.models) == {"gpt-4", "gpt-3.5-turbo", "claude-haiku"}
    assert all(simulation_book().find("simulated", model, 0) for model in provider.models)


@pytest.mark.parametrize(
    "contradiction",
    [
        {"input_tokens": 5, "cache_read_tokens": 3, "cache_write_tokens": 3},
        {"output_tokens": 1, "reasoning_tokens": 2},
        {"input_tokens": -1},
        {"input_tokens": 1, "cache_read_tokens": -1},
    ],
)
def test_usage_that_contradicts_itself_cannot_be_made(contradiction):
    with pytest.raises(ValueError, match="contradict"):
        Usage(**contradiction)
