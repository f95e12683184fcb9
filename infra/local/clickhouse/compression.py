"""Request and response bodies in the encodings of HTTP that ClickHouse's clients use."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, cast

import lz4.frame
import zstandard

from infra.local.clickhouse.errors import Code, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["WORTH_COMPRESSING", "Readable", "accepted", "compress", "decoder"]

#: Bodies of fewer bytes go out as they are.
WORTH_COMPRESSING: Final = 1024

# Clients of the same machine: speed counts for more than size.
_GZIP_LEVEL: Final = 1
_ZSTD_LEVEL: Final = 1
_INPUT_BYTES: Final = 1 << 16
_GZIP_WINDOW: Final = 31  # the gzip container around deflate


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Lz4:
    """An LZ4 frame in the shape of zlib's compressors."""

    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor(auto_flush=True)
        self._header: bytes = self._frame.begin()

    def compress(self, data: bytes, /) -> bytes:
        header, self._header = self._header, b""
        return header + cast("bytes", self._frame.compress(data))

    def flush(self) -> bytes:
        header, self._header = self._header, b""
        return header + cast("bytes", self._frame.flush())


_COMPRESSORS: Final[dict[str, Callable[[], _Compressor]]] = {
    "lz4": _Lz4,
    "zstd": lambda: cast("_Compressor", zstandard.ZstdCompressor(_ZSTD_LEVEL).compressobj()),
    "gzip": lambda: cast("_Compressor", zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WINDOW)),
    "deflate": lambda: cast("_Compressor", zlib.compressobj(_GZIP_LEVEL)),
}


def accepted(header: str) -> str:
    """Return the best encoding that an Accept-Encoding header allows, "" for none that is known here."""
    offered = {}
    for part in header.split(","):
        name, _, quality = part.partition(";")
        offered[name.strip().lower()] = quality.replace(" ", "") not in {"q=0", "q=0.0"}
    return next((encoding for encoding in _COMPRESSORS if offered.get(encoding)), "")


def compress(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Yield `pieces` compressed; each comes out as soon as it can, so that a stream stays one."""
    compressor = _COMPRESSORS[encoding]()
    for piece in pieces:
        if packed := compressor.compress(piece):
            yield packed
    yield compressor.flush()


class Readable(Protocol):
    """Where bytes are read from: at most `size` at a time, none at the end."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""


def decoder(source: Readable, encoding: str) -> Readable:
    """Return a reader of the decompressed bytes of `source`; frames that follow each other are read on.

    Reads return bounded pieces, so a small body that unfolds into a large one never sits in memory whole.
    Raises EngineError: NOT_IMPLEMENTED for an encoding that is not known here, CANNOT_DECOMPRESS, on
    reading, for bytes that are not in it.
    """
    file = cast("BinaryIO", source)
    match encoding.strip().lower():
        case "" | "identity":
            return source
        case "lz4":
            return _Decoded(lz4.frame.LZ4FrameFile(file), encoding)
        case "zstd":
            reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            return _Decoded(reader, encoding)
        case "gzip" | "x-gzip":
            return _Decoded(gzip.GzipFile(fileobj=file), encoding)
        case "deflate":
            return _Decoded(_Inflated(source), encoding)
    message = f"Content-Encoding {encoding[:20]} is not supported here: use zstd, lz4, gzip or deflate."
    raise EngineError.raised(Code.NOT_IMPLEMENTED, message)


class _Decoded:
    """A decoder whose complaints are errors of ClickHouse."""

    def __init__(self, reader: Readable, encoding: str) -> None:
        self._reader = reader
        self._encoding = encoding

    def read(self, size: int, /) -> bytes:
        try:
            return self._reader.read(size)
        except (OSError, EOFError, RuntimeError, zlib.error, zstandard.ZstdError) as error:
            message = f"The body is not valid {self._encoding}: {error}."
            raise EngineError.raised(Code.CANNOT_DECOMPRESS, message) from error


class _Inflated:
    """A deflate body; the standard library has files for gzip only."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._inflate = zlib.decompressobj()

    def read(self, size: int, /) -> bytes:
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._source.read(_INPUT_BYTES)
            if data := self._inflate.decompress(packed, size):
                return data
            if not packed:
                raise EOFError("it ends early")
        return b""
