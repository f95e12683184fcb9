"""OpenAI's chat completions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from gateway.dialects.base import Ask, Outcome, decode, decode_fields, usage_of
from gateway.dialects.events import DONE, DONE_PAYLOAD, EventLog, event
from gateway.refusal import Refusal
from gateway.usage import Usage
from spendstream.events import Operation
from spendstream.tokens import ChatMessage, count_chat

__all__ = ["OpenAIChat", "OpenAIUsage", "StreamOptions"]


class StreamOptions(Struct, frozen=True):
    """What a streamed answer also has."""

    include_usage: bool | None = None


class _Request(Struct, frozen=True, kw_only=True):
    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None


class _InputDetails(Struct, frozen=True):
    """OpenAI has the first; the others are Anthropic's, where a chat was asked of it."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None


class _OutputDetails(Struct, frozen=True):
    reasoning_tokens: int | None = None


class OpenAIUsage(Struct, frozen=True):
    """Usage as chat, completions and embeddings report it."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None

    def usage(self) -> Usage | None:
        """Return it in our terms, or None if it contradicts itself."""
        read, reasoned = self.prompt_tokens_details, self.completion_tokens_details
        return usage_of(
            input_tokens=self.prompt_tokens,
            output_tokens=self.completion_tokens,
            cache_read_tokens=(read and read.cached_tokens) or 0,
            cache_write_tokens=(read and read.cache_write_tokens) or 0,
            cache_write_1h_tokens=(read and read.cache_write_1h_tokens) or 0,
            reasoning_tokens=(reasoned and reasoned.reasoning_tokens) or 0,
        )


class _Function(Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(Struct, frozen=True):
    function: _Function | None = None


class _Message(Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] | None = None

    def texts(self) -> Iterator[str]:
        yield from filter(None, (self.reasoning_content, self.content, self.refusal))
        for call in self.tool_calls or ():
            if call.function is not None:
                yield from filter(None, (call.function.name, call.function.arguments))


class _Choice(Struct, frozen=True):
    index: int = 0
    text: str | None = None
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None

    def texts(self) -> Iterator[str]:
        if self.text:
            yield self.text
        for message in (self.message, self.delta):
            if message is not None:
                yield from message.texts()


class _Error(Struct, frozen=True):
    type: str | None = None
    code: str | int | None = None


class _Reply(Struct, frozen=True):
    choices: list[_Choice] | None = None
    usage: OpenAIUsage | None = None
    error: _Error | None = None


_TEXT = re.compile(rb'"(?:content|reasoning_content|refusal|text)"\s*:\s*"[^"]|"tool_calls"\s*:\s*\[')
_requests = msgspec.json.Decoder(_Request)
_replies = msgspec.json.Decoder(_Reply)
_anything = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


class OpenAIChat:
    """The dialect."""

    operation: Operation = "chat"
    path = "/v1/chat/completions"
    end_mark = b"data: [DONE]"

    def ask(self, body: bytes) -> Ask:
        """Read a request; raise Refusal with the field at fault."""
        request = decode(_requests, body)
        limit = request.max_completion_tokens or request.max_tokens
        options = request.stream_options
        return Ask(
            fields=decode_fields(body),
            model=request.model,
            messages=request.messages,
            stream=bool(request.stream),
            wants_usage=bool(options and options.include_usage),
            max_output_tokens=limit and limit * (request.n or 1),
            user=request.user or "",
        )

    def count_input(self, ask: Ask, model: str) -> int:
        """Return the input tokens of a request; of pictures and tools, only the model knows."""
        return count_chat(model, ask.messages)

    def forward(self, ask: Ask, model: str) -> bytes:
        """Return what a provider is asked; of a stream always its usage as well."""
        changed: dict[str, Any] = {} if model == ask.model else {"model": model}
        if ask.stream and not ask.wants_usage:
            options = ask.fields.get("stream_options")
            given = _anything.decode(options) if options is not None else None
            changed["stream_options"] = {**(given or {}), "include_usage": True}
        return ask.body(**changed)

    def stream(self, ask: Ask) -> _ChatStream:
        """Return a reader for the answer to a request that was streamed."""
        return _ChatStream(strip_usage=not ask.wants_usage)

    def outcome(self, body: bytes) -> Outcome:
        """Return what a whole answer came to."""
        try:
            reply = _replies.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Outcome()
        return _outcome([reply])

    def text(self, body: bytes) -> str:
        """Return the text of a whole answer, for counting."""
        try:
            reply = _replies.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""
        return "".join(text for choice in reply.choices or () for text in choice.texts())

    def replay(self, body: bytes, ask: Ask) -> Iterator[bytes]:
        """Yield a whole answer as the events of a streamed one."""
        reply = _anything.decode(body)
        head = {name: value for name, value in reply.items() if name not in ("choices", "usage")}
        head["object"] = "chat.completion.chunk"
        tail = {"usage": None} if ask.wants_usage else {}
        for choice in reply["choices"]:
            place = {"index": choice["index"], "logprobs": None}
            message = dict(choice["message"])
            for number, call in enumerate(message.get("tool_calls") or ()):
                call["index"] = number
            delta = {name: value for name, value in message.items() if value is not None}
            yield event({**head, "choices": [{**place, "delta": delta, "finish_reason": None}], **tail})
            end = {**place, "delta": {}, "finish_reason": choice["finish_reason"]}
            yield event({**head, "choices": [end], **tail})
        if ask.wants_usage:
            yield event({**head, "choices": [], "usage": reply.get("usage")})
        yield DONE

    def error(self, refusal: Refusal) -> bytes:
        """Return an error as the body of an answer."""
        return refusal.encoded

    def error_event(self, refusal: Refusal) -> bytes:
        """Return an error that ends a stream."""
        return event(refusal.body)


class _ChatStream:
    """Follows a streamed answer. The usage that only we asked for does not reach the client."""

    def __init__(self, *, strip_usage: bool) -> None:
        self._log = EventLog()
        self._strip = strip_usage
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Take what the provider sent; return what the client gets of it now."""
        self._log.add(data)
        if not self._strip or (not self._held and b'"usage"' not in data and data.endswith(b"\n\n")):
            return data
        joined = (self._held + data).replace(b"\r\n", b"\n")
        whole, end, self._held = joined.rpartition(b"\n\n")
        return b"".join(_stripped(block) for block in whole.split(b"\n\n")) if end else b""

    def has_text(self, data: bytes) -> bool:
        """Tell whether there is any text in what the provider sent."""
        return _TEXT.search(data) is not None

    def outcome(self) -> Outcome:
        """Return what it has come to until now."""
        payloads = self._log.payloads()
        telling = [one for one in payloads if b'"usage"' in one or b'_reason"' in one or b'"error"' in one]
        return _outcome(list(_decoded(telling)))

    def text(self) -> str:
        """Return the text that was generated until now, for counting."""
        return _texts(self._log.payloads())

    def fresh_text(self) -> str:
        """Return the text that was generated since it was asked last."""
        return _texts(self._log.fresh())

    def whole(self) -> bytes:
        """Return the finished answer as if it had not been streamed."""
        return _encode(_assembled(self._log.payloads()))


def _texts(payloads: list[bytes]) -> str:
    choices = (choice for reply in _decoded(payloads) for choice in reply.choices or ())
    return "".join(text for choice in choices for text in choice.texts())


def _stripped(block: bytes) -> bytes:
    """Return an event without the usage; nothing if it was about nothing else."""
    if b'"usage"' not in block:
        return block + b"\n\n" if block.strip() else b""
    try:
        chunk = _anything.decode(block.partition(b"data:")[2])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return block + b"\n\n"
    if not isinstance(chunk, dict) or "usage" not in chunk:
        return block + b"\n\n"
    if not chunk.get("choices") and chunk["usage"] is not None:
        return b""
    return event({name: value for name, value in chunk.items() if name != "usage"})


def _decoded(payloads: list[bytes]) -> Iterator[_Reply]:
    for payload in payloads:
        try:
            yield _replies.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue


def _outcome(replies: list[_Reply]) -> Outcome:
    usage = next((reply.usage for reply in reversed(replies) if reply.usage is not None), None)
    reasons = [c.finish_reason for reply in replies for c in reply.choices or () if c.finish_reason]
    error = next((reply.error for reply in replies if reply.error is not None), None)
    told = error and (error.code or error.type or "error")
    return Outcome(
        usage=None if usage is None else usage.usage(),
        finish_reason=_reason(reasons) if error is None else "",
        error_type=str(told) if told else "",
    )


def _reason(reasons: list[str]) -> str:
    """Return why an answer ended; of several choices the one that tells most."""
    return next((reason for reason in reasons if reason != "stop"), "stop" if reasons else "")


def _assembled(payloads: list[bytes]) -> dict[str, Any]:
    """Return the reply that the chunks of a stream make up."""
    reply: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    usage = None
    for payload in payloads:
        if payload == DONE_PAYLOAD:
            continue
        chunk = _anything.decode(payload)
        reply = {**chunk, **reply}
        usage = chunk.get("usage") or usage
        for part in chunk.get("choices") or ():
            _grow_choice(choices.setdefault(part["index"], {"index": part["index"], "logprobs": None}), part)
    kind = reply["object"].removesuffix(".chunk")
    return {**reply, "object": kind, "choices": [choices[index] for index in sorted(choices)], "usage": usage}


def _grow_choice(choice: dict[str, Any], part: dict[str, Any]) -> None:
    choice["finish_reason"] = part.get("finish_reason") or choice.get("finish_reason")
    if "text" in part:
        choice["text"] = choice.get("text", "") + part["text"]
    else:
        _grow(choice.setdefault("message", {}), part.get("delta") or {})


def _grow(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            _grow_calls(message.setdefault(name, []), value or ())
        elif isinstance(value, str) and name != "role":
            message[name] = (message.get(name) or "") + value
        elif message.get(name) is None:
            message[name] = value


def _grow_calls(calls: list[dict[str, Any]], deltas: Any) -> None:
    for delta in deltas:
        part = {name: value for name, value in delta.items() if name != "index"}
        place = delta.get("index", len(calls))
        while len(calls) <= place:
            calls.append({})
        function = {**calls[place].get("function", {})}
        for name, value in (part.pop("function", None) or {}).items():
            function[name] = function.get(name, "") + (value or "")
        calls[place].update(part, function=function)
