"""Files as they come: plain, gzip or Zstandard, told by their first bytes and not by their names."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
from msgspec import Struct

from spendstream.errors import RecordingError

__all__ = ["PARQUET_MAGIC", "Contents", "blocks", "contents", "first_bytes", "text_lines"]

PARQUET_MAGIC = b"PAR1"

_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_BLOCK = 1 << 20
_LONGEST_LINE = 1 << 20  # a longer one is cut, and then is a malformed row and not a full memory


class Contents(Struct, frozen=True, kw_only=True):
    """What a file holds after decompression: BLAKE2b digest of the bytes, and number of lines."""

    digest: bytes
    lines: int


def first_bytes(path: Path) -> bytes:
    """Return the start of the decompressed contents, at most a block; raise RecordingError."""
    return next(blocks(path), b"")


def contents(path: Path) -> Contents:
    """Read a file once and return what it holds; raise RecordingError."""
    digest, lines, last = blake2b(), 0, b"\n"
    for block in blocks(path):
        digest.update(block)
        lines += block.count(b"\n")
        last = block[-1:]
    return Contents(digest=digest.digest(), lines=lines + (last != b"\n"))


def blocks(path: Path) -> Iterator[bytes]:
    """Yield the decompressed contents in blocks of a megabyte; raise RecordingError."""
    with _opened(path) as raw:
        while block := raw.read(_BLOCK):
            yield block


def text_lines(path: Path) -> Iterator[str]:
    """Yield the decompressed contents as lines of UTF-8 with their line ends; raise RecordingError."""
    with _opened(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
        while line := text.readline(_LONGEST_LINE):
            yield line


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading through its decompressor, and turn every failure into a RecordingError.

    Arrow reads both compressions, in several members too, and notices a file that was cut off.
    """
    try:
        if not path.is_file():
            raise RecordingError(f"{path}: expected a file, found {_what_is(path)}")
        with path.open("rb") as plain:
            start = plain.read(4)
        compression = next((name for magic, name in _COMPRESSIONS.items() if start.startswith(magic)), None)
        with pa.input_stream(str(path), compression=compression) as stream:
            yield stream
    except UnicodeDecodeError as error:
        raise RecordingError(f"{path}: expected UTF-8 text: {error}") from error
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error}") from error


def _what_is(path: Path) -> str:
    if not path.exists():
        return "nothing there"
    return "a directory" if path.is_dir() else "something that cannot be read twice, such as a pipe"
