"""Sorting more rows than memory should hold: sorted runs in temporary files, merged."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import BinaryIO, TypeVar

import msgspec

__all__ = ["in_order"]

_HELD = 100_000  # rows in memory at once: some 40 MB
_FRAME = 500  # rows that each run is read back by
_LENGTH_BYTES = 4

T = TypeVar("T", bound=tuple[object, ...])


def in_order(rows: Iterable[T], kind: type[T], *, held: int = _HELD) -> Iterator[T]:
    """Yield tuples of type `kind` in ascending order, with at most about `held` of them in memory."""
    rows = iter(rows)
    with ExitStack() as files:
        runs: list[Iterator[T]] = []
        while run := sorted(islice(rows, held)):
            if not runs and len(run) < held:
                yield from run
                return
            file = files.enter_context(tempfile.TemporaryFile(prefix="spendstream-"))
            _write(run, file)
            runs.append(_read(file, kind))
        yield from heapq.merge(*runs)


def _write(run: list[T], file: BinaryIO) -> None:
    encoder = msgspec.msgpack.Encoder()
    for start in range(0, len(run), _FRAME):
        frame = encoder.encode(run[start : start + _FRAME])
        file.write(len(frame).to_bytes(_LENGTH_BYTES, "big"))
        file.write(frame)
    file.seek(0)


def _read(file: BinaryIO, kind: type[T]) -> Iterator[T]:
    decoder = msgspec.msgpack.Decoder(list[kind])  # type: ignore[valid-type]
    while length := file.read(_LENGTH_BYTES):
        yield from decoder.decode(file.read(int.from_bytes(length, "big")))
