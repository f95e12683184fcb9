"""What the collector remembers over a restart: a small file that is replaced in one step."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import structlog

from spendstream.errors import TransientError
from spendstream.workloads.tenure import Billed

__all__ = ["Remembered"]

_log = structlog.get_logger()


class Remembered:
    """The file of one cluster in `directory`."""

    def __init__(self, directory: Path, cluster: str) -> None:
        self._path = directory / f"{cluster.encode().hex()}.billed"
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Billed).decode

    def load(self, now: int) -> Billed:
        """Return what was billed; nothing if that is not known: then billing begins at `now`."""
        try:
            return self._decode(self._path.read_bytes())
        except FileNotFoundError:
            return Billed.nothing(now)
        except (OSError, msgspec.DecodeError) as error:
            _log.error(
                "billing begins anew: what was billed cannot be read", path=str(self._path), why=str(error)
            )
            return Billed.nothing(now)

    def save(self, billed: Billed) -> None:
        """Write what was billed; it outlives the machine's crash. Raises TransientError."""
        draft = self._path.with_suffix(".draft")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(self._encode(billed))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
            _sync(self._path.parent)
        except OSError as error:
            raise TransientError(
                f"{self._path}: cannot be written: {error.strerror}", retry_after=1.0
            ) from error


def _sync(directory: Path) -> None:
    """Return when the names in a directory are on disk: else a crash can bring the file before back."""
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
