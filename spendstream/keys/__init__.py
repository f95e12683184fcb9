"""API keys: what a key may do, how it is told from a guess, and who guesses too often.

    ring = KeyRing(KeyHasher(key_secret), keys)
    verdict = ring.check(b"sk-spend-search-…", now)

A key is `sk-spend-<id>-<secret>`. Its id is public, and finds it; of its secret only a keyed hash is kept.
"""

from __future__ import annotations

from spendstream.keys.attempts import FailedAttempts
from spendstream.keys.definition import APIS, Api, ApiKey, KeyId, Moment
from spendstream.keys.ring import KeyRing, Verdict, Why
from spendstream.keys.rotation import replaced, revoked
from spendstream.keys.scope import EVERYTHING, Scope
from spendstream.keys.secret import PREFIX, KeyHasher, new_id, new_key

__all__ = [
    "APIS",
    "EVERYTHING",
    "PREFIX",
    "Api",
    "ApiKey",
    "FailedAttempts",
    "KeyHasher",
    "KeyId",
    "KeyRing",
    "Moment",
    "Scope",
    "Verdict",
    "Why",
    "new_id",
    "new_key",
    "replaced",
    "revoked",
]
