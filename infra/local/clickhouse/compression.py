"""Request and response bodies in the encodings of HTTP that ClickHouse's clients use."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, cast

import lz4.frame
import zstandard

from infra.local.clickhouse.errors import Code, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["WORTH_COMPRESSING", "accepted", "compress", "decoder"]

#: Bodies of fewer bytes go out as they are.
WORTH_COMPRESSING: Final = 1024

# Clients of the same machine: speed counts for more than size.
_GZIP_LEVEL: Final = 1
_ZSTD_LEVEL: Final = 1
_GZIP_WINDOW: Final = 31  # the gzip container around deflate


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Lz4:
    """An LZ4 frame in the shape of zlib's compressors."""

    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor(auto_flush=True)
        self._header: bytes = self._frame.begin()

    def compress(self, data: bytes) -> bytes:
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


def decoder(source: io.RawIOBase, encoding: str) -> BinaryIO:
    """Return a reader of the decompressed bytes of `source`; frames that follow each other are read on.

    Reads return bounded pieces, so a small body that unfolds into a large one never sits in memory whole.
    Raises EngineError (NOT_IMPLEMENTED) for an encoding that is not known here.
    """
    buffered = io.BufferedReader(source, 1 << 16)
    match encoding.strip().lower():
        case "" | "identity":
            return buffered
        case "lz4":
            return cast("BinaryIO", lz4.frame.LZ4FrameFile(buffered))
        case "zstd":
            reader = zstandard.ZstdDecompressor().stream_reader(buffered, read_across_frames=True)
            return cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", reader), 1 << 16))
        case "gzip" | "x-gzip":
            return cast("BinaryIO", gzip.GzipFile(fileobj=buffered))
        case "deflate":
            return io.BufferedReader(_Inflated(buffered), 1 << 16)
    message = f"Content-Encoding {encoding[:20]} is not supported here: use zstd, lz4, gzip or deflate."
    raise EngineError.raised(Code.NOT_IMPLEMENTED, message)


class _Inflated(io.RawIOBase):
    """A deflate body as a file; the standard library has one for gzip only."""

    def __init__(self, source: BinaryIO) -> None:
        super().__init__()
        self._source = source
        self._inflate = zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        target = memoryview(cast("bytearray", buffer))
        while not self._inflate.eof:
            pending = self._inflate.unconsumed_tail or self._source.read(1 << 16)
            if data := self._inflate.decompress(pending, len(target)):
                target[: len(data)] = data
                return len(data)
            if not pending:
                raise EOFError
        return 0


#: What the decoders raise on a body that is not in its encoding.
DECODE_ERRORS: Final = (OSError, EOFError, RuntimeError, zlib.error, zstandard.ZstdError)


def undecodable(encoding: str, error: Exception) -> EngineError:
    """Return the error for a body that is not in the encoding that its header names."""
    return EngineError.raised(Code.CANNOT_DECOMPRESS, f"the body is not valid {encoding}: {error}.")
