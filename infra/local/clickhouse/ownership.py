"""One owner for a data directory: a lock that vanishes with the process that holds it."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from spendstream.errors import AlreadyRunning, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LOCK_FILE", "owned"]

LOCK_FILE = "endpoint.lock"


@contextmanager
def owned(directory: Path) -> Iterator[None]:
    """Hold `directory`, made when missing, for as long as the context lasts.

    The kernel drops the lock when the process ends, in whichever way. Two engines on one directory would
    destroy its tables: the engine itself does not check.

    Raises ConfigError when the directory cannot be made or written, AlreadyRunning, with the owner's
    process id, when another process holds it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"data directory {directory}: {error.strerror}; choose another with --data-dir"
        raise ConfigError(message) from error
    try:
        _take(lock, directory)
        yield
    finally:
        os.close(lock)


def _take(lock: int, directory: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        message = (
            f"data directory {directory} is in use by process {owner}: "
            "stop that process or choose another --data-dir"
        )
        raise AlreadyRunning(message) from error
    with suppress(OSError):  # a full disk only costs the process id in another's message
        os.truncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
