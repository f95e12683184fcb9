"""Shorter prompts on the hot route: what the provider gets instead, and what the event says was saved."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from gateway.simulated import Piece
from gateway.testing import ScriptedModels
from gateway.usage import Usage
from spendstream.budgets import BudgetBook
from spendstream.errors import ConfigError
from spendstream.prompts import PASSES, BadPrompts, Settings, read_settings
from spendstream.tokens import ChatMessage, count_chat, count_text
from tests.fixtures.calling import ANSWER, INPUT, Client
from tests.unit.test_gateway_limits import INPUT_PRICE, OUTPUT_PRICE, budget
from tests.unit.test_gateway_masking import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES, request

LONG = '{\n    "name": "Bob",\n    "colours": [\n        "red",\n        "green"\n    ]\n}'
SHORT = '{"name":"Bob","colours":["red","green"]}'
SAVED = count_text("gpt-4", LONG) - count_text("gpt-4", SHORT)


@pytest.fixture
async def client() -> AsyncIterator[Callable[..., Client]]:
    clients: list[Client] = []

    def make(prompt_teams: Sequence[str] = ("*",), **config: Any) -> Client:
        clients.append(Client(ScriptedModels(ANSWER), prompt_teams=tuple(prompt_teams), **config))
        return clients[-1]

    yield make
    for one in clients:
        await one.close()


async def got(one: Client, path: str, sent: Any, **headers: str) -> Any:
    """Return what the provider gets."""
    response = await one.post(sent, headers, path=path)
    assert response.status == 200, response.body
    return json.loads(one.models.calls[-1].body)


async def test_the_prompts_of_teams_that_have_opted_in_are_made_shorter(client):
    one = client(["law"])
    sent = request(CHAT, LONG)
    assert await got(one, CHAT, sent, **{"x-spendstream-team": "sales"}) == sent
    assert await got(one, CHAT, sent, **{"x-spendstream-team": "law"}) == request(CHAT, SHORT)


async def test_the_event_says_exactly_what_the_lost_tokens_would_have_cost(client):
    one = client()
    await one.post(request(CHAT, LONG))
    assert one.event.avoided_by_compression == SAVED * INPUT_PRICE > 0
    assert one.event.input_tokens == INPUT


async def test_nothing_is_avoided_where_nothing_was_saved_or_nothing_charged(client):
    one = client()
    await one.post(request(CHAT, "Why?"))
    one.models.script = [Piece(finish_reason="stop", usage=Usage())]
    await one.post(request(CHAT, LONG))
    assert [event.avoided_by_compression for event in one.publisher.events] == [0, 0]


@pytest.mark.parametrize("word", ["off", "OFF"])
async def test_a_header_can_switch_it_off(client, word):
    one = client(prompts={"max_tokens": 5})
    sent = request(CHAT, LONG)
    assert await got(one, CHAT, sent, **{"x-spendstream-optimise": word}) == sent


async def test_a_header_cannot_switch_it_on(client):
    one = client([])
    sent = request(CHAT, LONG)
    assert await got(one, CHAT, sent, **{"x-spendstream-optimise": "on"}) == sent


async def test_parts_of_messages_are_made_shorter_and_nothing_else_of_them_changes(client):
    one = client()
    picture = {"type": "image_url", "image_url": {"url": LONG}}
    sent = request(CHAT, "")
    sent["messages"] = [
        {"role": "system", "content": LONG},
        {"role": "user", "content": [{"type": "text", "text": LONG, "x": 1.50}, picture]},
        {"role": "assistant", "content": LONG},
        {"role": "tool", "tool_call_id": "1", "content": LONG},
    ]
    system, user, assistant, tool = (await got(one, CHAT, sent))["messages"]
    assert system["content"] == SHORT
    assert user["content"] == [{"type": "text", "text": SHORT, "x": 1.5}, picture]
    assert (assistant["content"], tool["content"]) == (LONG, LONG)


async def test_of_anthropics_messages_what_tools_said_stays(client):
    one = client()
    blocks = [
        {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": LONG}]},
        {"type": "text", "text": LONG},
    ]
    sent = {
        "model": "gpt-4",
        "max_tokens": 9,
        "system": [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": blocks}, {"role": "user", "content": LONG}],
    }
    seen = await got(one, MESSAGES, sent)
    assert seen["system"] == [{"type": "text", "text": SHORT, "cache_control": {"type": "ephemeral"}}]
    assert seen["messages"][0]["content"] == [blocks[0], {"type": "text", "text": SHORT}]
    assert seen["messages"][1]["content"] == SHORT


async def test_of_responses_instructions_and_messages_are_made_shorter(client):
    one = client()
    assert (await got(one, RESPONSES, request(RESPONSES, LONG)))["input"] == SHORT
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": LONG}]},
        {"type": "function_call_output", "call_id": "1", "output": LONG},
    ]
    seen = await got(one, RESPONSES, {"model": "gpt-4", "instructions": LONG, "input": items})
    assert seen["instructions"] == SHORT
    assert seen["input"] == [{"role": "user", "content": [{"type": "input_text", "text": SHORT}]}, items[1]]


@pytest.mark.parametrize("path", [COMPLETIONS, EMBEDDINGS])
async def test_texts_that_count_as_they_are_stay(client, path):
    one = client()
    assert (await one.post(request(path, LONG), path=path)).status == 200
    assert one.event.avoided_by_compression == 0


@pytest.mark.parametrize(
    ("path", "asked", "written"),
    [
        (CHAT, {}, {"max_completion_tokens": 50}),
        (CHAT, {"max_tokens": 60}, {"max_tokens": 50}),
        (CHAT, {"max_tokens": 40}, {"max_tokens": 40}),
        (CHAT, {"max_tokens": None}, {"max_tokens": None, "max_completion_tokens": 50}),
        (CHAT, {"max_completion_tokens": 60}, {"max_completion_tokens": 50}),
        (COMPLETIONS, {}, {}),  # without a limit it has one of 16
        (COMPLETIONS, {"max_tokens": 60}, {"max_tokens": 50}),
        (COMPLETIONS, {"max_tokens": 0}, {"max_tokens": 0}),
        (RESPONSES, {}, {"max_output_tokens": 50}),
        (RESPONSES, {"max_output_tokens": 60}, {"max_output_tokens": 50}),
        (MESSAGES, {"max_tokens": 60}, {"max_tokens": 50}),
        (MESSAGES, {"max_tokens": 40}, {"max_tokens": 40}),
    ],
)
async def test_the_smaller_limit_of_the_answer_is_written_in_the_apis_own_field(client, path, asked, written):
    one = client(prompts={"max_tokens": 50})
    sent = {**request(path, "Why?"), **asked}
    assert await got(one, path, sent) == {**sent, **written}


async def test_a_limit_leaves_anthropics_thinking_its_budget(client):
    one = client(prompts={"max_tokens": 50})
    thinking = {"type": "enabled", "budget_tokens": 2000}
    sent = request(MESSAGES, "Why?", max_tokens=4000, thinking=thinking)
    assert (await got(one, MESSAGES, sent))["max_tokens"] == 2050


async def test_what_is_set_aside_is_that_of_the_shorter_request(client):
    shorter = count_chat("gpt-4", [ChatMessage("user", SHORT)]) * INPUT_PRICE + 5 * OUTPUT_PRICE
    for amount, status in ((shorter, 200), (shorter - 1, 402)):
        one = client(prompts={"max_tokens": 5})
        one.guard.use(BudgetBook([budget(amount)]), ())
        assert (await one.post(request(CHAT, LONG, max_tokens=10))).status == status


async def test_masked_prompts_are_made_shorter_too(client):
    one = client(privacy_teams=("*",))
    seen = await got(one, CHAT, request(CHAT, LONG.replace("Bob", "bob@example.com")))
    assert seen["messages"][0]["content"] == SHORT.replace("Bob", "<EMAIL_1>")


async def test_long_prompts_are_made_shorter_as_short_ones_are(client):
    one = client()
    text = "Tell me what follows from this. " + LONG * 40
    assert (await got(one, CHAT, request(CHAT, text)))["messages"][0]["content"].count(SHORT) == 40


def test_settings_are_read_from_a_table():
    assert read_settings({}) == Settings()
    raw = {"passes": ["whitespace", "json"], "least_similarity": 0.9, "examples": 0, "max_tokens": 7}
    expected = Settings(passes=("json", "whitespace"), least_similarity=0.9, examples=0, max_tokens=7)
    assert read_settings(raw) == expected


def test_all_mistakes_are_told_at_once():
    raw = {
        "passes": ["jsn"],
        "least_similarity": 2,
        "least_saving": True,
        "examples": -1,
        "max_tokens": "many",
        "max_token": 1,
    }
    with pytest.raises(BadPrompts) as caught:
        read_settings(raw)
    assert [mistake.field for mistake in caught.value.mistakes] == list(raw)
    text = str(caught.value)
    assert "prompts: passes: 'jsn': no such pass; did you mean json?" in text
    assert "prompts: max_token: no such field; did you mean max_tokens?" in text
    with pytest.raises(BadPrompts, match=f"expected a list of {', '.join(PASSES)}"):
        read_settings({"passes": "json"})


async def test_a_gateway_with_wrong_settings_does_not_start(client):
    with pytest.raises(ConfigError, match="prompts: examples"):
        await client(prompts={"examples": "three"}).app()
