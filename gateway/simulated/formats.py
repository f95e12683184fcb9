"""How a provider writes its answers: one format for each API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from gateway.dialects.events import DONE, event
from gateway.simulated.models import Failure, Piece
from gateway.usage import Usage

__all__ = ["FORMATS", "ChatFormat", "Format"]

_encode = msgspec.json.Encoder().encode


class Format(Protocol):
    """Writes one answer; `created` is in seconds since 1970 UTC."""

    def whole(self, text: str, last: Piece) -> bytes:
        """Return a complete reply."""

    def first(self) -> bytes:
        """Return what opens a stream."""

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

    def first(self) -> bytes:
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


FORMATS: Mapping[str, Callable[..., Format]] = {"/v1/chat/completions": ChatFormat}
"""By the path of the API."""


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
