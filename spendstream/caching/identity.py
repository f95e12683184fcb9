"""The identity of a request: a digest that two requests share only if one answer does for both.

Everything that the caller sent is part of it, known or not, but what is named here as of no consequence. The
tenant always is: no digest is found under two tenants, whatever the bodies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

__all__ = ["DIGEST_BYTES", "LONGEST_QUESTION", "NO_CONSEQUENCE", "Question", "Shape", "digest", "question"]

Shape: TypeAlias = Literal["chat", "text_completion", "embeddings", "responses", "messages"]
"""Which API a request speaks: OpenAI's chat completions, completions, embeddings and responses, or
Anthropic's messages."""

NO_CONSEQUENCE = frozenset(
    {
        "stream",  # how the answer travels, not what it says
        "stream_options",
        "user",  # who asks within the tenant: for the provider's abuse control and for our event
        "safety_identifier",
        "metadata",  # labels for the provider's console
        "store",  # whether the provider keeps a copy
        "service_tier",  # how soon and at which price
        "prompt_cache_key",  # where the provider keeps its own cache of prefixes, and for how long
        "prompt_cache_retention",
    }
)
"""Fields of a request's top level that do not change its answer."""

DIGEST_BYTES = 32
LONGEST_QUESTION = 512
"""Characters of a text that can be compared by meaning: more, and a short difference drowns in it."""

_PERSON = b"spendstream.id.1"  # another number whenever the same request gets another digest
_TEXT_TYPES = frozenset({"text", "input_text"})
_WHERE: Mapping[Shape, str] = {"chat": "messages", "messages": "messages", "responses": "input"}
_EXACT = 2**53
_encode = msgspec.json.Encoder(order="deterministic").encode

_Body: TypeAlias = Mapping[str, Any]


class Question(NamedTuple):
    """A request taken apart: what its user said last, and the digest of all the rest.

    Two requests may share an answer if their texts mean the same and their rests are equal.
    """

    text: str
    rest: bytes


def digest(shape: Shape, body: _Body, tenant: str) -> bytes:
    """Return the 32 bytes that name a request: its decoded JSON `body`, sent by `tenant`.

    The same for any order of keys, any spelling of the JSON, 1 or 1.0 as a parameter, and a text as it is or
    as the only part of a list where the API takes both for the same. Raises TypeError for what is no JSON.
    """
    return _digest(b"whole", shape, _normal(shape, body), tenant)


def question(shape: Shape, body: _Body, tenant: str) -> Question | None:
    """Take a request apart; None if its last word is no text of its user, or too long to be compared."""
    where = _WHERE.get(shape)
    if where is None:
        return None
    normal = _normal(shape, body)
    turns = normal.get(where)
    if not isinstance(turns, list) or not turns:
        return None
    last = turns[-1]
    if not isinstance(last, dict) or last.get("role") != "user":
        return None
    text = last.get("content")
    if not isinstance(text, str) or not 0 < len(text) <= LONGEST_QUESTION:
        return None
    rest = normal | {where: [*turns[:-1], {**last, "content": None}]}
    return Question(text, _digest(b"rest", shape, rest, tenant))


def _digest(kind: bytes, shape: Shape, body: _Body, tenant: str) -> bytes:
    name = tenant.encode("utf-8", "surrogatepass")
    # The tenant's length comes first, so that no tenant's name and body read as another's.
    head = b"%s %s %d " % (kind, shape.encode(), len(name))
    return blake2b(head + name + _encode(body), digest_size=DIGEST_BYTES, person=_PERSON).digest()


def _normal(shape: Shape, body: _Body) -> dict[str, Any]:
    """Return what is of consequence, in one of the ways that it could be said."""
    normal = {}
    for name, value in body.items():
        if name in NO_CONSEQUENCE:
            continue
        # A sampling parameter of 1.0 is 1. Deeper numbers belong to the caller's schemas and arguments.
        normal[name] = _whole(value) if type(value) is float else value
    if shape in ("chat", "messages"):
        _replace(normal, "messages", _turns)
        if shape == "messages":
            _replace(normal, "system", _text)
    elif shape == "responses":
        _replace(normal, "input", _input)
    elif shape == "text_completion":
        _replace(normal, "prompt", _single)
    else:
        _replace(normal, "input", _single)
    return normal


def _whole(value: float) -> float:
    """Return a number as an integer if it is one that JSON's readers all keep exact."""
    return int(value) if value.is_integer() and abs(value) < _EXACT else value


def _replace(normal: dict[str, Any], name: str, rewrite: Any) -> None:
    if name in normal:
        normal[name] = rewrite(normal[name])


def _turns(turns: Any) -> Any:
    return [_turn(turn) for turn in turns] if isinstance(turns, list) else turns


def _turn(turn: Any) -> Any:
    if not isinstance(turn, dict) or type(turn.get("content")) is not list:
        return turn
    return {**turn, "content": _text(turn["content"])}


def _text(content: Any) -> Any:
    """Return the text of a list that has one part, which is a plain text; anything else as it is."""
    if isinstance(content, list) and len(content) == 1:
        part = content[0]
        if isinstance(part, dict) and len(part) == 2 and part.get("type") in _TEXT_TYPES:  # noqa: PLR2004  # type, text
            text = part.get("text")
            return text if isinstance(text, str) else content
    return content


def _input(value: Any) -> Any:
    """Return the turns that the input of a response stands for: a text is one turn of the user."""
    return _turns([{"role": "user", "content": value}] if isinstance(value, str) else value)


def _single(value: Any) -> Any:
    """Return the text of a list that holds just one."""
    only = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 1
    return value[0] if only and isinstance(value[0], str) else value
