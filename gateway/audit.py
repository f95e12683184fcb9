"""The audit log on disk: sealed lines in files of bounded size, which are only ever appended to.

What happens is noted without waiting; a thread writes what has come together and syncs it once. An admin's
change waits for its line to be on disk, and is not made if that cannot be written.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import structlog

from spendstream.audit import Chain, read_line
from spendstream.errors import AlreadyRunning, ConfigError, TransientError

__all__ = ["Audit", "AuditLog", "NoAudit", "audit_lines"]

_MAX_BYTES = 16 << 20
_MOST_WAITING = 10_000  # what is lost beyond that is counted, and told in the log itself
_PATTERN = "audit-*.jsonl"

_log = structlog.get_logger()


class Audit(Protocol):
    """Keeps what happened. Fields never have secrets, nor texts of prompts."""

    def note(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Keep it as soon as may be, without waiting."""

    async def record(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Keep it for good before returning. Raises TransientError."""


class NoAudit:
    """Keeps nothing: a gateway that is part of something else."""

    def note(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Forget it."""

    async def record(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Forget it."""


class _Noted(NamedTuple):
    at: int
    kind: str
    fields: Mapping[str, Any]


class AuditLog:
    """The log in a directory, of which this object is the only writer from `open` to `close`.

    `clock` gives microseconds UTC.
    """

    def __init__(
        self, directory: Path, secret: str, clock: Callable[[], int], *, max_bytes: int = _MAX_BYTES
    ) -> None:
        self._directory = directory
        self._secret = secret
        self._clock = clock
        self._max_bytes = max_bytes
        self._waiting: list[_Noted] = []
        self._lost = 0
        self._writing: asyncio.Task[None] | None = None
        self._failure: OSError | None = None
        self._number, self._size, self._fd, self._lock = 0, 0, -1, -1
        self._chain = Chain(secret)

    def open(self) -> None:
        """Go on with what is there.

        Raises ConfigError when no files can be kept there, AlreadyRunning when another process keeps its own.
        """
        directory = self._directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._chain = self._resume()
        except BlockingIOError as error:
            os.close(self._lock)
            raise AlreadyRunning(
                f"another gateway keeps its audit log in {directory}: stop it first"
            ) from error
        except OSError as error:
            raise ConfigError(f"{directory}: cannot keep the audit log here: {error.strerror}") from error

    def note(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Have it written soon. What finds no room is counted as lost."""
        if len(self._waiting) >= _MOST_WAITING:
            self._lost += 1
            return
        self._waiting.append(_Noted(self._clock(), kind, fields))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())

    async def record(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Write it, and return when it is on disk. Raises TransientError if it cannot be."""
        self.note(kind, fields)
        if self._writing is not None:
            await asyncio.shield(self._writing)
        if self._failure is not None:
            raise TransientError(f"the audit log cannot be written: {self._failure.strerror}", retry_after=5)

    async def close(self) -> None:
        """Write what is waiting, and let go of the file."""
        if self._writing is not None:
            await self._writing
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                if self._lost:
                    batch.append(_Noted(self._clock(), "entries_lost", {"count": self._lost}))
                    self._lost = 0
                try:
                    await asyncio.to_thread(self._append, batch)
                    self._failure = None
                except OSError as error:
                    self._failure = error
                    self._lost += len(batch)
                    _log.error("audit log cannot be written", why=error.strerror, lost=len(batch))
        finally:
            self._writing = None

    def _append(self, batch: Sequence[_Noted]) -> None:
        """Write a batch and sync it; what could not be written whole is cut off again."""
        chain = Chain(self._secret, n=self._chain.n, previous=self._chain.previous)
        lines = b"".join(chain.line(*noted) + b"\n" for noted in batch)
        if self._fd < 0 or self._size >= self._max_bytes:
            self._begin_file()
        try:
            _write(self._fd, lines)
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(lines)
        self._chain = chain

    def _begin_file(self) -> None:
        path = self._directory / f"audit-{self._number + 1:08}.jsonl"
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size = fd, 0
        self._number += 1

    def _resume(self) -> Chain:
        """Go on where the last life ended; what it left of a half-written line is cut off."""
        found = sorted(self._directory.glob(_PATTERN))
        if not found:
            return Chain(self._secret)
        self._number = int(found[-1].stem.removeprefix("audit-"))
        path = found[-1]
        self._size = _cut_torn(path)
        last = _last_line(path) or (_last_line(found[-2]) if len(found) > 1 else b"")
        try:
            entry = read_line(last)
        except ValueError:
            _log.warning("the audit log does not end with an entry: run `spendstream audit verify`")
            return Chain(self._secret)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        return Chain(self._secret, n=entry.n, previous=entry.seal)


def audit_lines(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every line of the log in a directory, oldest first, with its place. Raises ConfigError."""
    for path in sorted(directory.glob(_PATTERN)):
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    yield f"{path.name}:{number}", line.rstrip(b"\n")
        except OSError as error:
            raise ConfigError(f"{path}: cannot read the audit log: {error.strerror}") from error


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _cut_torn(path: Path) -> int:
    """Cut off what follows the last whole line; return the bytes that are left."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        _log.warning("cut off a half-written line of the audit log", file=path.name, bytes=len(data) - whole)
        os.truncate(path, whole)
    return whole


def _last_line(path: Path) -> bytes:
    lines = path.read_bytes().splitlines()
    return lines[-1] if lines else b""
