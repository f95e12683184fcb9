"""Failed attempts by address: whoever fails too often in a minute is told to wait.

Memory is bounded: of many addresses the one that began to fail first is forgotten first. An IPv6 network of
64 bits counts as one address, since a single host has all of it.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

__all__ = ["FailedAttempts"]

_MINUTE = 60_000_000
_MOST_ADDRESSES = 4096


class FailedAttempts:
    """Counts failures in the minute that begins with an address's first; `allowed` of them are borne."""

    def __init__(self, allowed: int, *, remembered: int = _MOST_ADDRESSES) -> None:
        self.allowed = allowed
        self._remembered = remembered
        self._failures: dict[str, tuple[int, int]] = {}

    def add(self, address: str, now: int) -> int:
        """Note a failure at `now` (microseconds), and return how many there were in this minute."""
        place = _network(address)
        since, count = self._failures.get(place, (now, 0))
        if now - since >= _MINUTE:
            since, count = now, 0
        if count == 0:
            self._failures.pop(place, None)  # it goes behind those that began before
            if len(self._failures) >= self._remembered:
                del self._failures[next(iter(self._failures))]
        self._failures[place] = since, count + 1
        return count + 1

    def wait(self, address: str, now: int) -> int:
        """Return the microseconds until the next failure would be borne again; 0 if it is now."""
        since, count = self._failures.get(_network(address), (now, 0))
        left = since + _MINUTE - now
        return left if count >= self.allowed and left > 0 else 0


def _network(address: str) -> str:
    """Return what stands for an address."""
    if ":" not in address:
        return address
    try:
        number = int(ip_address(address.partition("%")[0]))
    except ValueError:
        return address
    mapped = IPv6Address(number).ipv4_mapped
    return str(mapped) if mapped else str(IPv6Address(number >> 64 << 64))
