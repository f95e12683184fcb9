"""A request's headers, and those that two readers could read in two ways: these are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.types import Scope

from gateway.refusal import Refusal

__all__ = ["Headers", "given_key", "peer", "read_headers"]

Headers = Mapping[bytes, bytes]

_BEARER = b"bearer "
_ONCE = frozenset((b"authorization", b"x-api-key", b"content-length", b"content-type", b"host"))
_OURS = b"x-spendstream-"


def read_headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers by name, in lower case. Raises Refusal for what is there twice, or contradicts."""
    headers = dict(raw)
    if len(headers) != len(raw):
        _refuse_twice(raw)
    if b"x-api-key" in headers and b"authorization" in headers:
        raise _bad("authorization", "send the key in one header: Authorization or x-api-key")
    if b"transfer-encoding" in headers and b"content-length" in headers:
        raise _bad("content-length", "a body has a Content-Length or a Transfer-Encoding, not both")
    return headers


def given_key(headers: Headers) -> bytes:
    """Return the key: OpenAI's clients and Anthropic's have a header of their own for it."""
    given = headers.get(b"authorization", b"")
    if given[: len(_BEARER)].lower() == _BEARER:
        return given[len(_BEARER) :].strip()
    return headers.get(b"x-api-key", b"").strip()


def peer(scope: Scope) -> str:
    """Return the address that a request comes from, as the socket has it; an empty one without a socket."""
    client = scope.get("client")
    return client[0] if client else ""


def _refuse_twice(raw: Sequence[tuple[bytes, bytes]]) -> None:
    seen = set()
    for name, _ in raw:
        if name in seen and (name in _ONCE or name.startswith(_OURS)):
            raise _bad(name.decode("latin-1"), "this header is there twice")
        seen.add(name)


def _bad(name: str, what: str) -> Refusal:
    return Refusal(400, f"header {name}: {what}", reason="invalid", param=name, code="invalid_header")
