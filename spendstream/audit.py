"""The audit log's lines: each is sealed together with the seal before it, so that tampering shows.

    {"n":7,"at":"2026-03-01T10:00:00.000000Z","kind":"key_refused",…,"previous":"<seal>","hmac":"<seal>"}

A seal is the HMAC-SHA256 of the line without it, keyed with the server's secret; where there is none, the
plain SHA-256, which whoever can write the file can make again. A line that is changed, removed or put in
between breaks the chain. Lines cut off at the end do not: note the last seal elsewhere now and then.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from spendstream.clock import from_micros

__all__ = ["BEGINNING", "Chain", "Entry", "Findings", "read_line", "verify"]

BEGINNING = "0" * 64
"""What takes the place of the seal before the first."""

_USE = b"spendstream audit log"
_SEAL_LENGTH = 64


class Entry(NamedTuple):
    """A line as it stands, whoever wrote it."""

    n: int
    previous: str
    seal: str
    keyed: bool
    fields: Mapping[str, Any]


class Findings(NamedTuple):
    """What came of a verification: the mistakes, how many entries there are, and the last of them."""

    mistakes: list[str]
    entries: int
    unkeyed: int
    last: Entry | None


class Chain:
    """Makes lines that follow one another."""

    def __init__(self, secret: str, *, n: int = 0, previous: str = BEGINNING) -> None:
        self._seal = _Seal(secret)
        self.n = n
        self.previous = previous

    def line(self, at: int, kind: str, fields: Mapping[str, Any]) -> bytes:
        """Return the line, without its end, of what happened at a time (microseconds since 1970 UTC)."""
        moment = from_micros(at).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.n += 1
        plain = msgspec.json.encode(
            {"n": self.n, "at": moment, "kind": kind, **fields, "previous": self.previous}
        )
        self.previous = self._seal.of(plain)
        return plain[:-1] + self._seal.before + self.previous.encode() + b'"}'


def read_line(line: bytes) -> Entry:
    """Return what a line says, without a look at its seal. Raises ValueError."""
    try:
        fields = msgspec.json.decode(line, type=dict[str, Any])
        keyed = "hmac" in fields
        seal = fields.pop("hmac" if keyed else "sha256")
        n, previous = fields["n"], fields.pop("previous")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError) as error:
        raise ValueError("it is no entry of the audit log") from error
    if not isinstance(n, int) or not isinstance(previous, str) or not isinstance(seal, str):
        raise ValueError("it is no entry of the audit log")  # noqa: TRY004 - of contents
    return Entry(n, previous, seal, keyed, fields)


def verify(lines: Iterable[tuple[str, bytes]], secret: str) -> Findings:
    """Check lines, each with the place where it stands, oldest first."""
    mistakes: list[str] = []
    entries = unkeyed = 0
    last: Entry | None = None
    for place, line in lines:
        entries += 1
        try:
            entry = read_line(line)
        except ValueError as error:
            mistakes.append(f"{place}: {error}")
            continue
        unkeyed += not entry.keyed
        mistakes += [f"{place}: entry {entry.n} {what}" for what in _wrong(entry, last, line, secret)]
        last = entry
    return Findings(mistakes, entries, unkeyed, last)


def _wrong(entry: Entry, last: Entry | None, line: bytes, secret: str) -> Iterator[str]:
    if entry.keyed and not secret:
        yield "is sealed with the key_secret, which is not set here"
    else:
        seal = _Seal(secret if entry.keyed else "")
        plain = line[: -len(seal.before) - _SEAL_LENGTH - len(b'"}')] + b"}"
        if not hmac.compare_digest(seal.of(plain), entry.seal.encode("ascii", "replace").decode()):
            yield "was changed: its seal does not fit it"
    if last is None:
        if entry.n == 1 and entry.previous != BEGINNING:
            yield "is not the first: it names one before it"
        return
    if entry.n != last.n + 1:
        yield f"follows entry {last.n}: entries are missing, or were moved"
    elif entry.previous != last.seal:
        yield f"does not continue entry {last.n}: one of them was replaced"
    if last.keyed and not entry.keyed:
        yield "is sealed without the key_secret, and the one before it was with it"


class _Seal:
    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), _USE, "sha256") if secret else b""
        self.before = b',"hmac":"' if secret else b',"sha256":"'

    def of(self, plain: bytes) -> str:
        if self._key:
            return hmac.digest(self._key, plain, "sha256").hex()
        return sha256(plain).hexdigest()
