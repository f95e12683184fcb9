"""OpenAI's responses."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from gateway.dialects.base import Ask, Outcome, decode, decode_fields, usage_of
from gateway.dialects.events import PassedOn, event
from gateway.refusal import Refusal
from gateway.usage import Usage
from spendstream.events import Operation
from spendstream.tokens import ChatMessage, ContentPart, count_chat

__all__ = ["OpenAIResponses"]


class _Item(Struct, frozen=True):
    """A part of the input: a message, or what a tool has said."""

    role: str = ""
    content: str | list[ContentPart] | None = None
    output: str | list[ContentPart] | None = None
    arguments: str | None = None

    def text(self) -> str | list[ContentPart] | None:
        """Return what is counted of it."""
        return self.content if self.content is not None else self.output or self.arguments


class _Request(Struct, frozen=True, kw_only=True):
    model: Annotated[str, Meta(min_length=1)]
    input: str | list[_Item] = ""
    instructions: str | None = None
    stream: bool | None = None
    background: bool | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None


class _InputDetails(Struct, frozen=True):
    cached_tokens: int | None = None


class _OutputDetails(Struct, frozen=True):
    reasoning_tokens: int | None = None


class _Usage(Struct, frozen=True):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None

    def usage(self) -> Usage | None:
        read, reasoned = self.input_tokens_details, self.output_tokens_details
        return usage_of(
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cache_read_tokens=(read and read.cached_tokens) or 0,
            reasoning_tokens=(reasoned and reasoned.reasoning_tokens) or 0,
        )


class _Content(Struct, frozen=True):
    text: str | None = None
    refusal: str | None = None


class _Output(Struct, frozen=True):
    content: list[_Content] | None = None
    name: str | None = None
    arguments: str | None = None

    def texts(self) -> Iterator[str]:
        yield from filter(None, (self.name, self.arguments))
        for content in self.content or ():
            yield from filter(None, (content.text, content.refusal))


class _Error(Struct, frozen=True):
    code: str | None = None


class _Response(Struct, frozen=True):
    status: str = ""
    output: list[_Output] | None = None
    usage: _Usage | None = None
    error: _Error | None = None

    def outcome(self) -> Outcome:
        """Return what it has come to. It ends completed, or incomplete where a limit has cut it."""
        return Outcome(
            usage=None if self.usage is None else self.usage.usage(),
            finish_reason={"completed": "stop", "incomplete": "length"}.get(self.status, ""),
            error_type=(self.error and self.error.code) or "",
        )


class _Event(Struct, frozen=True):
    type: str = ""
    response: _Response | None = None
    delta: str | None = None
    code: str | None = None


_requests = msgspec.json.Decoder(_Request)
_responses = msgspec.json.Decoder(_Response)
_events = msgspec.json.Decoder(_Event)
_anything = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode

_ENDS = (b'"response.completed"', b'"response.incomplete"', b'"response.failed"', b'"error"')


class OpenAIResponses:
    """The dialect."""

    operation: Operation = "chat"
    path = "/v1/responses"
    end_mark = b"event: response.completed"

    def ask(self, body: bytes) -> Ask:
        """Read a request; raise Refusal with the field at fault."""
        request = decode(_requests, body)
        if request.background:
            raise Refusal(
                400,
                "background responses are not metered, so they are not served: leave `background` out",
                reason="invalid",
                param="background",
            )
        system = [ChatMessage("system", request.instructions)] if request.instructions else []
        return Ask(
            fields=decode_fields(body),
            model=request.model,
            messages=[*system, *_messages(request.input)],
            stream=bool(request.stream),
            max_output_tokens=request.max_output_tokens,
            user=request.user or "",
        )

    def count_input(self, ask: Ask, model: str) -> int:
        """Return the input tokens of a request, as far as its texts tell."""
        return count_chat(model, ask.messages)

    def forward(self, ask: Ask, model: str) -> bytes:
        """Return what a provider is asked."""
        return ask.body() if model == ask.model else ask.body(model=model)

    def stream(self, ask: Ask) -> _ResponseStream:  # noqa: ARG002 - all streams end with their usage
        """Return a reader for the answer to a request that was streamed."""
        return _ResponseStream()

    def outcome(self, body: bytes) -> Outcome:
        """Return what a whole answer came to."""
        try:
            return _responses.decode(body).outcome()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Outcome()

    def text(self, body: bytes) -> str:
        """Return the text of a whole answer, for counting."""
        try:
            response = _responses.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""
        return "".join(text for item in response.output or () for text in item.texts())

    def replay(self, body: bytes, ask: Ask) -> Iterator[bytes]:  # noqa: ARG002 - the same for all
        """Yield a whole answer as the events of a streamed one."""
        response = _anything.decode(body)
        numbers = count()

        def told(name: str, /, **content: Any) -> bytes:
            return event({"type": name, "sequence_number": next(numbers), **content}, name)

        begun = {**response, "status": "in_progress", "output": [], "usage": None}
        yield told("response.created", response=begun)
        for index, item in enumerate(response["output"]):
            place = {"output_index": index}
            opened = {**item, "status": "in_progress"}
            yield told("response.output_item.added", **place, item={**opened, **_emptied(item)})
            for part, content in enumerate(item.get("content") or ()):
                if content.get("type") == "output_text":
                    spot = {**place, "item_id": item["id"], "content_index": part}
                    text = content["text"]
                    yield told("response.content_part.added", **spot, part={**content, "text": ""})
                    yield told("response.output_text.delta", **spot, delta=text, logprobs=[])
                    yield told("response.output_text.done", **spot, text=text, logprobs=[])
                    yield told("response.content_part.done", **spot, part=content)
            if item.get("type") == "function_call":
                spot = {**place, "item_id": item["id"]}
                given = item["arguments"]
                yield told("response.function_call_arguments.delta", **spot, delta=given)
                yield told(
                    "response.function_call_arguments.done", **spot, arguments=given, name=item["name"]
                )
            yield told("response.output_item.done", **place, item=item)
        yield told(f"response.{response['status']}", response=response)

    def error(self, refusal: Refusal) -> bytes:
        """Return an error as the body of an answer."""
        return refusal.encoded

    def error_event(self, refusal: Refusal) -> bytes:
        """Return an error that ends a stream."""
        told = {"type": "error", "code": refusal.code, "message": str(refusal), "param": refusal.param}
        return event(told, "error")


class _ResponseStream(PassedOn):
    """Follows a streamed answer, which goes to the client as it comes; its last event has all of it."""

    def __init__(self) -> None:
        super().__init__(_texts)

    def has_text(self, data: bytes) -> bool:
        """Tell whether there is any text in what the provider sent."""
        return b".delta" in data

    def outcome(self) -> Outcome:
        """Return what it has come to until now."""
        for payload in reversed(self.log.payloads()):
            if any(end in payload for end in _ENDS):
                told = _decoded(payload)
                if told.response is not None:
                    return told.response.outcome()
                return Outcome(error_type=told.code or "error")
        return Outcome()

    def whole(self) -> bytes:
        """Return the finished answer as if it had not been streamed."""
        return _encode(_anything.decode(self.log.payloads()[-1])["response"])


def _texts(payloads: list[bytes]) -> str:
    return "".join(_decoded(payload).delta or "" for payload in payloads if b".delta" in payload)


def _messages(given: str | list[_Item]) -> list[ChatMessage]:
    if isinstance(given, str):
        return [ChatMessage("user", given)]
    return [ChatMessage(item.role or "tool", item.text()) for item in given]


def _emptied(item: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an item of output that grow, as they begin."""
    return {"content": []} if "content" in item else {"arguments": ""} if "arguments" in item else {}


def _decoded(payload: bytes) -> _Event:
    try:
        return _events.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Event()
