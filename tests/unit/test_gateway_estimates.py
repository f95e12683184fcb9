"""What a request's input can come to at most: never less than what its provider can charge."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.callers import NOBODY
from gateway.dialects import DIALECTS
from gateway.estimates import most_input_by_bytes, most_input_by_count
from gateway.exchange import Exchange
from gateway.upstream.provider import Candidate, Provider
from spendstream.config import ProviderSettings
from spendstream.ids import new_id
from spendstream.pictures import most_picture_tokens
from spendstream.pricing.contexts import context_window
from spendstream.tokens import count_text

CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, MESSAGES = (
    f"/v1/{name}" for name in ("chat/completions", "completions", "embeddings", "responses", "messages")
)
MODEL = "gpt-4o"
DATA = base64.b64encode(bytes(30_000)).decode()
URL = "https://example.com/a.png"
TOOL = {"type": "function", "function": {"name": "price", "parameters": {"type": "object"}}}


def exchange(path: str, model: str = MODEL, **fields: Any) -> Exchange:
    body = json.dumps({"model": model, "max_tokens": 9, **fields}).encode()
    settings = ProviderSettings(name="p", kind="simulated", base_url="http://127.0.0.1:1", models=(model,))
    return Exchange(
        id=new_id(0), caller=NOBODY, dialect=DIALECTS[path], ask=DIALECTS[path].ask(body), forwarded=b"",
        arrived=0.0, waited=0.0, request=body, candidates=[Candidate(Provider(settings), model)],
    )  # fmt: skip


def said(*content: Any, role: str = "user") -> list[dict[str, Any]]:
    return [{"role": role, "content": list(content)}]


def estimates(one: Exchange, model: str = MODEL) -> tuple[int, int]:
    return most_input_by_bytes(one, model), most_input_by_count(one, model)


PLAIN = {
    CHAT: {"messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Why?"}]},
    COMPLETIONS: {"prompt": ["Why?", "So?"]},
    EMBEDDINGS: {"input": ["Why?", "So?"]},
    RESPONSES: {"input": "Why?", "instructions": "Be short."},
    MESSAGES: {"messages": said({"type": "text", "text": "Why?"}), "system": "Be short."},
}


@pytest.mark.parametrize("path", PLAIN)
def test_of_plain_text_the_most_is_its_bytes_and_then_its_tokens(path: str) -> None:
    one = exchange(path, **PLAIN[path])
    assert estimates(one) == (len(one.request), one.input_tokens)


@given(text=st.text(max_size=200), escaped=st.booleans())
def test_no_text_has_more_tokens_than_is_said_of_its_bytes(text: str, *, escaped: bool) -> None:
    one = exchange(CHAT, messages=said({"type": "text", "text": text}))
    one.request = json.dumps({"messages": text}, ensure_ascii=escaped).encode()
    assert most_input_by_bytes(one, MODEL) >= count_text(MODEL, text)


PICTURES = [
    (CHAT, lambda url, detail: {"type": "image_url", "image_url": {"url": url, "detail": detail}}),
    (RESPONSES, lambda url, detail: {"type": "input_image", "image_url": url, "detail": detail}),
]


@pytest.mark.parametrize(("path", "picture"), PICTURES, ids=["chat", "responses"])
@pytest.mark.parametrize("url", [URL, f"data:image/png;base64,{DATA}"], ids=["url", "data"])
@pytest.mark.parametrize(("detail", "most"), [("low", 85), ("high", 1445), ("auto", 1445)])
def test_a_picture_is_what_its_provider_publishes_as_the_most_however_it_comes(
    path: str, picture: Any, url: str, detail: str, most: int
) -> None:
    field = "messages" if path == CHAT else "input"
    text = {"type": "text" if path == CHAT else "input_text", "text": "What is it?"}
    one = exchange(path, **{field: said(text, picture(url, detail), picture(url, detail))})
    by_bytes, by_count = estimates(one)
    assert by_count == one.input_tokens + 2 * most
    assert by_count <= by_bytes < 2 * most + 400, "its bytes are no text"


def test_pictures_of_anthropic_are_found_also_in_what_a_tool_has_said() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}
    result = {
        "type": "tool_result",
        "tool_use_id": "t1",
        "content": [{"type": "text", "text": "So."}, picture],
    }
    one = exchange(MESSAGES, "claude-haiku", messages=said(picture, result))
    by_bytes, by_count = estimates(one, "claude-haiku")
    assert 2 * 4784 < by_count <= by_bytes < 2 * 4784 + 400


def test_what_is_written_with_escapes_is_found_as_well() -> None:
    one = exchange(CHAT, messages=said({"type": "image_url", "image_url": {"url": URL}}))
    plain = estimates(one)
    one.request = one.request.replace(b"image", b"\\u0069mage")
    one.ask = DIALECTS[CHAT].ask(one.request)
    assert min(estimates(one)) >= min(plain) - 50


def test_tools_and_what_they_are_given_count_as_bytes_and_what_a_provider_says_of_them() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "price", "arguments": '{"of": "é"}'}}
    one = exchange(
        CHAT,
        messages=[{"role": "assistant", "content": None, "tool_calls": [call]}],
        tools=[TOOL],
        response_format={"type": "json_schema", "json_schema": {"name": "so", "schema": {}}},
    )
    by_bytes, by_count = estimates(one)
    assert by_count >= one.input_tokens + 3072 + sum(len(json.dumps(it)) - 30 for it in (call, TOOL))
    assert by_count <= by_bytes + 100


FILES = [
    (CHAT, "messages", {"type": "file", "file": {"file_id": "file-1"}}),
    (RESPONSES, "input", {"type": "input_file", "file_url": "https://example.com/a.pdf"}),
    (MESSAGES, "messages", {"type": "document", "source": {"type": "base64", "data": DATA}}),
]


@pytest.mark.parametrize(("path", "field", "file"), FILES, ids=["chat", "responses", "messages"])
def test_a_file_can_fill_all_that_the_model_takes(path: str, field: str, file: Any) -> None:
    window = context_window(MODEL)
    assert window == 128_000
    one = exchange(path, **{field: said(file)})
    assert window <= estimates(one)[1] <= estimates(one)[0] < window + 400


def test_of_a_model_whose_size_nobody_publishes_a_file_is_its_bytes() -> None:
    document = {"type": "document", "source": {"type": "base64", "data": DATA}}
    one = exchange(MESSAGES, "made-up", messages=said(document))
    assert min(estimates(one, "made-up")) >= len(DATA)


def test_a_document_that_is_text_is_its_bytes() -> None:
    document = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "So. " * 99},
    }
    one = exchange(MESSAGES, messages=said(document))
    assert 400 < estimates(one)[1] <= estimates(one)[0] < 700


@pytest.mark.parametrize(
    "more",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"prompt": {"id": "pmpt_1"}},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
    ],
)
def test_what_the_provider_remembers_can_fill_all_that_the_model_takes(more: Any) -> None:
    assert min(estimates(exchange(RESPONSES, **{"input": "Why?", **more}))) >= 128_000


def test_no_conversation_is_no_conversation() -> None:
    one = exchange(RESPONSES, input="Why?", previous_response_id=None, conversation=None)
    assert max(estimates(one)) < 200


def test_audio_is_its_bytes() -> None:
    one = exchange(
        CHAT, messages=said({"type": "input_audio", "input_audio": {"data": DATA, "format": "mp3"}})
    )
    assert min(estimates(one)) >= len(DATA)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "content", "text", "source", "image_url", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(item=json_values, tools=json_values)
def test_whatever_else_is_in_a_request_is_its_bytes_at_least(item: Any, tools: Any) -> None:
    messages = [{"role": "user", "content": "Why?", "more": item}]
    one = exchange(CHAT, messages=messages, tools=tools)
    by_bytes, by_count = estimates(one)
    assert by_bytes >= len(one.request) - len(json.dumps(item))
    assert by_count >= one.input_tokens


@pytest.mark.parametrize(
    ("model", "detail", "most"),
    [
        ("gpt-4o-mini", "high", 48_169),
        ("gpt-4o-mini-2024-07-18", "low", 2833),
        ("openai/gpt-4.1", "high", 1445),
        ("gpt-4.1-nano", "low", 3779),
        ("o4-mini", "auto", 2642),
        ("gpt-5", "auto", 1190),
        ("gpt-5-mini", "auto", 2489),
        ("gpt-5.6", "auto", 12_000),
        ("claude-sonnet-4-5", "auto", 4784),
        ("made-up", "low", 12_000),
    ],
)
def test_the_most_of_a_picture_is_known_by_the_model_s_name(model: str, detail: str, most: int) -> None:
    assert most_picture_tokens(model, detail) == most
