"""A bounded journal on disk: frames go in at one end, and leave it in the same order once they are released.

A directory holds numbered segment files; a segment is a row of frames, each `length, crc32, payload` (two
little-endian 32-bit integers, then the bytes). A frame is appended by one write(2), so it outlives the death
of the process from then on; `unsynced` and `sync` make it outlive the machine's. What a crash left
of a half-written frame is cut off when the directory is opened again, and nothing else is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections import deque
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from msgspec import Struct

from spendstream.errors import AlreadyRunning, ConfigError, TransientError

__all__ = ["Chunk", "Spool", "sync"]

_HEADER = struct.Struct("<II")
_SUFFIX = ".frames"
_LOCK = "owner.lock"
_SEGMENT_BYTES = 8 << 20
_SEGMENTS_AT_LEAST = 4  # so that a small bound is not one segment, freed only when all of it is released
_RETRY_S = 1.0


class Chunk(Struct, frozen=True):
    """Payloads of successive frames, oldest first, and the bytes their frames take."""

    payloads: list[bytes]
    size: int


class _Segment(Struct):
    number: int
    path: Path
    size: int = 0
    frames: int = 0


class Spool:
    """The frames in one directory, of which this object is the only owner until `close`.

    It is not safe for threads. Raises AlreadyRunning when another process (or object) owns the directory,
    ConfigError when no files can be kept there.
    """

    def __init__(self, directory: Path, *, max_bytes: int, segment_bytes: int = _SEGMENT_BYTES) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._segment_bytes = max(1, min(segment_bytes, max_bytes // _SEGMENTS_AT_LEAST))
        self._segments: deque[_Segment] = deque()
        self._retired: list[int] = []
        self._read_offset = 0  # in the first segment: up to there everything is released
        self._fd = self._lock = -1
        self.cut_bytes = 0
        """What was cut off at the segments' ends when the directory was opened."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = _take(directory)
            self._find_left_over()
            self._begin_segment()
        except OSError as error:
            if self._lock >= 0:
                os.close(self._lock)
            raise ConfigError(f"{directory}: cannot keep a spool here: {error.strerror}") from error
        self.owed_frames = sum(segment.frames for segment in self._segments)
        """Frames that are not released."""
        self._disk_bytes = sum(segment.size for segment in self._segments)

    @property
    def free_bytes(self) -> int:
        """How much more may be appended now, each frame's header included."""
        return self._max_bytes - self._disk_bytes

    @property
    def owed_bytes(self) -> int:
        """The bytes on disk of frames that are not released."""
        return self._disk_bytes - self._read_offset

    def append(self, payload: bytes) -> None:
        """Write one frame behind all others.

        Raises TransientError, and leaves the journal as it was, when it has no room or the disk is full.
        """
        if not payload:
            raise ValueError("a frame cannot be empty")
        frame = _HEADER.pack(len(payload), crc32(payload)) + payload
        size = len(frame)
        if self._disk_bytes + size > self._max_bytes:
            raise TransientError(
                f"{self._directory}: the spool is full ({self._disk_bytes} of {self._max_bytes} bytes): "
                "Kafka is away or too slow; see spool_max_bytes",
                retry_after=_RETRY_S,
            )
        try:
            active = self._segment_for(size)
            self._write(frame, active.size)
        except OSError as error:
            reason = f"{self._directory}: cannot write to the spool: {error.strerror}"
            raise TransientError(reason, retry_after=_RETRY_S) from error
        active.size += size
        active.frames += 1
        self._disk_bytes += size
        self.owed_frames += 1

    def read(self, max_bytes: int) -> Chunk:
        """Return the oldest frames that are not released: at most `max_bytes` of them, but at least one.

        The chunk ends with its segment; it is empty when nothing is owed.
        """
        self._drop_released()
        segment = self._segments[0]
        with segment.path.open("rb") as file:
            file.seek(self._read_offset)
            data = file.read(min(max(max_bytes, _HEADER.size), segment.size - self._read_offset))
            if len(data) >= _HEADER.size:
                missing = _HEADER.size + _HEADER.unpack_from(data)[0] - len(data)
                data += file.read(max(missing, 0))
        payloads, size = _frames(data)
        return Chunk(payloads, size)

    def release(self, chunk: Chunk) -> None:
        """Forget the frames of `chunk`, the last that `read` returned; a file goes with its last frame."""
        self._read_offset += chunk.size
        self.owed_frames -= len(chunk.payloads)
        self._drop_released()
        if not self.owed_frames:
            self._empty_active()

    def unsynced(self) -> list[int]:
        """Return file descriptors for `sync`, which closes them; call this where `append` is called."""
        retired, self._retired = self._retired, []
        return [*retired, os.dup(self._fd)]

    def close(self) -> None:
        """Give the directory up. What is owed stays in it."""
        sync(self.unsynced())
        os.close(self._fd)
        os.close(self._lock)
        self._fd = -1
        if not self.owed_frames:
            self._segments[-1].path.unlink()

    def _find_left_over(self) -> None:
        """Take over the segments of earlier lives, with what is torn cut off."""
        for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
            payloads, size = _frames(path.read_bytes(), verify=True)
            self.cut_bytes += path.stat().st_size - size
            if payloads:
                os.truncate(path, size)
                self._segments.append(_Segment(int(path.stem), path, size, len(payloads)))
            else:
                path.unlink()

    def _segment_for(self, size: int) -> _Segment:
        """Return the segment to write `size` bytes to."""
        active = self._segments[-1]
        if not active.size or active.size + size <= self._segment_bytes:
            return active
        full = self._fd
        active = self._begin_segment()
        self._retired.append(full)
        return active

    def _begin_segment(self) -> _Segment:
        number = self._segments[-1].number + 1 if self._segments else 1
        path = self._directory / f"{number:020}{_SUFFIX}"
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        segment = _Segment(number, path)
        self._segments.append(segment)
        with suppress(OSError):
            self._retired.append(os.open(self._directory, os.O_RDONLY))  # `sync` makes the name durable
        return segment

    def _write(self, frame: bytes, end: int) -> None:
        if os.write(self._fd, frame) < len(frame):
            os.ftruncate(self._fd, end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _drop_released(self) -> None:
        """Delete segments of which nothing is owed, except the one that is written to."""
        while len(self._segments) > 1 and self._read_offset >= self._segments[0].size:
            gone = self._segments.popleft()
            gone.path.unlink()
            self._disk_bytes -= gone.size
            self._read_offset = 0

    def _empty_active(self) -> None:
        active = self._segments[-1]
        os.ftruncate(self._fd, 0)
        active.size = active.frames = 0
        self._disk_bytes = self._read_offset = 0


def sync(descriptors: list[int]) -> None:
    """Write the files behind `descriptors` through to the disk, and close them. It may take long."""
    for descriptor in descriptors:
        with suppress(OSError):
            os.fdatasync(descriptor)
        os.close(descriptor)


def _take(directory: Path) -> int:
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise AlreadyRunning(
            f"{directory}: another process owns this spool: stop it, or give each its own directory"
        ) from error
    return lock


def _frames(data: bytes, *, verify: bool = False) -> tuple[list[bytes], int]:
    """Return the payloads of the whole frames at the start of `data`, and where the last of them ends."""
    payloads, start = [], 0
    while start + _HEADER.size <= len(data):
        length, checksum = _HEADER.unpack_from(data, start)
        end = start + _HEADER.size + length
        payload = data[start + _HEADER.size : end]
        if not length or end > len(data) or (verify and crc32(payload) != checksum):
            break
        payloads.append(payload)
        start = end
    return payloads, start
