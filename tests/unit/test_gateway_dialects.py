"""What the gateway reads and writes of each API, on answers as the providers document them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.dialects import DIALECTS, Dialect
from gateway.refusal import Refusal
from gateway.simulated.formats import FORMATS
from gateway.simulated.models import Piece
from gateway.usage import Usage

CHAT, MESSAGES, RESPONSES = (
    DIALECTS[f"/v1/{path}"] for path in ("chat/completions", "messages", "responses")
)
COMPLETIONS, EMBEDDINGS = DIALECTS["/v1/completions"], DIALECTS["/v1/embeddings"]
REQUESTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Why?"}]},
    "/v1/completions": {"prompt": "Why?"},
    "/v1/responses": {"input": "Why?"},
    "/v1/messages": {"messages": [{"role": "user", "content": "Why?"}], "max_tokens": 9},
}
STREAMED = sorted(REQUESTS)
TEXTS = ["It", " is\n\n", ' "so"', " data: [DONE]", " é"]
USAGE = Usage(input_tokens=30, output_tokens=12, cache_read_tokens=10)


def body(path: str, **more: Any) -> bytes:
    return json.dumps({"model": "m", **REQUESTS.get(path, {"input": "Why?"}), **more}).encode()


def streamed(path: str, *, include_usage: bool = True, upto: int | None = None) -> bytes:
    """Return the stream of an answer; of one that broke off, the first `upto` texts."""
    form = FORMATS[path]("1", "m", 0, include_usage=include_usage)
    parts = [form.first(USAGE), *map(form.more, TEXTS[:upto])]
    if upto is None:
        parts.append(form.last(Piece(finish_reason="stop", usage=USAGE)))
    return b"".join(parts)


def whole(path: str) -> bytes:
    return FORMATS[path]("1", "m", 0, include_usage=True).whole(
        "".join(TEXTS), Piece(finish_reason="stop", usage=USAGE)
    )


def events(data: bytes) -> list[Any]:
    """Return the data of each event, as a client decodes them."""
    blocks = data.decode().split("\n\n")
    assert blocks.pop() == ""
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("data: ")]
    return [json.loads(line[6:]) if line != "data: [DONE]" else None for line in lines]


@pytest.mark.parametrize("path", STREAMED)
class TestEveryDialect:
    def test_reads_the_usage_and_the_end_of_a_whole_answer(self, path):
        outcome = DIALECTS[path].outcome(whole(path))
        assert outcome.usage == USAGE
        assert outcome.finish_reason
        assert DIALECTS[path].text(whole(path)) == "".join(TEXTS)

    def test_reads_the_same_of_a_streamed_one(self, path):
        dialect = DIALECTS[path]
        reader = dialect.stream(dialect.ask(body(path, stream=True)))
        reader.feed(streamed(path))
        assert reader.outcome() == dialect.outcome(whole(path))
        assert reader.text() == "".join(TEXTS)

    @pytest.mark.parametrize("upto", range(len(TEXTS) + 1))
    def test_knows_that_a_stream_is_not_at_its_end_and_what_came_of_it(self, path, upto):
        dialect = DIALECTS[path]
        reader = dialect.stream(dialect.ask(body(path, stream=True)))
        reader.feed(streamed(path, upto=upto))
        assert not reader.outcome().finish_reason
        assert reader.text() == "".join(TEXTS[:upto])

    @given(data=st.data(), wanted=st.booleans(), crlf=st.booleans())
    def test_passes_a_stream_on_however_it_is_cut(self, path, data, wanted, crlf):
        """Only usage that nobody asked for is taken out, and only where that is the caller's to say."""
        dialect = DIALECTS[path]
        options = {"stream_options": {"include_usage": True}} if wanted else {}
        reader = dialect.stream(dialect.ask(body(path, stream=True, **options)))
        full = streamed(path)
        sent = full.replace(b"\n", b"\r\n") if crlf else full
        cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=12)))
        passed = b"".join(
            reader.feed(sent[start:end]) for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)
        )
        expected = streamed(path, include_usage=wanted or not path.endswith("completions"))
        assert events(passed.replace(b"\r\n", b"\n")) == events(expected)
        assert reader.outcome().usage == USAGE

    def test_a_whole_answer_replayed_as_a_stream_is_the_same_answer(self, path):
        dialect = DIALECTS[path]
        ask = dialect.ask(body(path, stream=True, stream_options={"include_usage": True}))
        reader = dialect.stream(ask)
        for part in dialect.replay(whole(path), ask):
            reader.feed(part)
        assert reader.text() == "".join(TEXTS)
        again = reader.whole()
        assert dialect.outcome(again) == dialect.outcome(whole(path))
        assert dialect.text(again) == "".join(TEXTS)

    def test_a_streamed_answer_can_be_told_whole(self, path):
        dialect = DIALECTS[path]
        reader = dialect.stream(dialect.ask(body(path, stream=True)))
        reader.feed(streamed(path))
        assert dialect.outcome(reader.whole()) == dialect.outcome(whole(path))
        assert dialect.text(reader.whole()) == "".join(TEXTS)

    def test_unknown_fields_reach_the_provider_as_they_are(self, path):
        dialect = DIALECTS[path]
        odd = '{"b": [1.50, 1e400, "\\u00e9"],  "a": null}'
        sent = body(path)[:-1] + f', "x_odd": {odd}}}'.encode()
        assert odd.encode() in dialect.forward(dialect.ask(sent), "m")

    def test_a_provider_cannot_be_told_another_model_than_we_were(self, path):
        dialect = DIALECTS[path]
        sent = b'{"model": "dear", ' + body(path)[1:]
        ask = dialect.ask(sent)
        assert ask.model == "m"
        assert b"dear" not in dialect.forward(ask, "m")

    def test_another_model_can_be_asked_in_its_place(self, path):
        dialect = DIALECTS[path]
        assert json.loads(dialect.forward(dialect.ask(body(path)), "n"))["model"] == "n"

    @pytest.mark.parametrize("nonsense", [b"", b"{", b"[]", b'{"usage": 3}', b"\xff", b'{"choices": [{}]}'])
    def test_nonsense_is_an_answer_without_usage(self, path, nonsense):
        dialect = DIALECTS[path]
        assert dialect.outcome(nonsense).usage is None
        assert dialect.text(nonsense) == ""
        reader = dialect.stream(dialect.ask(body(path, stream=True)))
        reader.feed(b"data: " + nonsense + b"\n\n")
        assert reader.outcome().usage is None
        assert reader.text() == ""

    def test_errors_have_the_shape_that_its_clients_know(self, path):
        refusal = Refusal(429, "slow down", reason="limit", kind="rate_limit_error")
        for encoded in (DIALECTS[path].error(refusal), b""):
            if encoded:
                assert json.loads(encoded)["error"]["type"] == "rate_limit_error"
        assert b"slow down" in DIALECTS[path].error_event(refusal)


@given(data=st.binary(max_size=300))
@example(data=b'"usage"')
@example(data=b'["usage", "\xff"]')
def test_whatever_bytes_come_a_reader_does_not_fall_over(data):
    for path in STREAMED:
        dialect = DIALECTS[path]
        reader = dialect.stream(dialect.ask(body(path, stream=True)))
        reader.feed(b"data: " + data + b"\n\n")
        assert reader.outcome().usage is None
        reader.text()
        dialect.outcome(data)
        dialect.text(data)


class TestChat:
    def test_usage_is_always_asked_for_and_other_options_are_kept(self):
        for options, kept in ((None, {}), ({"include_obfuscation": False}, {"include_obfuscation": False})):
            ask = CHAT.ask(body(CHAT.path, stream=True, stream_options=options))
            sent = json.loads(CHAT.forward(ask, "m"))
            assert sent["stream_options"] == {**kept, "include_usage": True}

    def test_usage_is_not_asked_for_where_nothing_is_streamed(self):
        assert "stream_options" not in json.loads(CHAT.forward(CHAT.ask(body(CHAT.path)), "m"))

    def test_reasoning_tokens_are_part_of_the_output(self):
        usage = {
            "prompt_tokens": 5,
            "completion_tokens": 40,
            "completion_tokens_details": {"reasoning_tokens": 30},
        }
        found = CHAT.outcome(json.dumps({"choices": [{"finish_reason": "stop"}], "usage": usage}).encode())
        assert found.usage == Usage(input_tokens=5, output_tokens=40, reasoning_tokens=30)

    def test_of_a_stream_that_tells_its_usage_all_along_the_newest_counts(self):
        reader = CHAT.stream(CHAT.ask(body(CHAT.path, stream=True)))
        for total in (9, 40):
            usage = {
                "prompt_tokens": 5,
                "completion_tokens": total,
                "completion_tokens_details": {"reasoning_tokens": total - 1},
            }
            chunk = {"choices": [{"index": 0, "delta": {"content": "So"}}], "usage": usage}
            passed = reader.feed(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            assert b"usage" not in passed, "nobody asked for it"
            assert b"So" in passed
        found = reader.outcome()
        assert (found.usage, found.finish_reason) == (
            Usage(input_tokens=5, output_tokens=40, reasoning_tokens=39),
            "",
        )

    def test_usage_that_contradicts_itself_is_none(self):
        usage = {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}}
        assert CHAT.outcome(json.dumps({"usage": usage}).encode()).usage is None

    def test_tool_calls_in_parts_become_whole_ones(self):
        parts = [
            {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}},
            {"index": 0, "function": {"arguments": '{"a"'}},
            {"index": 1, "id": "call_2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            {"index": 0, "function": {"arguments": ":1}"}},
        ]
        reader = CHAT.stream(CHAT.ask(body(CHAT.path, stream=True)))
        for part in parts:
            chunk = {
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": {"tool_calls": [part]}}],
            }
            reader.feed(f"data: {json.dumps(chunk)}\n\n".encode())
        (choice,) = json.loads(reader.whole())["choices"]
        first, second = choice["message"]["tool_calls"]
        assert first == {
            "id": "call_1",
            "type": "function",
            "function": {"name": "f", "arguments": '{"a":1}'},
        }
        assert second["function"] == {"name": "g", "arguments": "{}"}

    def test_an_error_in_a_stream_is_its_end(self):
        reader = CHAT.stream(CHAT.ask(body(CHAT.path, stream=True)))
        reader.feed(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n')
        reader.feed(b'data: {"error": {"type": "server_error", "code": null}}\n\n')
        assert (reader.outcome().finish_reason, reader.outcome().error_type) == ("", "server_error")


class TestMessages:
    def test_what_the_cache_read_and_wrote_is_input_too(self):
        usage = {
            "input_tokens": 10,
            "output_tokens": 5,
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 30,
            "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
        }
        found = MESSAGES.outcome(json.dumps({"stop_reason": "end_turn", "usage": usage}).encode())
        assert found.usage == Usage(
            input_tokens=140,
            output_tokens=5,
            cache_read_tokens=100,
            cache_write_tokens=30,
            cache_write_1h_tokens=10,
        )

    def test_counts_at_the_end_of_a_stream_replace_those_at_its_beginning(self):
        reader = MESSAGES.stream(MESSAGES.ask(body(MESSAGES.path, stream=True)))
        told = [
            {"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 1}}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
        ]
        for one in told:
            reader.feed(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode())
        assert reader.outcome().usage == Usage(input_tokens=7, output_tokens=9)

    def test_of_a_stream_that_breaks_off_the_input_is_known(self):
        reader = MESSAGES.stream(MESSAGES.ask(body(MESSAGES.path, stream=True)))
        start = {"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 1}}}
        reader.feed(f"event: message_start\ndata: {json.dumps(start)}\n\n".encode())
        assert reader.outcome().usage == Usage(input_tokens=7, output_tokens=1)
        assert not reader.outcome().finish_reason

    def test_a_limit_is_required(self):
        with pytest.raises(Refusal, match="max_tokens"):
            MESSAGES.ask(b'{"model": "m", "messages": [{"role": "user", "content": "Why?"}]}')

    def test_tool_use_survives_a_replay(self):
        block = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1, None]}}
        thought = {"type": "thinking", "thinking": "Hm.", "signature": "sig"}
        message = {"type": "message", "content": [thought, block], "stop_reason": "tool_use", "usage": {}}
        ask = MESSAGES.ask(body(MESSAGES.path, stream=True))
        reader = MESSAGES.stream(ask)
        for part in MESSAGES.replay(json.dumps(message).encode(), ask):
            reader.feed(part)
        assert json.loads(reader.whole())["content"] == [thought, block]


class TestResponses:
    def test_an_answer_that_a_limit_cut_is_complete_all_the_same(self):
        response = {"status": "incomplete", "usage": {"input_tokens": 1, "output_tokens": 2}, "output": []}
        assert RESPONSES.outcome(json.dumps(response).encode()).finish_reason == "length"

    def test_background_is_refused_as_its_usage_comes_later(self):
        with pytest.raises(Refusal, match="background"):
            RESPONSES.ask(body(RESPONSES.path, background=True))


class TestTexts:
    @pytest.mark.parametrize(
        ("given", "tokens"), [("one two", 2), (["one", "two"], 2), ([1, 2, 3], 3), ([[1, 2], [3]], 3)]
    )
    def test_input_is_counted_as_text_or_as_tokens(self, given, tokens):
        for dialect, field in ((COMPLETIONS, "prompt"), (EMBEDDINGS, "input")):
            ask = dialect.ask(json.dumps({"model": "gpt-4", field: given}).encode())
            assert dialect.count_input(ask, "gpt-4") == tokens

    def test_a_completion_without_a_limit_has_openai_s(self):
        assert COMPLETIONS.ask(body(COMPLETIONS.path)).max_output_tokens == 16
        assert COMPLETIONS.ask(body(COMPLETIONS.path, max_tokens=5, n=3)).max_output_tokens == 15

    def test_an_embedding_has_no_output(self):
        reply = b'{"data": [], "usage": {"prompt_tokens": 7, "total_tokens": 7}}'
        assert EMBEDDINGS.outcome(reply).usage == Usage(input_tokens=7)
        assert EMBEDDINGS.ask(body(EMBEDDINGS.path)).max_output_tokens == 0


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: dialect.path)
def test_a_request_that_is_no_json_object_is_refused(dialect: Dialect) -> None:
    for nonsense in (b"", b"[]", b"{", b"\xff", b'{"model": 3}', b"[" * 100_000):
        with pytest.raises(Refusal):
            dialect.ask(nonsense)


ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
FIRST = b'data: {"choices":[{"index":0,"delta":{"content":"So"}}]}\n\n'


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (ROLE, False),
        (FIRST, True),
        (ROLE + FIRST, True),
        (FIRST.replace(b":", b": "), True),
        (FIRST.replace(b"content", b"reasoning_content"), True),
        (b'data: {"choices":[{"index":0,"delta":{"content": null}}]}\n\n', False),
        (b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}}]}\n\n', True),
        (b'data: {"choices":[{"index":0,"text":"So"}]}\n\n', True),
    ],
)
def test_the_first_text_of_a_chat_is_seen_however_its_pieces_arrive(data, told):
    path = "/v1/chat/completions"
    reader = DIALECTS[path].stream(DIALECTS[path].ask(body(path, stream=True)))
    assert reader.has_text(data) is told
