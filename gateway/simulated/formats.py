"""How a provider writes its answers: one format for each API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Protocol

import msgspec

from gateway.dialects.events import DONE, event
from gateway.simulated.models import Failure, Piece
from gateway.usage import Usage

__all__ = ["FORMATS", "Format", "embeddings"]

_encode = msgspec.json.Encoder().encode


class Format(Protocol):
    """Writes one answer; `created` is in seconds since 1970 UTC."""

    def whole(self, text: str, last: Piece) -> bytes:
        """Return a complete reply."""

    def first(self, usage: Usage) -> bytes:
        """Return what opens a stream; `usage` is what is known of it by then."""

    def more(self, text: str) -> bytes:
        """Return a part of a stream."""

    def last(self, last: Piece) -> bytes:
        """Return what closes a stream."""

    def error(self, failure: Failure) -> bytes:
        """Return an error as a body."""

    def error_event(self, failure: Failure) -> bytes:
        """Return an error that ends a stream."""


class ChatFormat:
    """OpenAI's chat completions."""

    def __init__(self, number: str, model: str, created: int, *, include_usage: bool) -> None:
        self._head = {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion",
            "created": created,
            "model": model,
        }
        self._chunk_head = {**self._head, "object": "chat.completion.chunk"}
        self._include_usage = include_usage
        self._tail: dict[str, None] = {"usage": None} if include_usage else {}

    def whole(self, text: str, last: Piece) -> bytes:
        """Return a complete reply."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": None,
            "finish_reason": last.finish_reason,
        }
        return _encode({**self._head, "choices": [choice], **_openai_usage(last.usage)})

    def first(self, usage: Usage) -> bytes:  # noqa: ARG002 - its end says it
        """Return what opens a stream."""
        return self._chunk({"role": "assistant", "content": ""})

    def more(self, text: str) -> bytes:
        """Return a part of a stream."""
        return self._chunk({"content": text})

    def last(self, last: Piece) -> bytes:
        """Return what closes a stream."""
        end = self._chunk({}, last.finish_reason)
        if self._include_usage and last.usage is not None:
            end += event({**self._chunk_head, "choices": [], **_openai_usage(last.usage)})
        return end + DONE

    def error(self, failure: Failure) -> bytes:
        """Return an error as a body."""
        return _encode(_openai_error(failure))

    def error_event(self, failure: Failure) -> bytes:
        """Return an error that ends a stream."""
        return event(_openai_error(failure))

    def _chunk(self, delta: Mapping[str, str], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return event({**self._chunk_head, "choices": [choice], **self._tail})


class CompletionFormat(ChatFormat):
    """OpenAI's completions."""

    def __init__(self, number: str, model: str, created: int, *, include_usage: bool) -> None:
        super().__init__(number, model, created, include_usage=include_usage)
        self._head = {**self._head, "id": f"cmpl-{number}", "object": "text_completion"}
        self._chunk_head = self._head

    def whole(self, text: str, last: Piece) -> bytes:
        """Return a complete reply."""
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": last.finish_reason}
        return _encode({**self._head, "choices": [choice], **_openai_usage(last.usage)})

    def first(self, usage: Usage) -> bytes:  # noqa: ARG002 - its end says it
        """Return nothing: a completion has no role to open with."""
        return b""

    def _chunk(self, delta: Mapping[str, str], finish_reason: str | None = None) -> bytes:
        text = delta.get("content", "")
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}
        return event({**self._head, "choices": [choice], **self._tail})


class ResponseFormat:
    """OpenAI's responses."""

    def __init__(self, number: str, model: str, created: int, *, include_usage: bool) -> None:
        del include_usage  # it always has it
        self._head = {
            "id": f"resp_{number}",
            "object": "response",
            "created_at": created,
            "model": model,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
        }
        self._place = {"item_id": f"msg_{number}", "output_index": 0, "content_index": 0}
        self._numbers = count()
        self._texts: list[str] = []

    def whole(self, text: str, last: Piece) -> bytes:
        """Return a complete reply."""
        return _encode(self._response(text, last))

    def first(self, usage: Usage) -> bytes:  # noqa: ARG002 - its end says it
        """Return what opens a stream."""
        begun = {**self._head, "status": "in_progress", "output": [], "usage": None}
        item = {**self._item(""), "status": "in_progress", "content": []}
        part = {"type": "output_text", "text": "", "annotations": []}
        return (
            self._event("response.created", response=begun)
            + self._event("response.output_item.added", output_index=0, item=item)
            + self._event("response.content_part.added", **self._place, part=part)
        )

    def more(self, text: str) -> bytes:
        """Return a part of a stream."""
        self._texts.append(text)
        return self._event("response.output_text.delta", **self._place, delta=text, logprobs=[])

    def last(self, last: Piece) -> bytes:
        """Return what closes a stream."""
        text = "".join(self._texts)
        response = self._response(text, last)
        part = {"type": "output_text", "text": text, "annotations": []}
        return (
            self._event("response.output_text.done", **self._place, text=text, logprobs=[])
            + self._event("response.content_part.done", **self._place, part=part)
            + self._event("response.output_item.done", output_index=0, item=self._item(text))
            + self._event(f"response.{response['status']}", response=response)
        )

    def error(self, failure: Failure) -> bytes:
        """Return an error as a body."""
        return _encode(_openai_error(failure))

    def error_event(self, failure: Failure) -> bytes:
        """Return an error that ends a stream."""
        return self._event("error", code=failure.code, message=str(failure), param=None)

    def _event(self, name: str, **content: Any) -> bytes:
        return event({"type": name, "sequence_number": next(self._numbers), **content}, name)

    def _item(self, text: str) -> dict[str, Any]:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        item_id = self._place["item_id"]
        return {
            "id": item_id,
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": content,
        }

    def _response(self, text: str, last: Piece) -> dict[str, Any]:
        cut = last.finish_reason == "length"
        found = {**self._head, "status": "incomplete" if cut else "completed", "output": [self._item(text)]}
        if cut:
            found["incomplete_details"] = {"reason": "max_output_tokens"}
        if last.usage is not None:
            found["usage"] = {
                "input_tokens": last.usage.input_tokens,
                "input_tokens_details": {"cached_tokens": last.usage.cache_read_tokens},
                "output_tokens": last.usage.output_tokens,
                "output_tokens_details": {"reasoning_tokens": last.usage.reasoning_tokens},
                "total_tokens": last.usage.input_tokens + last.usage.output_tokens,
            }
        return found


class MessageFormat:
    """Anthropic's messages."""

    def __init__(self, number: str, model: str, created: int, *, include_usage: bool) -> None:
        del created, include_usage  # it has no time, and always its usage
        self._head = {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "stop_sequence": None,
        }

    def whole(self, text: str, last: Piece) -> bytes:
        """Return a complete reply."""
        content = [{"type": "text", "text": text}]
        ended = {"stop_reason": _stop_reason(last), "usage": _message_usage(last.usage)}
        return _encode({**self._head, "content": content, **ended})

    def first(self, usage: Usage) -> bytes:
        """Return what opens a stream: it says already what the input has used."""
        told = {**_message_usage(usage), "output_tokens": 0}
        message: dict[str, Any] = {**self._head, "content": [], "stop_reason": None, "usage": told}
        block = {"type": "text", "text": ""}
        return self._event("message_start", message=message) + self._event(
            "content_block_start", index=0, content_block=block
        )

    def more(self, text: str) -> bytes:
        """Return a part of a stream."""
        return self._event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def last(self, last: Piece) -> bytes:
        """Return what closes a stream."""
        delta = {"stop_reason": _stop_reason(last), "stop_sequence": None}
        return (
            self._event("content_block_stop", index=0)
            + self._event("message_delta", delta=delta, usage=_message_usage(last.usage))
            + self._event("message_stop")
        )

    def error(self, failure: Failure) -> bytes:
        """Return an error as a body."""
        return _encode({"type": "error", "error": {"type": failure.code, "message": str(failure)}})

    def error_event(self, failure: Failure) -> bytes:
        """Return an error that ends a stream."""
        return self._event("error", error={"type": failure.code, "message": str(failure)})

    def _event(self, name: str, **content: Any) -> bytes:
        return event({"type": name, **content}, name)


FORMATS: Mapping[str, Callable[..., Format]] = {
    "/v1/chat/completions": ChatFormat,
    "/v1/completions": CompletionFormat,
    "/v1/responses": ResponseFormat,
    "/v1/messages": MessageFormat,
}
"""By the path of the API."""


def embeddings(model: str, inputs: int, tokens: int) -> bytes:
    """Return a reply of OpenAI's embeddings, whose vectors say nothing."""
    vectors = [{"object": "embedding", "index": index, "embedding": [0.6, 0.8]} for index in range(inputs)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _encode({"object": "list", "data": vectors, "model": model, "usage": usage})


def _stop_reason(last: Piece) -> str:
    return "max_tokens" if last.finish_reason == "length" else "end_turn"


def _message_usage(usage: Usage | None) -> dict[str, Any]:
    known = usage or Usage()
    an_hour = known.cache_write_1h_tokens
    kept_for = {
        "ephemeral_5m_input_tokens": known.cache_write_tokens - an_hour,
        "ephemeral_1h_input_tokens": an_hour,
    }
    return {
        "input_tokens": known.input_tokens - known.cache_read_tokens - known.cache_write_tokens,
        "cache_read_input_tokens": known.cache_read_tokens,
        "cache_creation_input_tokens": known.cache_write_tokens,
        "cache_creation": kept_for,
        "output_tokens": known.output_tokens,
    }


def _openai_usage(usage: Usage | None) -> dict[str, Any]:
    if usage is None:
        return {}
    return {
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        }
    }


def _openai_error(failure: Failure) -> dict[str, Any]:
    kind = "rate_limit_error" if failure.status == 429 else "server_error"  # noqa: PLR2004 - too many requests
    return {"error": {"message": str(failure), "type": kind, "param": None, "code": failure.code}}
