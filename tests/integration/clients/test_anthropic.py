"""Anthropic's own client through the gateway: messages whole, streamed and with tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.clients.conftest import CLAUDE, KEY
from tests.integration.clients.provider import (
    ANSWER,
    ARGUMENTS,
    CACHED_TOKENS,
    CALL_ID,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    Provider,
)

anthropic = pytest.importorskip("anthropic", reason="Anthropic's client is not installed: make test-clients")

TOOLS: list[Any] = [
    {
        "name": "weather",
        "description": "The weather of a city",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
]
ROOM = 200


@pytest.fixture
def client(gateway: str) -> Iterator[Any]:
    with anthropic.Anthropic(api_key=KEY, base_url=gateway, max_retries=0) as found:
        yield found


def asking(prompt: str) -> list[Any]:
    return [{"role": "user", "content": prompt}]


def test_a_message_is_answered_whole_with_the_usage_that_the_provider_reported(client, prompt):
    reply = client.messages.create(model=CLAUDE, max_tokens=ROOM, messages=asking(prompt))
    assert reply.content[0].text == ANSWER
    assert reply.stop_reason == "end_turn"
    usage = reply.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (
        INPUT_TOKENS - CACHED_TOKENS,
        CACHED_TOKENS,
        OUTPUT_TOKENS,
    )


def test_a_message_is_streamed_in_anthropic_s_events(client, prompt):
    events = list(client.messages.create(model=CLAUDE, max_tokens=ROOM, messages=asking(prompt), stream=True))
    kinds = [event.type for event in events]
    deltas = [event.delta.text for event in events if event.type == "content_block_delta"]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    assert "".join(deltas) == ANSWER
    assert events[0].message.usage.cache_read_input_tokens == CACHED_TOKENS


def test_the_accumulating_stream_helper_understands_the_events(client, prompt):
    with client.messages.stream(model=CLAUDE, max_tokens=ROOM, messages=asking(prompt)) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == ANSWER
    assert final.usage.output_tokens == OUTPUT_TOKENS


def test_a_tool_is_called_and_its_result_taken(client, prompt):
    messages = asking(prompt)
    reply = client.messages.create(model=CLAUDE, max_tokens=ROOM, messages=messages, tools=TOOLS)
    (call,) = reply.content
    assert reply.stop_reason == "tool_use"
    assert (call.id, call.name, call.input) == (CALL_ID, "weather", json.loads(ARGUMENTS))
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    messages += [{"role": "assistant", "content": reply.content}, {"role": "user", "content": [result]}]
    reply = client.messages.create(model=CLAUDE, max_tokens=ROOM, messages=messages, tools=TOOLS)
    assert reply.content[0].text == ANSWER


def test_a_tool_s_call_is_streamed_in_pieces(client, prompt):
    with client.messages.stream(
        model=CLAUDE, max_tokens=ROOM, messages=asking(prompt), tools=TOOLS
    ) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    assert "".join(pieces) == ARGUMENTS
    assert final.content[0].input == json.loads(ARGUMENTS)


def test_fields_and_headers_that_the_gateway_does_not_know_are_handed_on(client, provider: Provider, prompt):
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    client.messages.create(
        model=CLAUDE,
        max_tokens=ROOM,
        system=system,
        messages=asking(prompt),
        extra_body={"spice": 1},
        extra_headers={"anthropic-beta": "extended-cache-ttl-2025-04-11"},
    )
    (asked,) = provider.about(prompt)
    assert asked.body["system"] == system
    assert asked.body["spice"] == 1
    assert asked.headers["anthropic-beta"] == "extended-cache-ttl-2025-04-11"
    assert asked.headers["anthropic-version"]


def test_the_provider_is_shown_its_own_key_and_never_the_client_s(client, provider: Provider, prompt):
    client.messages.create(model=CLAUDE, max_tokens=ROOM, messages=asking(prompt))
    (asked,) = provider.about(prompt)
    assert asked.headers["x-api-key"] == "sk-ant-upstream"
    assert KEY not in str(asked)


def test_a_wrong_key_is_an_authentication_error(gateway, prompt):
    stranger = anthropic.Anthropic(api_key="sk-wrong", base_url=gateway, max_retries=0)
    with stranger, pytest.raises(anthropic.AuthenticationError) as caught:
        stranger.messages.create(model=CLAUDE, max_tokens=ROOM, messages=asking(prompt))
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == "authentication_error"


def test_an_unknown_model_is_not_found(client, prompt):
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.create(model="claude-99", max_tokens=ROOM, messages=asking(prompt))
    assert caught.value.body["error"]["type"] == "not_found_error"


async def test_the_asynchronous_client_is_answered(gateway, prompt):
    client = anthropic.AsyncAnthropic(api_key=KEY, base_url=gateway, max_retries=0)
    question = {"model": CLAUDE, "max_tokens": ROOM, "messages": asking(prompt)}
    async with client, client.messages.stream(**question) as stream:
        text = "".join([piece async for piece in stream.text_stream])
    assert text == ANSWER
