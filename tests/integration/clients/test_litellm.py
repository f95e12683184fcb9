"""LiteLLM as a client library, with the gateway as the address of OpenAI and of Anthropic."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.integration.clients.conftest import CHAT_MODEL, CLAUDE, EMBEDDING_MODEL, KEY
from tests.integration.clients.provider import ANSWER, ARGUMENTS, CALL_ID, INPUT_TOKENS, OUTPUT_TOKENS, VECTOR

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it fetches prices when imported
pytest.importorskip("litellm", reason="LiteLLM is not installed: make test-clients")
import litellm

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


@pytest.fixture(params=["openai", "anthropic"])
def target(request: pytest.FixtureRequest, gateway: str) -> dict[str, Any]:
    """What tells LiteLLM to ask us, in the API of either provider."""
    if request.param == "openai":
        return {"model": f"openai/{CHAT_MODEL}", "api_base": f"{gateway}/v1", "api_key": KEY}
    return {"model": f"anthropic/{CLAUDE}", "api_base": gateway, "api_key": KEY}


def asking(prompt: str) -> list[Any]:
    return [{"role": "user", "content": prompt}]


def test_a_chat_is_answered_whole_with_its_usage(target, prompt):
    reply = litellm.completion(**target, messages=asking(prompt), num_retries=0)
    assert reply.choices[0].message.content == ANSWER
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)


def test_a_chat_is_streamed(target, prompt):
    stream = litellm.completion(
        **target, messages=asking(prompt), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == ANSWER


def test_a_tool_is_called_and_its_result_taken(target, prompt):
    messages = asking(prompt)
    reply = litellm.completion(**target, messages=messages, tools=TOOLS)
    message = reply.choices[0].message
    (call,) = message.tool_calls
    assert reply.choices[0].finish_reason == "tool_calls"
    assert (call.id, call.function.name) == (CALL_ID, "weather")
    assert call.function.arguments.replace(" ", "") == ARGUMENTS.replace(" ", "")
    messages += [message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    reply = litellm.completion(**target, messages=messages, tools=TOOLS)
    assert reply.choices[0].message.content == ANSWER


@pytest.mark.asyncio(loop_scope="module")  # it keeps connections for longer than a test
async def test_a_chat_is_answered_asynchronously(target, prompt):
    reply = await litellm.acompletion(**target, messages=asking(prompt))
    assert reply.choices[0].message.content == ANSWER


def test_texts_are_embedded(gateway, prompt):
    reply = litellm.embedding(
        model=f"openai/{EMBEDDING_MODEL}",
        api_base=f"{gateway}/v1",
        api_key=KEY,
        input=[prompt],
        encoding_format="float",
    )
    assert reply.data[0]["embedding"] == VECTOR


def test_a_response_is_answered(gateway, prompt):
    reply = litellm.responses(
        model=f"openai/{CHAT_MODEL}", api_base=f"{gateway}/v1", api_key=KEY, input=prompt
    )
    assert reply.output[0].content[0].text == ANSWER


def test_a_wrong_key_is_an_authentication_error(target, prompt):
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(**{**target, "api_key": "sk-wrong"}, messages=asking(prompt), num_retries=0)
