"""OpenAI's chat format on the wire: requests in, completions and chunks out. Only what is used is decoded."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from gateway.provider import ChatCall, FinishReason
from gateway.refusal import Refusal
from spendstream.events import TokenUsage
from spendstream.tokens import ChatMessage

__all__ = ["DONE", "ChatRequest", "ReplyWriter", "decode_request", "sse"]

DONE = b"data: [DONE]\n\n"

_PLACE = re.compile(r"at `\$\.?([^`]*)`")
_MISSING = re.compile(r"missing required field `([^`]*)`")


class StreamOptions(Struct, frozen=True):
    """What a streamed answer also has."""

    include_usage: bool | None = None


class ChatRequest(Struct, frozen=True, kw_only=True):
    """The fields of a chat request that the gateway reads; all others go to the provider unread."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None

    @property
    def include_usage(self) -> bool:
        """Whether a streamed answer ends with its usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def call(self, body: bytes) -> ChatCall:
        """Return what the provider is asked."""
        return ChatCall(
            model=self.model,
            messages=self.messages,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            temperature=self.temperature,
            stream=bool(self.stream),
            body=body,
        )


_decoder = msgspec.json.Decoder(ChatRequest)
_encoder = msgspec.json.Encoder()


def decode_request(body: bytes) -> ChatRequest:
    """Return the request in a body; raise Refusal with the field at fault."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Refusal(400, str(error), reason="invalid", param=_field(str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"the body is not valid JSON: {error}"
        raise Refusal(400, message, reason="invalid", code="invalid_json") from error


def sse(content: Any) -> bytes:
    """Return one server-sent event."""
    return b"data: " + _encoder.encode(content) + b"\n\n"


class ReplyWriter:
    """Writes one reply, whole or in chunks. `created` is in seconds since 1970 UTC."""

    def __init__(self, *, reply_id: str, model: str, created: int, include_usage: bool = False) -> None:
        self._head = {"id": reply_id, "object": "chat.completion", "created": created, "model": model}
        self._chunk_head = {**self._head, "object": "chat.completion.chunk"}
        self._tail: dict[str, None] = {"usage": None} if include_usage else {}
        self._include_usage = include_usage

    def whole(self, text: str, finish_reason: FinishReason, event: TokenUsage) -> bytes:
        """Return a complete reply."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        return _encoder.encode({**self._head, "choices": [choice], "usage": _usage(event)})

    def first(self) -> bytes:
        """Return the chunk that opens a streamed reply."""
        return self._chunk({"role": "assistant", "content": ""})

    def more(self, text: str) -> bytes:
        """Return a chunk of text."""
        return self._chunk({"content": text})

    def last(self, finish_reason: FinishReason, event: TokenUsage) -> bytes:
        """Return the chunks that close a streamed reply."""
        end = self._chunk({}, finish_reason)
        if self._include_usage:
            end += sse({**self._chunk_head, "choices": [], "usage": _usage(event)})
        return end + DONE

    def _chunk(self, delta: dict[str, str], finish_reason: FinishReason | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return sse({**self._chunk_head, "choices": [choice], **self._tail})


def _usage(event: TokenUsage) -> dict[str, Any]:
    return {
        "prompt_tokens": event.input_tokens,
        "completion_tokens": event.output_tokens,
        "total_tokens": event.input_tokens + event.output_tokens,
        "prompt_tokens_details": {"cached_tokens": event.cache_read_tokens},
        "completion_tokens_details": {"reasoning_tokens": event.reasoning_tokens},
    }


def _field(message: str) -> str | None:
    """Return the path of the field that msgspec complains about."""
    place, missing = _PLACE.search(message), _MISSING.search(message)
    parts = [found[1] for found in (place, missing) if found and found[1]]
    return ".".join(parts) or None
