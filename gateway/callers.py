"""Who calls, and whose spend it is: by an API key, or by the caller's own word where there are no keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256

from msgspec import Struct
from msgspec.structs import replace

from gateway.refusal import Refusal
from spendstream.config import ApiKey

__all__ = ["MAX_NAME", "Caller", "Callers"]

MAX_NAME = 512
"""Characters of a name; an event with a longer one would be a dead letter."""
_NAMES = ("org", "team", "project", "environment", "service", "user")
_HEADERS = {name: f"x-spendstream-{name}".encode() for name in _NAMES}
_BEARER = b"bearer "

Headers = Mapping[bytes, bytes]


class Caller(Struct, frozen=True, kw_only=True):
    """Whose spend a call is."""

    org: str = ""
    team: str = ""
    project: str = ""
    environment: str = ""
    service: str = ""
    user: str = ""
    key_id: str = ""


class Callers:
    """Knows callers by their keys. Without any keys it believes the caller's headers."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._by_digest = {
            key.sha256: Caller(
                org=key.org,
                team=key.team,
                project=key.project,
                environment=key.environment,
                service=key.service,
                key_id=key.id,
            )
            for key in keys
        }

    def identify(self, headers: Headers) -> Caller:
        """Return the caller. Raises Refusal for an unknown key, or a name that is too long."""
        if not self._by_digest:
            _refuse_browsers(headers)
            return Caller(**{n: _name(headers, h) for n, h in _HEADERS.items() if h in headers})
        caller, header = self._by_key(headers), _HEADERS["user"]
        return replace(caller, user=_name(headers, header)) if header in headers else caller

    def _by_key(self, headers: Headers) -> Caller:
        """Look the key up by its digest: how long that takes tells nothing about any other key."""
        given = _key(headers)
        if not given:
            raise _unauthorised("no API key: send it as `Authorization: Bearer <key>` or `x-api-key: <key>`")
        digest = sha256(given).hexdigest()
        caller = self._by_digest.get(digest)
        if caller is None:
            raise _unauthorised("this API key is not known to the gateway")
        return caller


def _key(headers: Headers) -> bytes:
    """Return the key: OpenAI's clients and Anthropic's have a header of their own for it."""
    given = headers.get(b"authorization", b"")
    if given[: len(_BEARER)].lower() == _BEARER:
        return given[len(_BEARER) :].strip()
    return headers.get(b"x-api-key", b"").strip()


def _unauthorised(message: str) -> Refusal:
    return Refusal(401, message, reason="unauthorised", code="invalid_api_key")


def _refuse_browsers(headers: Headers) -> None:
    """Keep the pages that somebody visits on this machine from calling models without being asked."""
    if b"origin" in headers:
        raise Refusal(
            403,
            "a gateway without API keys does not serve browsers: configure api_keys",
            reason="forbidden",
            code="browser_without_key",
        )


def _name(headers: Headers, header: bytes) -> str:
    raw = headers[header]
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError:
        text = raw.decode("latin-1").strip()
    if len(text) > MAX_NAME:
        name = header.decode()
        raise Refusal(400, f"header {name}: at most {MAX_NAME} characters", reason="invalid", param=name)
    return text
