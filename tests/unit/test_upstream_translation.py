"""OpenAI's chat asked of Anthropic's messages: what is said, there and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import DIALECTS
from gateway.upstream.translation import (
    NotTranslatable,
    StreamTranslation,
    error_to_chat,
    request_to_messages,
    whole_to_chat,
)
from gateway.usage import Usage

CHAT, MESSAGES = DIALECTS["/v1/chat/completions"], DIALECTS["/v1/messages"]
USAGE = {
    "input_tokens": 10,
    "output_tokens": 5,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_1h_input_tokens": 10},
}
TEXT = {"type": "text", "text": "Let me see."}
TOOL = {"type": "tool_use", "id": "t1", "name": "price", "input": {"model": "é", "n": [1, None]}}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [TEXT, TOOL],
    "stop_reason": "tool_use",
    "usage": USAGE,
}


def asked(*messages: Any, **more: Any) -> Any:
    chat = {"model": "claude", "messages": list(messages), **more}
    return json.loads(request_to_messages(json.dumps(chat).encode()))


def user(content: Any = "Why?") -> dict[str, Any]:
    return {"role": "user", "content": content}


class TestRequests:
    def test_instructions_are_the_system_prompt(self):
        told = asked(
            {"role": "system", "content": "Be short."}, {"role": "developer", "content": "Now."}, user()
        )
        assert told["system"] == "Be short.\n\nNow."
        assert told["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}]

    def test_the_newer_limit_wins_and_there_always_is_one(self):
        assert asked(user())["max_tokens"] == 4096
        assert asked(user(), max_tokens=5)["max_tokens"] == 5
        assert asked(user(), max_tokens=5, max_completion_tokens=7)["max_tokens"] == 7

    def test_sampling_stops_and_the_user_go_along(self):
        told = asked(user(), temperature=1.7, top_p=0.5, stop="END", user="ada", stream=True, seed=3)
        assert (told["temperature"], told["top_p"], told["stop_sequences"]) == (1, 0.5, ["END"])
        assert (told["metadata"], told["stream"]) == ({"user_id": "ada"}, True)
        assert "seed" not in told

    def test_tools_are_offered_called_and_answered(self):
        function = {"name": "price", "description": "Prices.", "parameters": {"type": "object"}}
        call = {"id": "c1", "type": "function", "function": {"name": "price", "arguments": '{"a":1}'}}
        told = asked(
            user(),
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "3 dollars"},
            user("Thanks."),
            tools=[{"type": "function", "function": function}],
            tool_choice={"type": "function", "function": {"name": "price"}},
            parallel_tool_calls=False,
        )
        assert told["tools"] == [
            {"name": "price", "description": "Prices.", "input_schema": {"type": "object"}}
        ]
        assert told["tool_choice"] == {"type": "tool", "name": "price", "disable_parallel_tool_use": True}
        _, called, answered = told["messages"]
        assert called["content"] == [{"type": "tool_use", "id": "c1", "name": "price", "input": {"a": 1}}]
        assert answered["role"] == "user"
        assert [block["type"] for block in answered["content"]] == ["tool_result", "text"]

    @pytest.mark.parametrize(
        ("url", "source"),
        [
            ("data:image/png;base64,AAAA", {"type": "base64", "media_type": "image/png", "data": "AAAA"}),
            ("https://host/cat.png", {"type": "url", "url": "https://host/cat.png"}),
        ],
    )
    def test_pictures_go_along(self, url, source):
        told = asked(user([{"type": "image_url", "image_url": {"url": url}}]))
        assert told["messages"][0]["content"] == [{"type": "image", "source": source}]

    @pytest.mark.parametrize(
        "more",
        [
            {"n": 2},
            {"logprobs": True},
            {"response_format": {"type": "json_object"}},
            {"tools": [{"type": "custom"}]},
            {"messages": [user([{"type": "input_audio"}])]},
        ],
    )
    def test_what_cannot_be_said_is_refused(self, more):
        with pytest.raises(NotTranslatable, match="Anthropic's API has no"):
            asked(*more.pop("messages", [user()]), **more)

    def test_the_result_is_a_request_that_the_messages_dialect_reads(self):
        body = json.dumps({"model": "claude", "messages": [user()]}).encode()
        ask = MESSAGES.ask(request_to_messages(body))
        assert (ask.model, ask.last_text, ask.max_output_tokens) == ("claude", "Why?", 4096)


EXPECTED = Usage(
    input_tokens=140, output_tokens=5, cache_read_tokens=100, cache_write_tokens=30, cache_write_1h_tokens=10
)


class TestAnswers:
    def test_a_whole_answer_is_a_completion_with_all_kinds_of_tokens(self):
        body = whole_to_chat(json.dumps(MESSAGE).encode())
        assert CHAT.outcome(body).usage == EXPECTED
        (choice,) = json.loads(body)["choices"]
        assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", "Let me see.")
        (call,) = choice["message"]["tool_calls"]
        assert (call["id"], call["function"]["name"]) == ("t1", "price")
        assert json.loads(call["function"]["arguments"]) == TOOL["input"]

    @given(data=st.data())
    def test_a_streamed_one_is_the_same_however_it_is_cut(self, data):
        ask = MESSAGES.ask(b'{"model":"claude","messages":[{"role":"user","content":"Why?"}],"max_tokens":9}')
        sent = b"".join(MESSAGES.replay(json.dumps(MESSAGE).encode(), ask))
        sent = sent.replace(b'"usage":{"output_tokens":5}', b'"usage":' + json.dumps(USAGE).encode())
        cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=9)))
        translation = StreamTranslation()
        chat = CHAT.ask(b'{"model":"m","messages":[{"role":"user","content":"Why?"}],"stream":true}')
        reader = CHAT.stream(chat)
        for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            reader.feed(translation.feed(sent[start:end]))
        assert reader.outcome().usage == EXPECTED
        assert reader.outcome().finish_reason == "tool_calls"
        whole = json.loads(reader.whole())["choices"][0]["message"]
        assert whole["content"] == "Let me see."
        assert json.loads(whole["tool_calls"][0]["function"]["arguments"]) == TOOL["input"]

    def test_an_error_has_openai_s_shape_whole_and_in_a_stream(self):
        told = {"type": "error", "error": {"type": "overloaded_error", "message": "later"}}
        error = json.loads(error_to_chat(json.dumps(told).encode()))["error"]
        assert (error["code"], error["message"]) == ("overloaded_error", "later")
        reader = CHAT.stream(
            CHAT.ask(b'{"model":"m","messages":[{"role":"user","content":"?"}],"stream":true}')
        )
        reader.feed(StreamTranslation().feed(f"event: error\ndata: {json.dumps(told)}\n\n".encode()))
        assert reader.outcome().error_type == "overloaded_error"

    @pytest.mark.parametrize(
        "nonsense", [b"", b"{", b"[]", b'{"content": null}', b"<html>", b'{"type":"message_start"}']
    )
    def test_what_is_no_message_is_passed_on(self, nonsense):
        assert error_to_chat(nonsense) == nonsense
        assert StreamTranslation().feed(b"data: " + nonsense + b"\n\n") == b""
