"""A circuit breaker: leaves alone what keeps failing, and tries now and then whether it works again. Pure."""

from __future__ import annotations

__all__ = ["Breaker"]

_FAILURES = 5
_REST_S = 10.0


class Breaker:
    """Closed at first. After five failures in a row it opens for ten seconds; then one call may try.

    Times are seconds of one monotonic clock.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._closed_again = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it keeps failing, as far as is known: until one call has gone well."""
        return self._failures >= _FAILURES

    def allows(self, now: float) -> bool:
        """Tell whether a call may be made now."""
        return not self.is_open or now >= self._closed_again

    def begun(self, now: float) -> None:
        """Note that a call is made: while an open breaker is tried, no other call may try as well."""
        if self.is_open:
            self._closed_again = now + _REST_S

    def succeeded(self) -> None:
        """Note that a call went well."""
        self._failures = 0

    def failed(self, now: float) -> None:
        """Note that a call failed, in a way that is the server's fault."""
        self._failures += 1
        if self.is_open:
            self._closed_again = now + _REST_S
