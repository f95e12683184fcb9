"""JSON documents that operators write: as the admin API takes them and their compacted topics hold them.

What is kept is what was written, numbers included; equal documents have equal bytes, and so equal tags.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Any, NoReturn

import msgspec
from msgspec import Struct

from spendstream.errors import ConfigError

__all__ = ["MAX_DOCUMENT_BYTES", "BadDocument", "Document", "field_of", "read_object"]

MAX_DOCUMENT_BYTES = 1 << 16
_PLACE = re.compile(r" - at `\$\.?(.*)`$")
_NAMED = re.compile(r"field `([^`]*)`")
_encoder = msgspec.json.Encoder(decimal_format="number", order="deterministic")


class BadDocument(ConfigError):
    """A document that is not what it should be; `by_field` has each field at fault, and why."""

    def __init__(self, message: str, by_field: Sequence[tuple[str, str]]) -> None:
        super().__init__(message)
        self.by_field = by_field


class Document(Struct, frozen=True, kw_only=True):
    """A document as it was written."""

    id: str
    written: Mapping[str, Any]

    @property
    def encoded(self) -> bytes:
        """The document as JSON; equal documents have equal bytes."""
        return _encoder.encode(self.written)

    @property
    def tag(self) -> str:
        """What tells this document from any other of the same id."""
        return blake2b(self.encoded, digest_size=16).hexdigest()


def read_object(value: bytes) -> Mapping[str, Any]:
    """Return a JSON object, its fractions as Decimal. Raises ValueError."""
    if len(value) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"at most {MAX_DOCUMENT_BYTES} bytes are accepted, found {len(value)}")
    try:
        document = json.loads(
            value, parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=_each_once
        )
        _encoder.encode(document)  # half a surrogate pair is JSON, but no text
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ArithmeticError as error:
        raise ValueError("it has a number that is too large") from error
    if not isinstance(document, dict):
        raise ValueError(f"expected an object, found {document!r:.80}")  # noqa: TRY004 - of contents
    return document


def field_of(message: str) -> tuple[str, str]:
    """Return the field that a message of msgspec is about, as `a[0].b`, and what is wrong with it."""
    place, named = _PLACE.search(message), _NAMED.search(message)
    parts = [found[1] for found in (place, named) if found and found[1]]
    reason = _PLACE.sub("", message)
    return ".".join(parts) or "document", reason[:1].lower() + reason[1:]


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"{min(twice)} is given twice")
    return dict(pairs)
