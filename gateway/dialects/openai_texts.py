"""OpenAI's APIs whose input is plain text: completions, and embeddings, which have no output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from gateway.dialects.base import Ask, Outcome, StreamReader, decode, decode_fields
from gateway.dialects.events import DONE, event
from gateway.dialects.openai_chat import OpenAIChat, OpenAIUsage, StreamOptions
from gateway.refusal import Refusal
from spendstream.events import Operation
from spendstream.tokens import ChatMessage, count_text

__all__ = ["OpenAICompletions", "OpenAIEmbeddings"]

_DEFAULT_MAX_TOKENS = 16

Model = Annotated[str, Meta(min_length=1)]
Texts = str | list[str | int | list[int]]
"""A text, several, or tokens of one or of several."""


class _Completion(Struct, frozen=True, kw_only=True):
    model: Model
    prompt: Texts = "<|endoftext|>"
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    best_of: Annotated[int, Meta(ge=1, le=128)] | None = None
    max_tokens: Annotated[int, Meta(ge=0)] | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None


class _Embedding(Struct, frozen=True, kw_only=True):
    model: Model
    input: Texts
    user: Annotated[str, Meta(max_length=512)] | None = None


class _EmbeddingReply(Struct, frozen=True):
    usage: OpenAIUsage | None = None


_completions = msgspec.json.Decoder(_Completion)
_embeddings = msgspec.json.Decoder(_Embedding)
_replies = msgspec.json.Decoder(_EmbeddingReply)
_anything = msgspec.json.Decoder()


class OpenAICompletions(OpenAIChat):
    """Completions: chat without messages."""

    operation: Operation = "text_completion"
    path = "/v1/completions"

    def ask(self, body: bytes) -> Ask:
        """Read a request; raise Refusal with the field at fault."""
        request = decode(_completions, body)
        options = request.stream_options
        messages, tokens = _read(request.prompt)
        answers = max(request.n or 1, request.best_of or 1) * max(len(messages), 1)
        limit = _DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens
        return Ask(
            fields=decode_fields(body),
            model=request.model,
            messages=messages,
            tokens=tokens,
            stream=bool(request.stream),
            wants_usage=bool(options and options.include_usage),
            max_output_tokens=limit * answers,
            user=request.user or "",
        )

    def count_input(self, ask: Ask, model: str) -> int:
        """Return the input tokens of a request."""
        return _count(ask, model)

    def replay(self, body: bytes, ask: Ask) -> Iterator[bytes]:
        """Yield a whole answer as the events of a streamed one."""
        reply = _anything.decode(body)
        head = {name: value for name, value in reply.items() if name != "usage"}
        tail = {"usage": None} if ask.wants_usage else {}
        yield event({**head, **tail})
        if ask.wants_usage:
            yield event({**head, "choices": [], "usage": reply.get("usage")})
        yield DONE


class OpenAIEmbeddings:
    """Embeddings: never streamed, and all of their tokens are input."""

    operation: Operation = "embeddings"
    path = "/v1/embeddings"
    end_mark = DONE

    def ask(self, body: bytes) -> Ask:
        """Read a request; raise Refusal with the field at fault."""
        request = decode(_embeddings, body)
        messages, tokens = _read(request.input)
        return Ask(
            fields=decode_fields(body),
            model=request.model,
            messages=messages,
            tokens=tokens,
            max_output_tokens=0,
            user=request.user or "",
        )

    def count_input(self, ask: Ask, model: str) -> int:
        """Return the input tokens of a request."""
        return _count(ask, model)

    def forward(self, ask: Ask, model: str) -> bytes:
        """Return what a provider is asked."""
        return ask.body() if model == ask.model else ask.body(model=model)

    def stream(self, ask: Ask) -> StreamReader:  # noqa: ARG002 - see below
        """Raise RuntimeError: no request asks for it."""
        raise RuntimeError("embeddings are not streamed")

    def outcome(self, body: bytes) -> Outcome:
        """Return what a whole answer came to."""
        try:
            usage = _replies.decode(body).usage
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Outcome()
        return Outcome(usage=None if usage is None else usage.usage(), finish_reason="stop")

    def text(self, body: bytes) -> str:  # noqa: ARG002 - vectors are no text
        """Return nothing: an embedding has no output tokens."""
        return ""

    def replay(self, body: bytes, ask: Ask) -> Iterator[bytes]:  # noqa: ARG002 - see below
        """Raise RuntimeError: no request asks for it."""
        raise RuntimeError("embeddings are not streamed")

    def error(self, refusal: Refusal) -> bytes:
        """Return an error as the body of an answer."""
        return refusal.encoded

    def error_event(self, refusal: Refusal) -> bytes:
        """Return an error that ends a stream."""
        return event(refusal.body)


def _read(texts: Texts) -> tuple[list[ChatMessage], int]:
    """Return the texts as messages, and the number of tokens of what comes as tokens."""
    if isinstance(texts, str):
        return [ChatMessage("user", texts)], 0
    tokens = sum(1 if isinstance(one, int) else len(one) for one in texts if not isinstance(one, str))
    return [ChatMessage("user", one) for one in texts if isinstance(one, str)], tokens


def _count(ask: Ask, model: str) -> int:
    texts: list[Any] = [message.content for message in ask.messages]
    return ask.tokens + sum(count_text(model, text) for text in texts)
