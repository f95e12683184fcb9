"""OpenAI's own client through the gateway: every route, whole, streamed and with tools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.clients.conftest import CHAT_MODEL, EMBEDDING_MODEL, KEY
from tests.integration.clients.provider import (
    ANSWER,
    ARGUMENTS,
    CACHED_TOKENS,
    CALL_ID,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    REASONING_TOKENS,
    VECTOR,
    Provider,
)

openai = pytest.importorskip("openai", reason="OpenAI's client is not installed: pip install openai")

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "weather", "description": "The weather of a city", "parameters": PARAMETERS}
TOOLS: list[Any] = [{"type": "function", "function": FUNCTION}]
FLAT_TOOL: Any = {"type": "function", "strict": False, **FUNCTION}
TOTAL = INPUT_TOKENS + OUTPUT_TOKENS


@pytest.fixture
def client(gateway: str) -> Iterator[Any]:
    with openai.OpenAI(api_key=KEY, base_url=f"{gateway}/v1", max_retries=0) as found:
        yield found


def asking(prompt: str) -> list[Any]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]


def usage_of(usage: Any) -> tuple[int, ...]:
    return (
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.prompt_tokens_details.cached_tokens,
        usage.completion_tokens_details.reasoning_tokens,
    )


REPORTED = (INPUT_TOKENS, OUTPUT_TOKENS, CACHED_TOKENS, REASONING_TOKENS)


class TestChat:
    def test_answers_whole_with_the_usage_that_the_provider_reported(self, client, prompt):
        reply = client.chat.completions.create(model=CHAT_MODEL, messages=asking(prompt))
        assert reply.choices[0].message.content == ANSWER
        assert reply.choices[0].finish_reason == "stop"
        assert usage_of(reply.usage) == REPORTED

    def test_answers_in_a_stream_without_usage_for_who_did_not_ask_for_it(self, client, prompt):
        stream = client.chat.completions.create(model=CHAT_MODEL, messages=asking(prompt), stream=True)
        chunks = list(stream)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
        assert all(chunk.choices and chunk.usage is None for chunk in chunks)
        assert chunks[-1].choices[0].finish_reason == "stop"

    def test_answers_in_a_stream_with_usage_at_the_end_for_who_asked_for_it(self, client, prompt):
        stream = client.chat.completions.create(
            model=CHAT_MODEL, messages=asking(prompt), stream=True, stream_options={"include_usage": True}
        )
        *others, last = list(stream)
        assert all(chunk.usage is None for chunk in others)
        assert not last.choices
        assert usage_of(last.usage) == REPORTED

    def test_lets_the_accumulating_stream_helper_understand_the_chunks(self, client, prompt):
        with client.chat.completions.stream(model=CHAT_MODEL, messages=asking(prompt)) as stream:
            for _ in stream:
                pass
            final = stream.get_final_completion()
        assert final.choices[0].message.content == ANSWER

    def test_takes_a_tool_s_call_and_its_result(self, client, prompt):
        messages = asking(prompt)
        reply = client.chat.completions.create(model=CHAT_MODEL, messages=messages, tools=TOOLS)
        message = reply.choices[0].message
        (call,) = message.tool_calls
        assert reply.choices[0].finish_reason == "tool_calls"
        assert (call.id, call.function.name, call.function.arguments) == (CALL_ID, "weather", ARGUMENTS)
        messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
        reply = client.chat.completions.create(model=CHAT_MODEL, messages=messages, tools=TOOLS)
        assert reply.choices[0].message.content == ANSWER

    def test_streams_a_tool_s_call_in_pieces(self, client, prompt):
        stream = client.chat.completions.create(
            model=CHAT_MODEL, messages=asking(prompt), tools=TOOLS, stream=True
        )
        chunks = list(stream)
        calls = [
            chunk.choices[0].delta.tool_calls[0] for chunk in chunks if chunk.choices[0].delta.tool_calls
        ]
        assert (calls[0].id, calls[0].function.name) == (CALL_ID, "weather")
        assert "".join(call.function.arguments or "" for call in calls) == ARGUMENTS
        assert chunks[-1].choices[0].finish_reason == "tool_calls"

    def test_hands_fields_on_that_the_gateway_does_not_know(self, client, provider: Provider, prompt):
        client.chat.completions.create(
            model=CHAT_MODEL, messages=asking(prompt), seed=7, extra_body={"spice": {"hot": 1.50}}
        )
        (asked,) = provider.about(prompt)
        assert asked.body["spice"] == {"hot": 1.5}
        assert asked.body["seed"] == 7
        assert asked.body["messages"] == asking(prompt)

    def test_takes_pictures_beside_text(self, client, provider: Provider, prompt):
        parts = [
            {"type": "text", "text": prompt},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        ]
        messages: list[Any] = [{"role": "user", "content": parts}]
        reply = client.chat.completions.create(model=CHAT_MODEL, messages=messages)
        (asked,) = provider.about(prompt)
        assert reply.choices[0].message.content == ANSWER
        assert asked.body["messages"] == messages

    def test_shows_the_provider_its_own_key_and_never_the_client_s(self, client, provider: Provider, prompt):
        client.chat.completions.create(model=CHAT_MODEL, messages=asking(prompt))
        (asked,) = provider.about(prompt)
        assert asked.headers["authorization"] == "Bearer sk-upstream"
        assert KEY not in str(asked)

    def test_says_what_a_whole_reply_cost(self, client, prompt):
        raw = client.chat.completions.with_raw_response.create(model=CHAT_MODEL, messages=asking(prompt))
        assert float(raw.headers["x-spendstream-cost"]) > 0

    async def test_answers_the_asynchronous_client(self, gateway, prompt):
        async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{gateway}/v1", max_retries=0) as client:
            stream = await client.chat.completions.create(
                model=CHAT_MODEL, messages=asking(prompt), stream=True
            )
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text == ANSWER


class TestCompletions:
    MODEL = "gpt-3.5-turbo-instruct"

    def test_answers_whole(self, client, prompt):
        reply = client.completions.create(model=self.MODEL, prompt=prompt)
        assert reply.choices[0].text == ANSWER
        assert reply.usage.total_tokens == TOTAL

    def test_answers_in_a_stream(self, client, prompt):
        stream = client.completions.create(model=self.MODEL, prompt=prompt, stream=True)
        assert "".join(chunk.choices[0].text for chunk in stream if chunk.choices) == ANSWER


class TestEmbeddings:
    def test_gives_a_vector_for_each_text(self, client, prompt):
        reply = client.embeddings.create(
            model=EMBEDDING_MODEL, input=[prompt, "another"], encoding_format="float"
        )
        assert [found.embedding for found in reply.data] == [VECTOR, VECTOR]
        assert reply.usage.total_tokens == INPUT_TOKENS


class TestResponses:
    def test_answers_whole_with_usage(self, client, prompt):
        reply = client.responses.create(model=CHAT_MODEL, instructions="Be brief.", input=prompt)
        assert reply.output_text == ANSWER
        assert reply.usage.total_tokens == TOTAL
        assert reply.usage.output_tokens_details.reasoning_tokens == REASONING_TOKENS

    def test_answers_in_a_stream_of_typed_events(self, client, prompt):
        events = list(client.responses.create(model=CHAT_MODEL, input=prompt, stream=True))
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert "".join(deltas) == ANSWER
        assert events[0].type == "response.created"
        assert events[-1].type == "response.completed"
        assert events[-1].response.usage.total_tokens == TOTAL
        assert [event.sequence_number for event in events] == list(range(len(events)))

    def test_asks_for_a_tool_and_takes_its_result(self, client, prompt):
        reply = client.responses.create(model=CHAT_MODEL, input=prompt, tools=[FLAT_TOOL])
        (call,) = reply.output
        assert (call.type, call.name, call.arguments) == ("function_call", "weather", ARGUMENTS)
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        turns = [{"role": "user", "content": prompt}, call.model_dump(exclude_none=True), result]
        assert client.responses.create(model=CHAT_MODEL, input=turns, tools=[FLAT_TOOL]).output_text == ANSWER

    def test_streams_a_tool_s_call(self, client, prompt):
        events = list(client.responses.create(model=CHAT_MODEL, input=prompt, tools=[FLAT_TOOL], stream=True))
        kind = "response.function_call_arguments.delta"
        assert "".join(event.delta for event in events if event.type == kind) == ARGUMENTS


class TestRefusals:
    def test_a_wrong_key_is_an_authentication_error(self, gateway, prompt):
        stranger = openai.OpenAI(api_key="sk-wrong", base_url=f"{gateway}/v1", max_retries=0)
        with stranger, pytest.raises(openai.AuthenticationError) as caught:
            stranger.chat.completions.create(model=CHAT_MODEL, messages=asking(prompt))
        assert caught.value.code == "invalid_api_key"

    def test_an_unknown_model_is_not_found(self, client, prompt):
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="gpt-99", messages=asking(prompt))
        assert caught.value.code == "model_not_found"

    def test_a_request_without_messages_names_the_field(self, client):
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model=CHAT_MODEL, messages=[])
        assert caught.value.param == "messages"


def test_the_models_of_all_providers_are_listed(client):
    assert {CHAT_MODEL, EMBEDDING_MODEL} <= {model.id for model in client.models.list()}
