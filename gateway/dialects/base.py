"""What all dialects have in common: the request's fields, the outcome of an answer, and the role itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import Raw, Struct

from gateway.refusal import Refusal
from gateway.usage import Usage
from spendstream.events import Operation
from spendstream.tokens import ChatMessage

__all__ = [
    "Ask",
    "Dialect",
    "Outcome",
    "StreamReader",
    "decode",
    "decode_exactly",
    "decode_fields",
    "usage_of",
]

T = TypeVar("T")

_PLACE = re.compile(r"at `\$\.?([^`]*)`")
_MISSING = re.compile(r"missing required field `([^`]*)`")

_encode = msgspec.json.Encoder().encode
_decode_exactly = msgspec.json.Decoder(float_hook=lambda written: Raw(written.encode())).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode


class Ask(Struct, frozen=True, kw_only=True):
    """What is read of a request. `fields` are its own bytes, by name, of which the last of a name counts.

    `messages` are its texts, as messages even where the dialect has none; `tokens` counts input that comes as
    tokens. `max_output_tokens` is the caller's limit for all answers together, None without one.
    `wants_usage` is whether a streamed answer is to end with its usage, if that is the caller's to say.
    """

    fields: Mapping[str, Raw]
    model: str
    messages: Sequence[ChatMessage]
    tokens: int = 0
    stream: bool = False
    wants_usage: bool = True
    max_output_tokens: int | None = None
    user: str = ""

    @property
    def last_text(self) -> str:
        """What the user said last."""
        content = self.messages[-1].content if self.messages else None
        if isinstance(content, str) or content is None:
            return content or ""
        return "\n".join(part.text for part in content)

    @property
    def has_pictures(self) -> bool:
        """Whether there is more than text in it."""
        parts = (part for one in self.messages if isinstance(one.content, list) for part in one.content)
        return any("image" in part.type for part in parts)

    def body(self, **changed: Any) -> bytes:
        """Return the request as a provider gets it, with some fields changed.

        Fields are written once each, even where nothing changes: of a name that comes twice, a provider might
        read the other one than we have.
        """
        if not changed:
            return _encode(self.fields)
        return _encode({**self.fields, **changed})


class Outcome(Struct, frozen=True, kw_only=True):
    """What an answer came to. `finish_reason` is the dialect's word for why it ended; empty if it did not."""

    usage: Usage | None = None
    finish_reason: str = ""
    error_type: str = ""


class StreamReader(Protocol):
    """Follows one streamed answer."""

    def feed(self, data: bytes) -> bytes:
        """Take what the provider sent; return what the client gets of it now."""

    def has_text(self, data: bytes) -> bool:
        """Tell whether there is any text in what the provider sent."""

    def outcome(self) -> Outcome:
        """Return what it has come to until now."""

    def text(self) -> str:
        """Return the text that was generated until now, for counting."""

    def fresh_text(self) -> str:
        """Return the text that was generated since it was asked last."""

    def whole(self) -> bytes:
        """Return the finished answer as if it had not been streamed."""


class Dialect(Protocol):
    """An API."""

    operation: Operation
    path: str
    """Where clients find it; a provider has it beneath its base URL, without the leading `/v1`."""

    end_mark: bytes
    """What the last event of a stream begins with."""

    def ask(self, body: bytes) -> Ask:
        """Read a request; raise Refusal with the field at fault."""

    def count_input(self, ask: Ask, model: str) -> int:
        """Return the input tokens of a request, as far as its texts tell."""

    def forward(self, ask: Ask, model: str) -> bytes:
        """Return what a provider is asked."""

    def stream(self, ask: Ask) -> StreamReader:
        """Return a reader for the answer to a request that was streamed."""

    def outcome(self, body: bytes) -> Outcome:
        """Return what a whole answer came to."""

    def text(self, body: bytes) -> str:
        """Return the text of a whole answer, for counting."""

    def replay(self, body: bytes, ask: Ask) -> Iterator[bytes]:
        """Yield a whole answer as the events of a streamed one."""

    def error(self, refusal: Refusal) -> bytes:
        """Return an error as the body of an answer."""

    def error_event(self, refusal: Refusal) -> bytes:
        """Return an error that ends a stream."""


def decode_exactly(written: bytes | Raw) -> Any:
    """Return decoded JSON that is encoded as it was, since numbers with a fraction are left as they are."""
    return _decode_exactly(written)


def decode_fields(body: bytes) -> Mapping[str, Raw]:
    """Return the fields of a request; raise Refusal if it is no JSON object."""
    try:
        return _decode_fields(body)
    except msgspec.ValidationError as error:
        raise Refusal(400, str(error), reason="invalid") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"the body is not valid JSON: {error}"
        raise Refusal(400, message, reason="invalid", code="invalid_json") from error


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Return what is read of a request; raise Refusal with the field at fault."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Refusal(400, str(error), reason="invalid", param=_field(str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"the body is not valid JSON: {error}"
        raise Refusal(400, message, reason="invalid", code="invalid_json") from error


def usage_of(**counts: int) -> Usage | None:
    """Return the usage, or None if the provider contradicts itself: then we count."""
    try:
        return Usage(**counts)
    except ValueError:
        return None


def _field(message: str) -> str | None:
    """Return the path of the field that msgspec complains about."""
    place, missing = _PLACE.search(message), _MISSING.search(message)
    parts = [found[1] for found in (place, missing) if found and found[1]]
    return ".".join(parts) or None
