"""How many tokens the input of a request can come to at most.

No text has more tokens than bytes. What is no text has what its provider publishes as the most: a picture by
the model and its detail, a file or a conversation that the provider remembers by what the model takes at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.dialects import Ask
from gateway.exchange import Exchange
from spendstream.pictures import most_picture_tokens
from spendstream.pricing.contexts import context_window

__all__ = ["most_input_by_bytes", "most_input_by_count"]

_SPOKEN = frozenset({"messages", "input", "prompt", "system", "instructions"})
_UNSPOKEN = frozenset({"stream_options", "metadata", "logit_bias"})
"""Fields that no model gets to see."""
_HINTS = (b"image", b"screenshot", b"file", b"document", b"container_upload", b"item_reference", b"\\u00")
"""One of these is in a request that is not all text; an escape can hide any letter."""
_REMEMBERED = ("previous_response_id", "conversation")
"""Fields that name input which the provider has."""
_PICTURES = frozenset({"image_url", "input_image", "image", "computer_screenshot"})
_FILES = frozenset({"file", "input_file", "document", "container_upload"})
_TOOL_TOKENS = 3072
"""What a provider itself says to a model with tools; more than Anthropic publishes, all kinds together."""
_CONTENT = ("content", "output")
_COUNTED = frozenset({"role", "type", "text", "cache_control"})
_PUNCTUATION = 4  # bytes of JSON around a name or a value

_decode = msgspec.json.Decoder().decode


def most_input_by_bytes(exchange: Exchange, model: str) -> int:
    """Return the most tokens of a request for a model, without counting any."""
    most = len(exchange.request) + _of_tools(exchange.ask)
    if not _may_be_more(exchange):
        return most
    found = _Finds(exchange.ask)
    return most - found.picture_bytes - found.file_bytes + found.tokens(model)


def most_input_by_count(exchange: Exchange, model: str) -> int:
    """Return the most tokens of a request for a model, with its texts counted: this takes far longer."""
    found = _Finds(exchange.ask)
    return exchange.input_tokens + found.other_bytes + _of_tools(exchange.ask) + found.tokens(model)


def _may_be_more(exchange: Exchange) -> bool:
    """Tell whether a request may be more than its bytes. Nearly none is, and each call is asked this."""
    fields = exchange.ask.fields
    if "previous_response_id" in fields or "conversation" in fields or "prompt" in fields:
        return True
    for message in exchange.ask.messages:
        if not isinstance(message.content, str):
            return any(hint in exchange.request for hint in _HINTS)
    return False


def _of_tools(ask: Ask) -> int:
    return _TOOL_TOKENS if "tools" in ask.fields else 0


class _Finds:
    """What a request has beside texts that are counted; `other_bytes` are of what is text all the same."""

    def __init__(self, ask: Ask) -> None:
        self.pictures: list[str] = []
        self.picture_bytes = self.file_bytes = self.other_bytes = 0
        self._more = any(bytes(ask.fields.get(name, b"null")) != b"null" for name in _REMEMBERED)
        for name, raw in ask.fields.items():
            written = bytes(raw)
            if name in _SPOKEN:
                self._look_into(written)
            elif name not in _UNSPOKEN and written[:1] in (b"{", b"["):
                self.other_bytes += len(written)

    def tokens(self, model: str) -> int:
        """Return the most tokens of what is no text, but for what the provider has and nobody knows."""
        seen = sum(most_picture_tokens(model, detail) for detail in self.pictures)
        window = context_window(model) if self._more or self.file_bytes else None
        return seen + (self.file_bytes if window is None else window)

    def _look_into(self, written: bytes) -> None:
        try:
            spoken = _decode(written)
            if isinstance(spoken, dict):  # a prompt that the provider keeps, and its variables
                self._more = True
                self._add(spoken)
            elif isinstance(spoken, list):
                for item in spoken:
                    self._add_item(item)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # nobody can read it
            self.other_bytes += len(written)

    def _add_item(self, item: Any) -> None:
        """Take a message, or a part of a prompt; texts and tokens that stand for themselves are counted."""
        if not isinstance(item, dict) or self._takes(item):
            return
        for name, value in item.items():
            if name in _CONTENT and isinstance(value, str | list):
                for part in value if isinstance(value, list) else ():
                    self._add_part(part)
            elif name not in _COUNTED:
                self._add_field(name, value)

    def _add_part(self, part: Any) -> None:
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            self._add(part)
        elif not self._takes(part):
            for name, value in part.items():
                if name not in _COUNTED:
                    self._add_field(name, value)

    def _add_field(self, name: str, value: Any) -> None:
        self.other_bytes += _size(name)
        self._add(value)

    def _add(self, value: Any) -> None:
        """Take what nobody counts."""
        if isinstance(value, dict) and self._takes(value):
            return
        self.other_bytes += _PUNCTUATION
        if isinstance(value, str):
            self.other_bytes += _size(value)
        elif isinstance(value, list):
            for each in value:
                self._add(each)
        elif isinstance(value, dict):
            for name, each in value.items():
                self._add_field(name, each)

    def _takes(self, value: Mapping[str, Any]) -> bool:
        """Take a picture, a file, or what stands for something that the provider has. Tell if it was one."""
        kind = value.get("type")
        if not isinstance(kind, str):
            return False
        if kind in _PICTURES:
            self.pictures.append(_detail(value))
            self.picture_bytes += _size(value)
        elif kind in _FILES and not _is_plain(value.get("source")):
            self.file_bytes += _size(value)
        elif kind == "item_reference":
            self._more = True
        else:
            return False
        return True


def _size(value: Any) -> int:
    """Return the bytes of the texts in a value: all but a few of those that it is written with."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) else 0


def _detail(picture: Mapping[str, Any]) -> str:
    """Return a picture's detail, which stands beside its address, or with it."""
    address = picture.get("image_url")
    found = address.get("detail") if isinstance(address, dict) else picture.get("detail")
    return found if isinstance(found, str) else "auto"


def _is_plain(source: Any) -> bool:
    """Tell whether a document of Anthropic's is text that stands in the request."""
    return isinstance(source, dict) and source.get("type") in ("text", "content")
