"""What the gateway does about misuse: refusals that tell a guesser nothing, and an audit log that tells all.

Who fails too often in a minute is told to wait, instead of being told that the key is wrong. Right keys still
open from there: with secrets of 256 bits a wait protects nothing but our log, and behind a shared address it
would lock out the neighbours of whoever fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.audit import Audit
from gateway.refusal import Refusal
from spendstream.keys import FailedAttempts, Why

__all__ = ["ALLOWED_FAILURES", "Security"]

ALLOWED_FAILURES = 20
"""Wrong keys from one address in a minute, after which it is told to wait."""

_BAD_JSON = "invalid_json"
_TOO_LARGE = "request_too_large"


class Security:
    """Notes security events. Of each kind the first few from one place in a minute are listed, no flood."""

    def __init__(
        self,
        audit: Audit,
        clock: Callable[[], int],
        *,
        audit_calls: bool = False,
        allowed: int = ALLOWED_FAILURES,
    ) -> None:
        self.audit_calls = audit_calls
        """Whether decisions on calls are audited: ask before `call_decided` is called."""
        self._audit = audit
        self._clock = clock
        self._failures = FailedAttempts(allowed)
        self._events = FailedAttempts(allowed)
        self._bad_bodies = FailedAttempts(allowed)

    def key_refused(self, key_id: str, why: Why, address: str) -> Refusal:
        """Return how a bad key is refused: whatever is wrong with it, in the same words."""
        late = self._failed("key_refused", address, {"key_id": key_id, "why": why})
        return late or Refusal(
            401,
            "Incorrect API key provided: it is not valid here",  # the words that client libraries look for
            reason="unauthorised",
            code="invalid_api_key",
        )

    def admin_refused(self, address: str, *, guessed: bool) -> Refusal:
        """Return how is refused who sends a wrong admin key, which may be a guess, or none."""
        late = self._failed("admin_refused", address, {}) if guessed else None
        return late or Refusal(
            401,
            "the admin API needs its key: send the header `Authorization: Bearer <key>`",
            reason="unauthorised",
            code="invalid_admin_key",
        )

    def scope_refused(self, key_id: str, api: str, model: str | None, address: str) -> None:
        """Note that a key was used for what it is not for."""
        self._event(
            "scope_refused",
            key_id,
            {"key_id": key_id, "api": api, "model": (model or "")[:200], "address": address},
        )

    def body_refused(self, refusal: Refusal, key_id: str, address: str) -> None:
        """Note a body that is too large, or that one place sends much that is no JSON."""
        if refusal.code == _TOO_LARGE:
            self._event("oversized_body", address, {"key_id": key_id, "address": address})
        elif refusal.code == _BAD_JSON and (
            self._bad_bodies.add(address, self._clock()) == self._bad_bodies.allowed
        ):
            self._audit.note("bad_json_burst", {"key_id": key_id, "address": address})

    def masked(self, call: str, key_id: str, team: str, counts: Mapping[str, int]) -> None:
        """Note how many values of which kinds were kept from the provider of a call."""
        self._audit.note("masked", {"call": call, "key_id": key_id, "team": team, "counts": dict(counts)})

    def call_decided(self, decision: str, **fields: Any) -> None:
        """Note the decision on a call: who, what, and why."""
        self._audit.note("call", {"decision": decision, **fields})

    def _failed(self, kind: str, address: str, fields: dict[str, Any]) -> Refusal | None:
        """Note a failed attempt; return a refusal if there were too many."""
        now = self._clock()
        count = self._failures.add(address, now)
        if count <= self._failures.allowed:
            self._audit.note(kind, {**fields, "address": address})
            return None
        if count == self._failures.allowed + 1:
            self._audit.note("key_guessing", {"address": address, "failures": count})
        return Refusal(
            429,
            "too many wrong keys from this address",
            reason="unauthorised",
            kind="rate_limit_error",
            code="too_many_failures",
            retry_after=self._failures.wait(address, now) / 1e6,
        )

    def _event(self, kind: str, place: str, fields: dict[str, Any]) -> None:
        count = self._events.add(f"{kind} {place}", self._clock())
        if count <= self._events.allowed:
            self._audit.note(kind, fields)
        elif count == self._events.allowed + 1:
            self._audit.note(kind, {**fields, "more": "not listed in this minute"})
