"""Who calls, and whose spend it is: by an API key, or by the caller's own word where there are no keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from gateway.headers import Headers, given_key
from gateway.refusal import Refusal
from gateway.security import Security
from spendstream.keys import EVERYTHING, ApiKey, KeyHasher, KeyRing, Scope

__all__ = ["MAX_NAME", "NOBODY", "Caller", "Callers"]

MAX_NAME = 512
"""Characters of a name; an event with a longer one would be a dead letter."""
_NAMES = ("org", "team", "project", "environment", "service", "user")
_HEADERS = {name: f"x-spendstream-{name}".encode() for name in _NAMES}
_USER = _HEADERS["user"]
_SOON_S = 1.0


class Caller(Struct, frozen=True, kw_only=True):
    """Whose spend a call is, and what it may ask for."""

    org: str = ""
    team: str = ""
    project: str = ""
    environment: str = ""
    service: str = ""
    user: str = ""
    key_id: str = ""
    scope: Scope = EVERYTHING


NOBODY = Caller()


class _Known(NamedTuple):
    """All keys of a moment, changed as one."""

    ring: KeyRing
    callers: dict[str, Caller]


class Callers:
    """Knows callers by their keys. Without a `hasher` there are none, and it believes the caller's headers.

    Of an id in both, the key `in_file` counts. While `complete` is False other keys may exist that are not
    known yet. `clock` gives microseconds since 1970 UTC.
    """

    def __init__(
        self,
        hasher: KeyHasher | None,
        in_file: Iterable[ApiKey],
        security: Security,
        clock: Callable[[], int],
        *,
        complete: bool = True,
    ) -> None:
        self._hasher = hasher
        self._in_file = {key.id: key for key in in_file}
        self._security = security
        self._clock = clock
        self._complete = complete
        self._known = self._all(())

    def take_over(self, keys: Iterable[ApiKey]) -> None:
        """Know these keys from now on, and those in the file."""
        self._known = self._all(keys)
        self._complete = True

    def identify(self, headers: Headers, address: str = "") -> Caller:
        """Return the caller at an `address`. Raises Refusal for a bad key, or a name that is too long."""
        if self._hasher is None:
            _refuse_browsers(headers)
            return _by_own_word(headers)
        caller = self._by_key(headers, address)
        return replace(caller, user=_name(headers, _USER)) if _USER in headers else caller

    def permit(self, caller: Caller, api: str, model: str | None = None, address: str = "") -> None:
        """Raise Refusal if the caller's key is not for an API, or not for a model."""
        scope = caller.scope
        if scope is EVERYTHING:
            return
        if not scope.has_api(api):
            what = f"the {api} API"
        elif model is not None and not scope.has_model(model):
            what = f"model {model[:100]!r}"
        else:
            return
        self._security.scope_refused(caller.key_id, api, model, address)
        raise Refusal(
            403,
            f"this API key is not for {what}",
            reason="forbidden",
            kind="permission_error",
            code="key_scope",
        )

    def _by_key(self, headers: Headers, address: str) -> Caller:
        given = given_key(headers)
        if not given:
            raise Refusal(
                401,
                "no API key: send it as `Authorization: Bearer <key>` or `x-api-key: <key>`",
                reason="unauthorised",
                code="invalid_api_key",
            )
        known = self._known
        key_id, why = known.ring.check(given, self._clock())
        if not why:
            return known.callers[key_id]
        if why == "unknown" and not self._complete:
            raise Refusal(
                503,
                "the gateway does not know all keys yet",
                reason="unavailable",
                kind="server_error",
                code="service_unavailable",
                retry_after=_SOON_S,
            )
        raise self._security.key_refused(key_id, why, address)

    def _all(self, keys: Iterable[ApiKey]) -> _Known:
        if self._hasher is None:
            return _Known(KeyRing(KeyHasher(""), ()), {})
        found = {**{key.id: key for key in keys}, **self._in_file}
        callers = {name: _caller(key) for name, key in found.items()}
        return _Known(KeyRing(self._hasher, found.values()), callers)


def _caller(key: ApiKey) -> Caller:
    return Caller(
        org=key.org,
        team=key.team,
        project=key.project,
        environment=key.environment,
        service=key.service,
        key_id=key.id,
        scope=Scope.of(key),
    )


def _by_own_word(headers: Headers) -> Caller:
    named = {name: _name(headers, header) for name, header in _HEADERS.items() if header in headers}
    return replace(NOBODY, **named) if named else NOBODY


def _refuse_browsers(headers: Headers) -> None:
    """Keep the pages that somebody visits on this machine from calling models without being asked."""
    if b"origin" in headers:
        raise Refusal(
            403,
            "a gateway without a key_secret does not serve browsers: set one, and make keys",
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
