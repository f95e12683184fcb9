"""Masking on the hot route: what a provider gets to see, and what comes back to the client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from gateway.caching import Caching
from gateway.dialects import DIALECTS
from gateway.simulated import Call, Failure, Piece
from gateway.testing import ScriptedModels
from gateway.usage import Usage
from spendstream.caching.admission import Policy
from spendstream.caching.memory import MemoryAnswers
from tests.fixtures.calling import ANSWER, NOW, Client, Response

KEY = "-----BEGIN PRIVATE KEY-----\nMIIEow==\n-----END PRIVATE KEY-----"
VALUES = (
    *(
        "bob@example.com",
        "+49 30 1234567",
        "123-45-6789",
        "4111 1111 1111 1111",
        "DE89 3704 0044 0532 0130 00",
    ),
    *("192.168.17.4", KEY, "sk-proj-abcdEFGH1234567890abcdEFGH"),
)
CHAT, COMPLETIONS, MESSAGES, RESPONSES, EMBEDDINGS = (
    f"/v1/{name}" for name in ("chat/completions", "completions", "messages", "responses", "embeddings")
)
STREAMED = (CHAT, COMPLETIONS, MESSAGES, RESPONSES)
MASKED = "spendstream_gateway_masked_total"


class EchoModels:
    """Answers with the last text of the prompt, in pieces of some sizes, again and again."""

    models = ("gpt-4",)

    def __init__(self, sizes: Sequence[int] = (1,)) -> None:
        self.sizes = sizes
        self.calls: list[Call] = []

    async def answer(self, call: Call) -> AsyncGenerator[Piece, None]:
        self.calls.append(call)
        text = call.messages[-1].content
        assert isinstance(text, str)
        for piece in _cut(text, self.sizes) if call.stream else [text]:
            await asyncio.sleep(0)
            yield Piece(text=piece)
        yield Piece(finish_reason="stop", usage=Usage(input_tokens=5, output_tokens=3))


def _cut(text: str, sizes: Sequence[int]) -> list[str]:
    pieces: list[str] = []
    place = 0
    while place < len(text):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(text[place : place + size])
        place += size
    return pieces


def request(path: str, text: str, **more: Any) -> dict[str, Any]:
    return {
        CHAT: {"messages": [{"role": "user", "content": text}]},
        COMPLETIONS: {"prompt": text},
        MESSAGES: {"messages": [{"role": "user", "content": text}], "max_tokens": 9},
        RESPONSES: {"input": text},
        EMBEDDINGS: {"input": text},
    }[path] | {"model": "gpt-4", **more}


def said(path: str, response: Response, sent: Any) -> str:
    """Return the text of an answer, as the client reads it."""
    dialect = DIALECTS[path]
    if not sent.get("stream"):
        return dialect.text(response.body)
    reader = dialect.stream(dialect.ask(json.dumps(sent).encode()))
    reader.feed(response.body)
    return reader.text()


@pytest.fixture
async def client() -> AsyncIterator[Callable[..., Client]]:
    clients: list[Client] = []

    def make(
        models: Any = None, privacy_teams: Sequence[str] = ("*",), caching: Caching | None = None
    ) -> Client:
        clients.append(Client(models or EchoModels(), caching, privacy_teams=tuple(privacy_teams)))
        return clients[-1]

    yield make
    for one in clients:
        await one.close()


def run(one: Client, work: Callable[[], Awaitable[Response]]) -> Response:
    async def within() -> Response:
        async with asyncio.timeout(30):
            try:
                return await work()
            finally:
                await one.close()

    return asyncio.run(within())


parts = st.lists(
    st.one_of(
        st.sampled_from(VALUES),
        st.sampled_from(
            ["<EMAIL_1>", "<", ">", "<IP_", "1>", " \n\n", ' "so" ', " data: [DONE]", "\\n", "é "]
        ),
        st.text(st.characters(codec="utf-8"), max_size=4),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60)
@example(path=CHAT, parts=[" data: [DONE]", "bob@example.com"], sizes=[13], stream=True)
@given(
    path=st.sampled_from(STREAMED),
    parts=parts,
    sizes=st.lists(st.integers(1, 30), min_size=1),
    stream=st.booleans(),
)
def test_the_client_gets_what_it_wrote_and_nobody_else_sees_its_values(path, parts, sizes, stream):
    text = " and ".join(parts)
    models = EchoModels(sizes)
    one = Client(models, privacy_teams=("law",))
    sent = request(path, text, stream=stream)
    team = {"x-spendstream-team": "law"}
    response = run(one, lambda: one.post(json.dumps(sent).encode(), team, path=path))
    assert said(path, response, sent) == text
    written = [value for value in VALUES if value in parts]
    (call,) = models.calls
    others = (
        call.body.decode() + one.publisher.records[0][2].decode() + generate_latest(one.registry).decode()
    )
    assert not [value for value in written if json.dumps(value)[1:-1] in others]
    assert sum(1 for _ in written) <= sum(
        sample.value
        for family in one.registry.collect()
        for sample in family.samples
        if sample.name == MASKED
    )


async def test_the_audit_log_hears_how_many_of_which_kind_were_masked_and_never_what(client):
    one = client()
    text = f"From {VALUES[0]} and eve@example.com at {VALUES[5]}, not <EMAIL_7>"
    await one.post(request(CHAT, text), {"x-spendstream-team": "law"})
    await one.post(request(CHAT, "Nothing here is anybody's, and <EMAIL_7> is nobody."))
    [(kind, fields)] = one.audit.entries
    assert kind == "masked"
    assert fields["counts"]["EMAIL"] == 2
    assert fields["counts"]["IP"] == 1
    assert (fields["call"], fields["team"]) == (str(one.publisher.events[0].id), "law")
    assert "example" not in str(fields)


async def test_only_teams_that_have_opted_in_are_masked(client):
    one = client(privacy_teams=["law"])
    sent = request(CHAT, "bob@example.com")
    for team in ("law", "sales"):
        await one.post(json.dumps(sent).encode(), {"x-spendstream-team": team})
    masked, plain = (json.loads(call.body) for call in one.models.calls)
    assert masked["messages"][0]["content"] == "<EMAIL_1>"
    assert plain == sent
    assert one.metric(MASKED, kind="EMAIL") == 1


async def test_a_request_without_anything_to_mask_goes_as_it_was_written(client):
    one = client()
    await one.post(b'{"model":"gpt-4","messages":[{"role":"user","content":"Why?"}],"x_odd":[1.50,1e400]}')
    assert one.models.calls[0].body.endswith(b'"x_odd":[1.50,1e400]}')


async def test_numbers_of_a_masked_request_stay_as_they_were_written(client):
    one = client()
    await one.post(b'{"model":"gpt-4","messages":[{"role":"user","content":"10.1.2.3","w":[1.50,1e400]}]}')
    assert b'"content":"<IP_1>","w":[1.50,1e400]' in one.models.calls[0].body


async def test_texts_are_masked_wherever_they_stand_and_nothing_else(client):
    one = client(ScriptedModels(ANSWER))
    tools = [{"type": "function", "function": {"name": "mail", "description": "like x@example.org"}}]
    url = "https://example.com/a.png?for=bob@example.com"
    sent = {
        "model": "gpt-4",
        "tools": tools,
        "user": "bob@example.com",
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "You serve bob@example.com"}]},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]},
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "4111111111111111",
                        "type": "function",
                        "function": {"name": "mail", "arguments": '{"to": "ann@example.com"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "4111111111111111", "content": "sent to ann@example.com"},
        ],
    }
    assert (await one.post(json.dumps(sent).encode())).status == 200
    got = json.loads(one.models.calls[0].body)
    system, picture, call, result = got["messages"]
    assert system["content"][0]["text"] == "You serve <EMAIL_1>"
    assert (got["user"], got["tools"]) == ("<EMAIL_1>", tools)
    assert picture["content"][0]["image_url"]["url"] == url
    assert call["tool_calls"][0]["function"] == {"name": "mail", "arguments": '{"to": "<EMAIL_2>"}'}
    assert call["tool_calls"][0]["id"] == result["tool_call_id"] == "4111111111111111"
    assert result["content"] == "sent to <EMAIL_2>"
    assert one.event.user == "bob@example.com"


async def test_anthropics_blocks_are_masked_but_files_and_signatures(client):
    one = client(ScriptedModels(ANSWER))
    blocks = [
        {
            "type": "thinking",
            "thinking": "ask bob@example.com, not x@example.org",
            "signature": "4111111111111111",
        },
        {
            "type": "tool_use",
            "id": "1",
            "name": "mail",
            "input": {"url": "https://x/?bob@example.com", "id": 7},
        },
    ]
    document = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "10.1.2.3"},
    }
    picture = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "4111111111111111"},
    }
    sent = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "bob@example.com"}, document, picture]},
            {"role": "assistant", "content": blocks},
        ],
        "model": "gpt-4",
        "max_tokens": 9,
        "system": "For ann@example.com",
    }
    assert (await one.post(json.dumps(sent).encode(), path=MESSAGES)).status == 200
    got = json.loads(one.models.calls[0].body)
    assert got["system"] == "For <EMAIL_1>"  # first, so that a chat that goes on keeps its placeholders
    user, assistant = (message["content"] for message in got["messages"])
    assert [user[0]["text"], user[1]["source"]["data"], user[2]] == ["<EMAIL_2>", "<IP_1>", picture]
    assert assistant[0] == {
        "type": "thinking",
        "thinking": "ask <EMAIL_2>, not x@example.org",  # the provider checks that its own words come back
        "signature": "4111111111111111",
    }
    assert assistant[1]["input"] == {"url": "https://x/?<EMAIL_2>", "id": 7}


async def test_a_text_that_only_begins_like_an_embedded_file_is_masked(client):
    one = client()
    await one.post(request(CHAT, "data: bob@example.com"))
    assert one.models.calls[0].messages[-1].content == "data: <EMAIL_1>"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_of_the_provider_that_quotes_the_prompt_gets_the_values_back(client, stream):
    one = client(ScriptedModels([Failure(400, "bad", "what is <EMAIL_1>?")]))
    response = await one.post(request(CHAT, "bob@example.com", stream=stream))
    assert response.status == 400
    assert response.json["error"]["message"] == "what is bob@example.com?"
    assert int(response.headers["content-length"]) == len(response.body)


async def test_an_error_in_the_middle_of_a_stream_comes_after_what_was_held_back(client):
    script = [Piece(text="Ask <EM"), Failure(500, "server_error", "broke down")]
    one = client(ScriptedModels(script))
    response = await one.post(request(CHAT, "bob@example.com", stream=True))
    *chunks, last = response.sse
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "Ask <EM"
    assert last["error"]["code"] == "server_error"


async def test_what_is_held_back_comes_before_the_end_of_the_answer(client):
    one = client()
    response = await one.post(request(CHAT, "bob@example.com <", stream=True))
    *chunks, end = (event["choices"][0] for event in response.sse[:-1])
    assert "".join(chunk["delta"].get("content", "") for chunk in chunks) == "bob@example.com <"
    assert (end["delta"], end["finish_reason"]) == ({}, "stop")
    assert response.sse[-1] == "DONE"


async def test_the_event_counts_what_the_provider_sent_and_said(client):
    one = client()
    await one.post(request(CHAT, "bob@example.com", stream=True))
    assert (one.event.input_tokens, one.event.output_tokens, one.event.usage_source) == (5, 3, "provider")


async def test_an_answer_that_breaks_off_is_counted_as_the_provider_wrote_it(client):
    one = client(ScriptedModels([Piece(text="Ask <EMAIL_1>"), asyncio.Event()]))
    async with asyncio.timeout(10):
        await one.post(request(CHAT, "bob@example.com", stream=True), hang_up_at=b"bob@example.com")
    assert one.event.usage_source == "interrupted"
    assert one.event.output_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_the_cache_holds_placeholders_and_each_caller_gets_its_own_values(client, stream):
    policy = Policy(least_value=0.0)
    one = client(caching=Caching(MemoryAnswers(1 << 20), clock=lambda: NOW, policy=policy))
    for value in ("bob@example.com", "ann@example.com"):
        sent = request(CHAT, f"To {value}", stream=stream)
        assert said(CHAT, await one.post(sent), sent) == f"To {value}"
    assert [event.cache_outcome for event in one.publisher.events] == ["none", "exact"]
    assert len(one.models.calls) == 1


async def test_inputs_of_embeddings_are_masked(client):
    one = client()
    response = await one.post(request(EMBEDDINGS, "bob@example.com"), path=EMBEDDINGS)
    assert response.status == 200
    assert one.metric(MASKED, kind="EMAIL") == 1


async def test_long_requests_are_masked_as_short_ones_are(client):
    one = client()
    text = "Nothing here to see. " * 2_000 + "bob@example.com"
    response = await one.post(request(CHAT, text))
    assert one.models.calls[0].messages[-1].content.endswith("<EMAIL_1>")
    assert said(CHAT, response, {}) == text


async def test_a_request_that_is_nested_too_deeply_is_refused(client):
    one = client()
    deep = (
        b'{"model":"gpt-4","messages":[{"role":"user","content":"a","x":' + b"[" * 900 + b'"a"' + b"]" * 900
    )
    response = await one.post(deep + b"}]}")
    assert (response.status, response.json["error"]["code"]) == (400, "invalid_json")
    assert not one.publisher.records
