"""Who sat here before: so that a worker that comes back can end its dead predecessor's membership at once.

To its consumer group, a worker that was killed lives until its session is over, and its successor waits for
as long. Workers on one data directory each take a seat of their own: a file that names the member, locked for
as long as the worker lives, however it ends. Whoever gets the lock knows that the member in the file is dead.
"""

from __future__ import annotations

import fcntl
from itertools import count
from pathlib import Path
from typing import IO

__all__ = ["Seat"]


class Seat:
    """The first free seat in `folder`, which is made if need be; `predecessor` is empty on a new one."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = next(file for number in count() if (file := _locked(folder / f"{number}.seat")))
        self.predecessor = self._file.read().strip()

    def take(self, member: str) -> None:
        """Remember who sits here, for the next one."""
        self._file.seek(0)
        self._file.truncate()
        self._file.write(member)
        self._file.flush()

    def leave(self) -> None:
        """Give the seat up, as the end of the process does."""
        self._file.close()


def _locked(path: Path) -> IO[str] | None:
    """Return the file with its lock, or None when another worker has it."""
    file = path.open("a+", encoding="utf-8")
    file.seek(0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
