"""Handles that outlive a request: a client's temporary tables and SETs, by session id."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infra.local.clickhouse.errors import Code, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.local.clickhouse.engine import Handle

__all__ = ["Session", "Sessions"]


@dataclass(slots=True, kw_only=True)
class Session:
    """One session; `expires` is on the caller's clock, in seconds.

    `overrides` holds the settings of the last request's URL, which last only for a request: the handle
    still has them, and `baseline` has the SQL values to put back. The same goes for `database`, the one
    that the session itself uses, and `used`, the one that the handle is in.
    """

    handle: Handle
    busy: bool = True
    expires: float = 0.0
    database: str = "default"
    used: str = "default"
    overrides: dict[str, str] = field(default_factory=dict)
    baseline: dict[str, str] = field(default_factory=dict)


class Sessions:
    """The open sessions. Not for several threads: the server's event loop owns it."""

    def __init__(self, open_handle: Callable[[], Handle]) -> None:
        self._open_handle = open_handle
        self._by_key: dict[tuple[str, str], Session] = {}

    def take(self, key: tuple[str, str], *, must_exist: bool) -> Session:
        """Return the session of `key` (user, session id), made when missing, and mark it busy.

        Raises EngineError: SESSION_NOT_FOUND when `must_exist` and it does not, SESSION_IS_LOCKED while
        another request uses it.
        """
        session = self._by_key.get(key)
        if session is None:
            if must_exist:
                raise EngineError.raised(Code.SESSION_NOT_FOUND, f"Session {key[1]} not found.")
            session = self._by_key[key] = Session(handle=self._open_handle())
        elif session.busy:
            message = f"Session {key[1]} is locked by a concurrent client."
            raise EngineError.raised(Code.SESSION_IS_LOCKED, message)
        session.busy = True
        return session

    def give_back(self, session: Session, *, expires: float) -> None:
        """End the use of `session`, which lasts until `expires` when no request follows."""
        session.busy = False
        session.expires = expires

    def expire(self, now: float) -> None:
        """Close the idle sessions whose time has passed."""
        over = [key for key, session in self._by_key.items() if not session.busy and session.expires <= now]
        for key in over:
            self._by_key.pop(key).handle.close()

    def close(self) -> None:
        """Close every session."""
        for session in self._by_key.values():
            session.handle.close()
        self._by_key.clear()

    def __len__(self) -> int:
        return len(self._by_key)
