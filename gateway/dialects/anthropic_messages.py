"""Anthropic's messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from gateway.dialects.base import Ask, Outcome, decode, decode_fields, usage_of
from gateway.dialects.events import PassedOn, event
from gateway.refusal import Refusal
from gateway.usage import Usage
from spendstream.events import Operation
from spendstream.tokens import ChatMessage, ContentPart, count_chat

__all__ = ["AnthropicMessages"]


class _Metadata(Struct, frozen=True):
    user_id: Annotated[str, Meta(max_length=512)] | None = None


class _Request(Struct, frozen=True, kw_only=True):
    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    max_tokens: Annotated[int, Meta(ge=1)]
    system: str | list[ContentPart] | None = None
    stream: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    metadata: _Metadata | None = None


class _CacheCreation(Struct, frozen=True):
    ephemeral_1h_input_tokens: int | None = None


class _Usage(Struct, frozen=True):
    """Anthropic counts plain input apart from what its cache read and wrote; for us all of it is input."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None

    def over(self, earlier: _Usage) -> _Usage:
        """Return what is known of both; in a stream the later counts are the totals."""
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(earlier), strict=True)
        return _Usage(*(late if late is not None else early for late, early in pairs))

    def usage(self) -> Usage | None:
        """Return it in our terms, or None if it contradicts itself."""
        read, written = self.cache_read_input_tokens or 0, self.cache_creation_input_tokens or 0
        for_an_hour = self.cache_creation and self.cache_creation.ephemeral_1h_input_tokens
        return usage_of(
            input_tokens=(self.input_tokens or 0) + read + written,
            output_tokens=self.output_tokens or 0,
            cache_read_tokens=read,
            cache_write_tokens=written,
            cache_write_1h_tokens=for_an_hour or 0,
        )


class _Block(Struct, frozen=True):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    name: str | None = None
    input: msgspec.Raw | None = None

    def texts(self) -> Iterator[str]:
        yield from filter(None, (self.text, self.thinking, self.partial_json, self.name))
        if self.input is not None and self.input != b"{}":
            yield bytes(self.input).decode()


class _Message(Struct, frozen=True):
    content: list[_Block] | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None


class _Told(Struct, frozen=True):
    type: str | None = None


class _Delta(_Block, frozen=True):
    stop_reason: str | None = None


class _Event(Struct, frozen=True):
    type: str = ""
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: _Told | None = None


_requests = msgspec.json.Decoder(_Request)
_replies = msgspec.json.Decoder(_Message)
_events = msgspec.json.Decoder(_Event)
_anything = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
"""Anthropic's type of error, by status."""


class AnthropicMessages:
    """The dialect."""

    operation: Operation = "chat"
    path = "/v1/messages"
    end_mark = b"event: message_stop"

    def ask(self, body: bytes) -> Ask:
        """Read a request; raise Refusal with the field at fault."""
        request = decode(_requests, body)
        system = [ChatMessage("system", request.system)] if request.system else []
        return Ask(
            fields=decode_fields(body),
            model=request.model,
            messages=[*system, *request.messages],
            stream=bool(request.stream),
            max_output_tokens=request.max_tokens,
            user=(request.metadata and request.metadata.user_id) or "",
        )

    def count_input(self, ask: Ask, model: str) -> int:
        """Return the input tokens of a request: an estimate, as Anthropic's tokenizer is not public."""
        return count_chat(model, ask.messages)

    def forward(self, ask: Ask, model: str) -> bytes:
        """Return what a provider is asked."""
        return ask.body() if model == ask.model else ask.body(model=model)

    def stream(self, ask: Ask) -> _MessageStream:  # noqa: ARG002 - all streams end with their usage
        """Return a reader for the answer to a request that was streamed."""
        return _MessageStream()

    def outcome(self, body: bytes) -> Outcome:
        """Return what a whole answer came to."""
        try:
            reply = _replies.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Outcome()
        usage = None if reply.usage is None else reply.usage.usage()
        return Outcome(usage=usage, finish_reason=reply.stop_reason or "")

    def text(self, body: bytes) -> str:
        """Return the text of a whole answer, for counting."""
        try:
            reply = _replies.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""
        return "".join(text for block in reply.content or () for text in block.texts())

    def replay(self, body: bytes, ask: Ask) -> Iterator[bytes]:  # noqa: ARG002 - the same for all
        """Yield a whole answer as the events of a streamed one."""
        reply = _anything.decode(body)
        usage = reply.get("usage") or {}
        start = {**reply, "content": [], "stop_reason": None, "stop_sequence": None}
        yield _event("message_start", message={**start, "usage": {**usage, "output_tokens": 0}})
        for index, block in enumerate(reply["content"]):
            opened, deltas = _in_parts(block)
            yield _event("content_block_start", index=index, content_block=opened)
            for delta in deltas:
                yield _event("content_block_delta", index=index, delta=delta)
            yield _event("content_block_stop", index=index)
        end = {"stop_reason": reply.get("stop_reason"), "stop_sequence": reply.get("stop_sequence")}
        yield _event("message_delta", delta=end, usage={"output_tokens": usage.get("output_tokens", 0)})
        yield _event("message_stop")

    def error(self, refusal: Refusal) -> bytes:
        """Return an error as the body of an answer."""
        return refusal.verbatim or _encode(_error(refusal))

    def error_event(self, refusal: Refusal) -> bytes:
        """Return an error that ends a stream."""
        return event(_error(refusal), "error")


class _MessageStream(PassedOn):
    """Follows a streamed answer, which goes to the client as it comes."""

    def __init__(self) -> None:
        super().__init__(_texts)

    def has_text(self, data: bytes) -> bool:
        """Tell whether there is any text in what the provider sent."""
        return b"content_block_delta" in data

    def outcome(self) -> Outcome:
        """Return what it has come to until now."""
        usage, reason, error = _Usage(), "", ""
        for payload in self.log.payloads():
            if b"message_" not in payload and b'"error"' not in payload:
                continue
            told = _decoded(payload)
            if told.message is not None and told.message.usage is not None:
                usage = told.message.usage.over(usage)
            if told.usage is not None:
                usage = told.usage.over(usage)
            reason = (told.delta and told.delta.stop_reason) or reason
            error = (told.error and told.error.type) or error
        known = None if usage == _Usage() else usage.usage()
        return Outcome(usage=known, finish_reason="" if error else reason, error_type=error)

    def whole(self) -> bytes:
        """Return the finished answer as if it had not been streamed."""
        message: dict[str, Any] = {}
        for payload in self.log.payloads():
            _grow(message, _anything.decode(payload))
        for block in message["content"]:
            if "input_json" in block:
                block["input"] = _anything.decode(block.pop("input_json") or "{}")
        return _encode(message)


def _texts(payloads: list[bytes]) -> str:
    told = map(_decoded, payloads)
    blocks = (block for one in told for block in (one.content_block, one.delta) if block is not None)
    return "".join(text for block in blocks for text in block.texts())


def _event(name: str, **content: Any) -> bytes:
    return event({"type": name, **content}, name)


def _error(refusal: Refusal) -> dict[str, Any]:
    kind = _KINDS.get(refusal.status, "invalid_request_error" if refusal.status < 500 else "api_error")  # noqa: PLR2004
    return {"type": "error", "error": {"type": kind, "message": str(refusal)}}


def _decoded(payload: bytes) -> _Event:
    try:
        return _events.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Event()


def _in_parts(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a block as it is opened, and what is then added to it."""
    kind = block.get("type")
    if kind == "text":
        return {**block, "text": ""}, [{"type": "text_delta", "text": block["text"]}]
    if kind == "tool_use":
        given = _encode(block["input"]).decode()
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": given}]
    if kind == "thinking":
        signed = {"type": "signature_delta", "signature": block.get("signature", "")}
        thought = {"type": "thinking_delta", "thinking": block["thinking"]}
        return {**block, "thinking": "", "signature": ""}, [thought, signed]
    return block, []


def _grow(message: dict[str, Any], told: dict[str, Any]) -> None:
    """Add one event of a stream to the message that it makes up."""
    match told.get("type"):
        case "message_start":
            message.update(told["message"], content=[])
        case "content_block_start":
            message["content"].append(dict(told["content_block"]))
        case "content_block_delta":
            _grow_block(message["content"][told["index"]], told["delta"])
        case "message_delta":
            message.update(told["delta"])
            message["usage"] = {**message.get("usage", {}), **told.get("usage", {})}


def _grow_block(block: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "partial_json":
            block["input_json"] = block.get("input_json", "") + value
        elif name != "type" and isinstance(value, str):
            block[name] = block.get(name, "") + value
