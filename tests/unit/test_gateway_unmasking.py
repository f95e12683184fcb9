"""Streams of masked answers, as providers write them: every text gets its values, wherever it is cut."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.deltas import DELTAS
from gateway.unmasking import UnmaskedStream, Unmasking
from spendstream.privacy import Mask
from tests.unit.test_gateway_masking import CHAT, COMPLETIONS, KEY, MESSAGES, RESPONSES

ARGUMENTS = '{"to": "<EMAIL_1>", "key": "<PRIVATE_KEY_1>"}'
WITH_VALUES = {"to": "bob@example.com", "key": KEY}


def mask() -> Mask:
    found = Mask()
    found.text(f"bob@example.com {KEY} 10.1.2.3")
    return found


def event(content: Any, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(content)}\n\n".encode()


def chat(*choices: dict[str, Any]) -> bytes:
    return event({"id": "c", "object": "chat.completion.chunk", "choices": list(choices), "usage": None})


def choice(index: int, reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": reason}


def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    return {"index": index, **more, "function": {"arguments": arguments}}


def passed(path: str, *data: bytes, answers_json: bool = False) -> list[dict[str, Any]]:
    """Return the events that a client gets of what a provider sends."""
    stream = UnmaskedStream(Unmasking(mask(), answers_json=answers_json), DELTAS[path])
    out = b"".join((*map(stream.feed, data), stream.end()))
    blocks = out.decode().split("\n\n")
    assert blocks.pop() == ""
    lines = [line for block in blocks for line in block.split("\n") if line.startswith("data: {")]
    return [json.loads(line[6:]) for line in lines]


def content(events: list[dict[str, Any]], index: int = 0) -> str:
    choices = [one for told in events for one in told["choices"] if one["index"] == index]
    return "".join(one["delta"].get("content") or "" for one in choices)


CHAT_STREAM = b"".join(
    (
        chat(choice(0, role="assistant", content=""), choice(1, role="assistant", content="")),
        chat(choice(0, content="To <EM")),
        b": still here\n\n",
        chat(choice(1, content="<IP")),
        chat(choice(0, content="AIL_1>, a < b")),
        chat(choice(1, content="_1> é <")),
        chat(choice(0, tool_calls=[call(0, "", id="t", type="function")])),
        *(chat(choice(0, tool_calls=[call(0, ARGUMENTS[i : i + 7])])) for i in range(0, len(ARGUMENTS), 7)),
        chat(choice(0, "tool_calls")),
        chat(choice(1, "stop")),
        event({"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": {"prompt_tokens": 1}}),
        b"data: [DONE]\n\n",
    )
)


@given(cuts=st.lists(st.integers(0, len(CHAT_STREAM)), max_size=12), crlf=st.booleans())
def test_choices_and_calls_of_a_chat_get_their_values_however_the_bytes_are_cut(cuts, crlf):
    sent = CHAT_STREAM.replace(b"\n", b"\r\n") if crlf else CHAT_STREAM
    places = [0, *sorted(cuts), len(sent)]
    events = passed(CHAT, *(sent[start:end] for start, end in pairwise(places)))
    assert content(events, 0) == "To bob@example.com, a < b"
    assert content(events, 1) == "10.1.2.3 é <"
    calls = [one["delta"].get("tool_calls", []) for told in events for one in told["choices"]]
    arguments = "".join(part["function"]["arguments"] for parts in calls for part in parts)
    assert json.loads(arguments) == WITH_VALUES
    last = events[-1]
    assert (last["choices"], last["usage"]) == ([], {"prompt_tokens": 1})


def test_what_was_held_back_of_a_choice_comes_before_its_end_and_looks_like_its_other_pieces():
    events = passed(CHAT, chat(choice(1, content="a <")), chat(choice(1, "stop")))
    assert [told["choices"][0]["delta"] for told in events] == [{"content": "a "}, {"content": "<"}, {}]
    assert events[1]["id"] == "c"


def test_a_call_that_ends_within_a_placeholder_still_gets_all_of_it():
    events = passed(CHAT, chat(choice(0, tool_calls=[call(2, '{"a": "<EM')])), chat(choice(0, "length")))
    (rest,) = events[1]["choices"][0]["delta"]["tool_calls"]
    assert rest == {"index": 2, "function": {"arguments": "<EM"}}


def test_an_end_that_comes_with_text_has_all_of_it():
    events = passed(CHAT, chat(choice(0, "stop", content="a <")))
    assert [told["choices"][0]["delta"] for told in events] == [{"content": "a <"}]


@pytest.mark.parametrize("ending", [b"data: [DONE]\n\n", event({"error": {"message": "no"}}), b""])
def test_a_stream_without_an_end_loses_nothing_that_was_held_back(ending):
    events = passed(CHAT, chat(choice(0, content="a <EM")), ending)
    assert content([told for told in events if "choices" in told]) == "a <EM"
    assert not ending.startswith(b"data: {") or "error" in events[-1]


@pytest.mark.parametrize("mark", ["\\u003c", "\\u003C"])
def test_placeholders_that_a_provider_escapes_are_found(mark):
    sent = chat(choice(0, content="<EMAIL_1>")).replace(b"<", mark.encode()).replace(b">", b"\\u003e")
    assert b"<" not in sent
    assert content(passed(CHAT, sent)) == "bob@example.com"
    assert json.loads(Unmasking(mask()).body(sent[6:]))["choices"][0]["delta"]["content"] == "bob@example.com"


def test_events_without_a_placeholder_pass_as_their_own_bytes():
    odd = b'data:  {"choices" : [{"index":0,"delta":{"content":"so"},"x":1.50}]}\n\n'
    stream = UnmaskedStream(Unmasking(mask()), DELTAS[CHAT])
    assert stream.feed(odd + b"data: [DONE]\n\n") == odd + b"data: [DONE]\n\n"


def test_numbers_of_other_events_stay_as_they_were_written():
    odd = b'data: {"choices":[{"index":0,"delta":{"content":"<IP_1>"},"x":[1.50,1e400]}]}\n\n'
    stream = UnmaskedStream(Unmasking(mask()), DELTAS[CHAT])
    assert stream.feed(odd) == odd.replace(b"<IP_1>", b"10.1.2.3")


def test_completions_get_their_values():
    pieces = [event({"choices": [{"index": 0, "text": text}]}) for text in ("<I", "P_1> <")]
    end = event({"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]})
    events = passed(COMPLETIONS, *pieces, end)
    assert "".join(told["choices"][0]["text"] for told in events) == "10.1.2.3 <"


def test_an_answer_that_is_to_be_json_is_json_with_its_values():
    events = passed(CHAT, chat(choice(0, content='{"key": "<PRIVATE')), chat(choice(0, content='_KEY_1>"}')),
                    answers_json=True)  # fmt: skip
    assert json.loads(content(events)) == {"key": KEY}


def block(index: int, kind: str, name: str, text: str) -> bytes:
    delta = {"type": kind, name: text}
    told = {"type": "content_block_delta", "index": index, "delta": delta}
    return event(told, "content_block_delta")


def test_blocks_of_a_message_get_their_values():
    stop = event({"type": "content_block_stop", "index": 1}, "content_block_stop")
    given = [block(2, "input_json_delta", "partial_json", ARGUMENTS[i : i + 9]) for i in range(0, 60, 9)]
    thought = [block(0, "thinking_delta", "thinking", text) for text in ("<EMAI", "L_1>?")]
    spoken = [block(1, "text_delta", "text", text) for text in ("<IP_1> ", "is <IP_")]
    events = passed(MESSAGES, *thought, *spoken, stop, *given)
    said = {
        name: "".join(told["delta"].get(name, "") for told in events if "delta" in told)
        for name in ("thinking", "text", "partial_json")
    }
    assert (said["thinking"], said["text"]) == ("bob@example.com?", "10.1.2.3 is <IP_")
    assert json.loads(said["partial_json"]) == WITH_VALUES
    assert [told["type"] for told in events].index("content_block_stop") == 5  # after the held back rest


def test_the_whole_texts_in_responses_get_their_values_and_events_stay_numbered():
    place = {"item_id": "m", "output_index": 0, "content_index": 0}
    text = "to <EMAIL_1> <"
    item = {"id": "f", "type": "function_call", "arguments": ARGUMENTS}
    whole = {"type": "message", "content": [{"type": "output_text", "text": text}]}
    told = [
        *({"type": "response.output_text.delta", **place, "delta": part} for part in ("to <EM", "AIL_1> <")),
        {"type": "response.output_text.done", **place, "text": text},
        {"type": "response.function_call_arguments.delta", "item_id": "f", "delta": ARGUMENTS[:20]},
        {"type": "response.function_call_arguments.delta", "item_id": "f", "delta": ARGUMENTS[20:]},
        {"type": "response.function_call_arguments.done", "item_id": "f", "arguments": ARGUMENTS},
        {"type": "response.output_item.done", "item": {"id": "plain"}},
        {"type": "response.completed", "response": {"output": [whole, item]}},
    ]
    sent = [event({**one, "sequence_number": number}, one["type"]) for number, one in enumerate(told)]
    events = passed(RESPONSES, *sent)
    assert [one["sequence_number"] for one in events] == list(range(9))
    deltas = [one["delta"] for one in events if one["type"] == "response.output_text.delta"]
    assert deltas == ["to ", "bob@example.com ", "<"]
    with_values = "to bob@example.com <"
    assert events[3]["text"] == with_values
    arguments = [one["delta"] for one in events if "arguments.delta" in one["type"]]
    assert json.loads("".join(arguments)) == json.loads(events[6]["arguments"]) == WITH_VALUES
    message, function = events[-1]["response"]["output"]
    assert message["content"][0]["text"] == with_values
    assert json.loads(function["arguments"]) == WITH_VALUES


def test_what_a_tool_gets_has_its_values_in_names_too():
    body = {"content": [{"type": "tool_use", "input": {"<EMAIL_1>": ["<PRIVATE_KEY_1>"], "text": "<IP_1>"}}]}
    got = json.loads(Unmasking(mask(), answers_json=True).body(json.dumps(body).encode()))
    assert got["content"][0]["input"] == {"bob@example.com": [KEY], "text": "10.1.2.3"}


NAMES = (
    "choices",
    "index",
    "delta",
    "text",
    "content",
    "tool_calls",
    "function",
    "arguments",
    "type",
    "item_id",
)
TYPES = (
    "content_block_delta",
    "content_block_stop",
    "response.output_text.delta",
    "response.output_text.done",
)
anything = st.recursive(
    st.none()
    | st.integers(-1, 2)
    | st.floats(0, 1)
    | st.sampled_from(("<", "<EM", "AIL_1>", "<IP_1>", *TYPES)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=12,
)
odd_events = st.dictionaries(st.sampled_from((*NAMES, "error", "sequence_number")), anything, max_size=6)


@given(path=st.sampled_from(sorted(DELTAS)), odd=st.lists(odd_events, max_size=4))
def test_events_that_no_provider_should_send_are_passed_without_a_failure(path, odd):
    assert len(passed(path, *map(event, odd))) >= len(odd)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"a": "\xff<"}', b'{"a":"<"' + b',"x":' + b"[" * 900 + b"]" * 900 + b"}"]
)
def test_an_answer_that_cannot_be_read_is_passed_on_as_it_is(body):
    assert Unmasking(mask()).body(body) == body
    stream = UnmaskedStream(Unmasking(mask()), DELTAS[CHAT])
    sent = b"data: " + body + b"\n\n"
    assert stream.feed(sent) == sent
