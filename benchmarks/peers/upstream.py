"""A provider that answers at once and costs next to nothing: what gateways are measured against.

It speaks OpenAI's chat completions and Anthropic's messages, whole and streamed, over connections that stay
open. `max_tokens` (or `max_completion_tokens`) says how many tokens an answer has. Of a stream, each is a
chunk of its own, a pause after the one before, since a provider's chunks never come all at once.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import cycle, islice
from typing import Any, cast

import uvloop
from httptools import HttpRequestParser

__all__ = ["INPUT_TOKENS", "PAUSE_S"]

INPUT_TOKENS = 190
"""What every answer says of its prompt."""
PAUSE_S = 0.002
_DEFAULT_TOKENS = 40
_WORDS = (" value", " cost", " team", " model", " month")  # some gateways end a stream that repeats itself
_MODEL = "gpt-4o-mini"
_CREATED = 1_700_000_000

_TOKENS = re.compile(rb'"max_(?:completion_)?tokens":\s*(\d+)')
_STREAM = re.compile(rb'"stream":\s*true')
_USAGE = re.compile(rb'"include_usage":\s*true')
_JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
_SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"


class _Connection(asyncio.Protocol):
    """One client; it sends its next request after the answer to the one before."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        self._parser = HttpRequestParser(self)
        self._url = b""
        self._body = b""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url = self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        tokens = _TOKENS.search(self._body)
        length = int(tokens[1]) if tokens else _DEFAULT_TOKENS
        anthropic = self._url.endswith(b"/messages")
        if not _STREAM.search(self._body):
            self._transport.write(whole_message(length) if anthropic else whole_chat(length))
        elif anthropic:
            self._stream(iter(streamed_message(length)))
        else:
            self._stream(iter(streamed_chat(length, usage=bool(_USAGE.search(self._body)))))

    def _stream(self, pieces: Iterator[bytes]) -> None:
        piece = next(pieces, None)
        if piece is not None and not self._transport.is_closing():
            self._transport.write(piece)
            self._loop.call_later(PAUSE_S, self._stream, pieces)


@lru_cache
def whole_chat(length: int) -> bytes:
    """Return a chat completion of `length` tokens, with its HTTP head."""
    message = {"role": "assistant", "content": _text(length), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return _json({**_chat("chat.completion"), "choices": [choice], "usage": _chat_usage(length)})


@lru_cache
def streamed_chat(length: int, *, usage: bool) -> Sequence[bytes]:
    """Return the pieces of a streamed chat completion: a chunk for each token, the ends with them."""
    head = _chat("chat.completion.chunk")
    tail = {"usage": None} if usage else {}

    def chunk(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _data({**head, "choices": [choice], **tail})

    first = chunk({"role": "assistant", "content": ""})
    last = chunk({}, "stop")
    if usage:
        last += _data({**head, "choices": [], "usage": _chat_usage(length)})
    return _pieces(first, [chunk({"content": word}) for word in _words(length)], last + b"data: [DONE]\n\n")


@lru_cache
def whole_message(length: int) -> bytes:
    """Return a message of `length` tokens, with its HTTP head."""
    content = [{"type": "text", "text": _text(length)}]
    return _json(_message(content, "end_turn", length))


@lru_cache
def streamed_message(length: int) -> Sequence[bytes]:
    """Return the pieces of a streamed message: a delta for each token, the ends with them."""
    first = _event({"type": "message_start", "message": _message([], None, 1)})
    first += _event(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    )

    def delta(text: str) -> bytes:
        content = {"type": "text_delta", "text": text}
        return _event({"type": "content_block_delta", "index": 0, "delta": content})

    end = {"stop_reason": "end_turn", "stop_sequence": None}
    last = _event({"type": "content_block_stop", "index": 0})
    last += _event({"type": "message_delta", "delta": end, "usage": {"output_tokens": length}})
    return _pieces(first, [delta(word) for word in _words(length)], last + _event({"type": "message_stop"}))


def _words(length: int) -> Iterator[str]:
    return islice(cycle(_WORDS), length)


def _text(length: int) -> str:
    return "".join(_words(length))


def _chat(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-benchmark", "object": kind, "created": _CREATED, "model": _MODEL}


def _chat_usage(length: int) -> dict[str, Any]:
    return {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": length,
        "total_tokens": INPUT_TOKENS + length,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _message(content: list[dict[str, str]], stop_reason: str | None, output_tokens: int) -> dict[str, Any]:
    return {
        "id": "msg_benchmark",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": output_tokens},
    }


def _json(content: Any) -> bytes:
    body = _encoded(content)
    return _JSON_HEAD % (len(body), body)


def _data(content: Any) -> bytes:
    return b"data: %b\n\n" % _encoded(content)


def _event(content: dict[str, Any]) -> bytes:
    return b"event: %b\n%b" % (content["type"].encode(), _data(content))


def _encoded(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _pieces(first: bytes, middle: list[bytes], last: bytes) -> Sequence[bytes]:
    return [_SSE_HEAD + _chunked(first), *map(_chunked, middle), _chunked(last) + _END]


def _chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


async def _main() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    host, port = server.sockets[0].getsockname()
    print(f"upstream ready on http://{host}:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main())
