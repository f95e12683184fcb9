"""One key as a JSON document, as its topic holds it, and the changes that the admin API makes to it."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

import msgspec

from spendstream.documents import BadDocument, Document, field_of, read_object
from spendstream.keys.definition import ApiKey

__all__ = ["KeyDocument", "changed", "created", "decode", "document"]

_KEPT = frozenset({"hash", "created_at", "revoked_at", "old_hash", "old_until"})
"""What nobody writes: only the verbs of a key change these."""


class KeyDocument(Document, frozen=True, kw_only=True):
    """A key as it is kept."""

    key: ApiKey


def document(key: ApiKey) -> KeyDocument:
    """Return the document of a key."""
    return KeyDocument(id=key.id, written=msgspec.to_builtins(key), key=key)


def decode(key_id: str, value: bytes) -> KeyDocument:
    """Return the key in a document; raise BadDocument."""
    try:
        written = read_object(value)
    except ValueError as error:
        raise BadDocument(f"key {key_id}: {error}", [("document", str(error))]) from error
    key = _key(written)
    if key.id != key_id:
        raise BadDocument(f"key {key_id}: its id is {key.id}", [("id", f"expected {key_id}")])
    return document(key)


def created(fields: Mapping[str, Any], hashed: str, now: datetime) -> ApiKey:
    """Return a new key with these fields. Raises BadDocument."""
    _refuse(fields, _KEPT)
    if empty := [name for name, value in fields.items() if value is None]:
        raise BadDocument(f"key: {empty[0]} is null", [(name, "must not be null") for name in empty])
    return _key({**fields, "hash": hashed, "created_at": now.isoformat()})


def changed(key: ApiKey, changes: Mapping[str, Any]) -> ApiKey:
    """Return the key with some fields changed; null takes one back to its default. Raises BadDocument."""
    _refuse(changes, _KEPT | {"id"})
    merged = {**msgspec.to_builtins(key), **changes}
    return _key({name: value for name, value in merged.items() if value is not None})


def _refuse(fields: Mapping[str, Any], fixed: AbstractSet[str]) -> None:
    if named := sorted(fields.keys() & fixed):
        raise BadDocument(f"key: {named[0]} cannot be set", [(name, "cannot be set") for name in named])


def _key(written: Mapping[str, Any]) -> ApiKey:
    try:
        return msgspec.convert(written, ApiKey)
    except msgspec.ValidationError as error:
        raise BadDocument(str(error), [field_of(str(error))]) from error
