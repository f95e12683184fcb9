"""Every mistake in a value that was read from a file, where a decoder stops at the first."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

__all__ = ["did_you_mean", "mistakes"]


def mistakes(raw: Any, kind: Any, convert: Callable[[Any, Any], Any]) -> Iterator[str]:
    """Yield what keeps `raw` from being a `kind`, each with its place within; nothing if it is one.

    `convert` makes values, and raises ValueError (or msgspec's ValidationError) for one that cannot be.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(raw, list) and origin is tuple:
        for number, one in enumerate(raw, 1):
            yield from (f"{number}: {found}" for found in mistakes(one, arguments[0], convert))
    elif isinstance(raw, dict) and origin is Mapping:
        for name, one in raw.items():
            yield from (f"{name}: {found}" for found in mistakes(one, arguments[1], convert))
    elif isinstance(raw, dict) and isinstance(kind, type) and issubclass(kind, Struct):
        yield from _in_fields(raw, kind, convert)
    else:
        try:
            convert(raw, kind)
        except (msgspec.ValidationError, ValueError) as error:
            text = str(error)
            yield text[:1].lower() + text[1:]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint at the known name that is most like an unknown one; nothing if none is."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _in_fields(
    raw: Mapping[str, Any], kind: type[Struct], convert: Callable[[Any, Any], Any]
) -> Iterator[str]:
    types = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in raw:
            yield f"{field.name}: is missing"
    for name, value in raw.items():
        if name in types:
            yield from (f"{name}: {found}" for found in mistakes(value, types[name], convert))
        elif kind.__struct_config__.forbid_unknown_fields:
            yield f"{name}: no such setting{did_you_mean(name, types)}"
