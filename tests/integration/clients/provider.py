"""A provider for the clients' tests: it speaks OpenAI's and Anthropic's APIs and remembers what it was asked.

It answers every question with ANSWER, until there are tools: then it asks for the first of them, and answers
once it has the tool's result. Streams come in several pieces, as the APIs' documentation shows them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple, Self

ANSWER = "It costs two dollars."
ARGUMENTS = '{"city": "Paris"}'
CALL_ID = "call_1"
INPUT_TOKENS, OUTPUT_TOKENS, CACHED_TOKENS, REASONING_TOKENS = 21, 7, 4, 2
VECTOR = [0.25, -0.5, 1.0]
_PIECES = ("It costs", " two", " dollars.")
_CREATED = 1_700_000_000

Json = dict[str, Any]


class Asked(NamedTuple):
    """A request that came: its path, its headers by their names in lower case, and its body."""

    path: str
    headers: dict[str, str]
    body: Json


class Provider:
    """Serves on a free port of loopback from a thread; `asked` has all requests."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.path, headers, json.loads(raw))
                provider.asked.append(asked)
                self._answer(asked)

            def _answer(self, asked: Asked) -> None:
                name = asked.path.rpartition("/v1/")[2]
                if asked.body.get("stream"):
                    self._send("text/event-stream", b"".join(_encoded(name, STREAMS[name](asked.body))))
                else:
                    self._send("application/json", json.dumps(REPLIES[name](asked.body)).encode())

            def _send(self, kind: str, body: bytes) -> None:
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing of each request."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def about(self, prompt: str) -> list[Asked]:
        """Return the requests with these words in them."""
        return [asked for asked in self.asked if prompt in json.dumps(asked.body)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _chat(body: Json) -> Json:
    tool = _tool(body)
    message: Json = {"role": "assistant", "content": None if tool else ANSWER, "refusal": None}
    if tool:
        message["tool_calls"] = [_call(tool, ARGUMENTS)]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(tool)}
    return {**_head(body, "chat.completion"), "choices": [choice], "usage": _chat_usage()}


def _chat_stream(body: Json) -> Iterator[Json]:
    tool = _tool(body)
    head = _head(body, "chat.completion.chunk")
    counted = (body.get("stream_options") or {}).get("include_usage")
    tail: Json = {"usage": None} if counted else {}

    def chunk(delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**head, "choices": [choice], **tail}

    yield chunk({"role": "assistant", "content": None if tool else ""})
    if tool:
        yield chunk({"tool_calls": [{"index": 0, **_call(tool, "")}]})
        for part in (ARGUMENTS[:6], ARGUMENTS[6:]):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
    else:
        for piece in _PIECES:
            yield chunk({"content": piece})
    yield chunk({}, _finish(tool))
    if counted:
        yield {**head, "choices": [], "usage": _chat_usage()}


def _completion(body: Json) -> Json:
    choice = {"index": 0, "text": ANSWER, "logprobs": None, "finish_reason": "stop"}
    usage = {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": OUTPUT_TOKENS,
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    }
    return {**_head(body, "text_completion"), "id": "cmpl-1", "choices": [choice], "usage": usage}


def _completion_stream(body: Json) -> Iterator[Json]:
    head = {**_head(body, "text_completion"), "id": "cmpl-1"}
    for number, piece in enumerate(_PIECES, 1):
        finish = "stop" if number == len(_PIECES) else None
        choice = {"index": 0, "text": piece, "logprobs": None, "finish_reason": finish}
        yield {**head, "choices": [choice]}


def _embeddings(body: Json) -> Json:
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    return {
        "object": "list",
        "model": body["model"],
        "data": [
            {"object": "embedding", "index": index, "embedding": VECTOR} for index, _ in enumerate(texts)
        ],
        "usage": {"prompt_tokens": INPUT_TOKENS, "total_tokens": INPUT_TOKENS},
    }


def _response(body: Json) -> Json:
    tool = _tool(body)
    return _response_with(body, [_call_item(tool) if tool else _message_item(ANSWER)], "completed")


def _response_stream(body: Json) -> Iterator[Json]:
    numbered = enumerate(_response_events(body))
    return ({**event, "sequence_number": number} for number, event in numbered)


def _response_events(body: Json) -> Iterator[Json]:
    tool = _tool(body)
    started = _response_with(body, [], "in_progress")
    yield {"type": "response.created", "response": started}
    yield {"type": "response.in_progress", "response": started}
    item = _call_item(tool) if tool else _message_item(ANSWER)
    place = {"output_index": 0, "item_id": item["id"]}
    begun = {**item, "status": "in_progress", **({"arguments": ""} if tool else {"content": []})}
    yield {"type": "response.output_item.added", "output_index": 0, "item": begun}
    if tool:
        kind = "response.function_call_arguments"
        for part in (ARGUMENTS[:6], ARGUMENTS[6:]):
            yield {"type": f"{kind}.delta", **place, "delta": part}
        yield {"type": f"{kind}.done", **place, "name": tool, "arguments": ARGUMENTS}
    else:
        place["content_index"] = 0
        yield {"type": "response.content_part.added", **place, "part": _part("")}
        for piece in _PIECES:
            yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
        yield {"type": "response.output_text.done", **place, "text": ANSWER, "logprobs": []}
        yield {"type": "response.content_part.done", **place, "part": _part(ANSWER)}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": "response.completed", "response": _response_with(body, [item], "completed")}


def _message(body: Json) -> Json:
    tool = _tool(body)
    content: Json = {"type": "text", "text": ANSWER}
    if tool:
        content = {"type": "tool_use", "id": CALL_ID, "name": tool, "input": json.loads(ARGUMENTS)}
    return _message_with(body, [content], "tool_use" if tool else "end_turn", OUTPUT_TOKENS)


def _message_stream(body: Json) -> Iterator[Json]:
    tool = _tool(body)
    yield {"type": "message_start", "message": _message_with(body, [], None, 1)}
    block: Json = {"type": "text", "text": ""}
    deltas: list[Json] = [{"type": "text_delta", "text": piece} for piece in _PIECES]
    if tool:
        block = {"type": "tool_use", "id": CALL_ID, "name": tool, "input": {}}
        deltas = [
            {"type": "input_json_delta", "partial_json": part} for part in (ARGUMENTS[:6], ARGUMENTS[6:])
        ]
    yield {"type": "content_block_start", "index": 0, "content_block": block}
    yield {"type": "ping"}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    end = {"stop_reason": "tool_use" if tool else "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": OUTPUT_TOKENS}}
    yield {"type": "message_stop"}


REPLIES = {
    "chat/completions": _chat,
    "completions": _completion,
    "embeddings": _embeddings,
    "responses": _response,
    "messages": _message,
}
STREAMS = {
    "chat/completions": _chat_stream,
    "completions": _completion_stream,
    "responses": _response_stream,
    "messages": _message_stream,
}


def _encoded(name: str, events: Iterator[Json]) -> Iterator[bytes]:
    """Yield server-sent events: with their types, or with an end, as the API has them."""
    named = name in ("responses", "messages")
    for event in events:
        if named:
            yield f"event: {event['type']}\n".encode()
        yield b"data: " + json.dumps(event).encode() + b"\n\n"
    if not named:
        yield b"data: [DONE]\n\n"


def _tool(body: Json) -> str | None:
    """Return the tool to ask for: the first, unless its result is there already."""
    if not body.get("tools") or '"tool_result"' in json.dumps(body):
        return None
    turns = body.get("messages") or body["input"]
    last = turns[-1] if isinstance(turns, list) else {}
    if last.get("role") == "tool" or last.get("type") == "function_call_output":
        return None
    first = body["tools"][0]
    return str(first.get("function", first)["name"])


def _head(body: Json, kind: str) -> Json:
    return {"id": "chatcmpl-1", "object": kind, "created": _CREATED, "model": body["model"]}


def _finish(tool: str | None) -> str:
    return "tool_calls" if tool else "stop"


def _call(name: str, arguments: str) -> Json:
    return {"id": CALL_ID, "type": "function", "function": {"name": name, "arguments": arguments}}


def _chat_usage() -> Json:
    return {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": OUTPUT_TOKENS,
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
        "completion_tokens_details": {"reasoning_tokens": REASONING_TOKENS},
    }


def _response_with(body: Json, output: list[Json], status: str) -> Json:
    usage = {
        "input_tokens": INPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": CACHED_TOKENS},
        "output_tokens": OUTPUT_TOKENS,
        "output_tokens_details": {"reasoning_tokens": REASONING_TOKENS},
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": _CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "metadata": {},
        "model": body["model"],
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage if status == "completed" else None,
    }


def _message_item(text: str) -> Json:
    return {
        "type": "message",
        "id": "msg_1",
        "status": "completed",
        "role": "assistant",
        "content": [_part(text)],
    }


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call_item(name: str) -> Json:
    return {
        "type": "function_call",
        "id": "fc_1",
        "call_id": CALL_ID,
        "name": name,
        "arguments": ARGUMENTS,
        "status": "completed",
    }


def _message_with(body: Json, content: list[Json], stop_reason: str | None, output_tokens: int) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": INPUT_TOKENS - CACHED_TOKENS,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": CACHED_TOKENS,
            "output_tokens": output_tokens,
        },
    }
