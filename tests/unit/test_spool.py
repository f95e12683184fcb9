"""The journal: what goes in comes out in order, what is released is gone, a crash costs only torn bytes."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from spendstream.adapters.spool import Spool, sync
from spendstream.errors import AlreadyRunning, TransientError

_ROOM = 1 << 20
_HEADER_BYTES = 8

payloads = st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=20)


def drain(spool: Spool, max_bytes: int = 256) -> list[bytes]:
    """Read and release until nothing is owed."""
    found = []
    while (chunk := spool.read(max_bytes)).payloads:
        found += chunk.payloads
        spool.release(chunk)
    return found


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.frames"))


@given(payloads, st.integers(1, 2_000), st.integers(1, 600))
def test_frames_come_out_once_in_the_order_they_went_in(frames, segment_bytes, max_bytes):
    with TemporaryDirectory() as directory:
        spool = Spool(Path(directory), max_bytes=_ROOM, segment_bytes=segment_bytes)
        for frame in frames:
            spool.append(frame)

        assert spool.owed_frames == len(frames)
        assert drain(spool, max_bytes) == frames
        assert (spool.owed_frames, spool.owed_bytes) == (0, 0)
        spool.close()
        assert segments(Path(directory)) == []


@given(payloads, st.integers(1, 1_000), st.data())
def test_a_crash_at_any_byte_of_the_last_segment_loses_only_the_torn_frame(frames, segment_bytes, data):
    with TemporaryDirectory() as name:
        directory = Path(name)
        spool = Spool(directory, max_bytes=_ROOM, segment_bytes=segment_bytes)
        for frame in frames:
            spool.append(frame)
        spool.close()
        last = segments(directory)[-1]
        before = sum(path.stat().st_size for path in segments(directory)[:-1])
        cut = data.draw(st.integers(0, last.stat().st_size))
        os.truncate(last, cut)

        spool = Spool(directory, max_bytes=_ROOM)
        ends = [sum(_HEADER_BYTES + len(f) for f in frames[: i + 1]) for i in range(len(frames))]
        whole = [frame for frame, end in zip(frames, ends, strict=True) if end <= before + cut]
        survivors = drain(spool)
        spool.close()

    assert survivors == whole
    assert spool.cut_bytes == before + cut - sum(_HEADER_BYTES + len(frame) for frame in whole)


@given(payloads, st.binary(min_size=1, max_size=40))
def test_garbage_after_the_last_frame_is_cut_off(frames, garbage):
    with TemporaryDirectory() as name:
        directory = Path(name)
        spool = Spool(directory, max_bytes=_ROOM)
        for frame in frames:
            spool.append(frame)
        spool.close()
        with segments(directory)[-1].open("ab") as file:
            file.write(b"\xff" + garbage)  # the length it claims is never there

        spool = Spool(directory, max_bytes=_ROOM)
        assert drain(spool) == frames
        assert spool.cut_bytes == 1 + len(garbage)
        spool.close()


def test_a_tail_of_zeros_as_a_power_cut_leaves_it_is_no_frame(tmp_path):
    spool = Spool(tmp_path, max_bytes=_ROOM)
    spool.append(b"whole")
    spool.close()
    with segments(tmp_path)[-1].open("ab") as file:
        file.write(bytes(4096))

    spool = Spool(tmp_path, max_bytes=_ROOM)
    assert drain(spool) == [b"whole"]
    spool.close()


def test_frames_of_an_earlier_life_come_before_new_ones(tmp_path):
    for life in (b"first", b"second", b"third"):
        spool = Spool(tmp_path, max_bytes=_ROOM)
        spool.append(life)
        spool.close()

    spool = Spool(tmp_path, max_bytes=_ROOM)
    spool.append(b"fourth")
    assert drain(spool) == [b"first", b"second", b"third", b"fourth"]
    spool.close()


def test_what_is_not_released_is_read_again(tmp_path):
    spool = Spool(tmp_path, max_bytes=_ROOM)
    spool.append(b"a")
    assert spool.read(100).payloads == [b"a"]
    spool.append(b"b")
    assert spool.read(100).payloads == [b"a", b"b"]
    spool.close()


def test_a_full_spool_refuses_and_takes_again_once_frames_are_released(tmp_path):
    spool = Spool(tmp_path, max_bytes=1_000)
    for _ in range(9):
        spool.append(bytes(100))
    with pytest.raises(TransientError, match="is full") as full:
        spool.append(bytes(100))
    assert full.value.retry_after > 0
    assert spool.owed_frames == 9
    assert sum(path.stat().st_size for path in segments(tmp_path)) <= 1_000

    spool.release(spool.read(500))
    spool.append(b"room again")
    assert drain(spool)[-1] == b"room again"
    spool.close()


def test_a_frame_larger_than_a_segment_is_kept_whole(tmp_path):
    spool = Spool(tmp_path, max_bytes=_ROOM, segment_bytes=100)
    big = os.urandom(5_000)
    for frame in (b"small", big, b"small"):
        spool.append(frame)
    assert drain(spool, 10) == [b"small", big, b"small"]
    spool.close()


def test_a_full_disk_refuses_the_event_and_leaves_no_half_frame(tmp_path, monkeypatch):
    spool = Spool(tmp_path, max_bytes=_ROOM)
    spool.append(b"before")
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[: len(data) // 2]))
    with pytest.raises(TransientError, match="No space left"):
        spool.append(b"does not fit")

    monkeypatch.setattr(os, "write", Mock(side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    with pytest.raises(TransientError, match="No space left"):
        spool.append(b"does not fit")
    monkeypatch.undo()
    spool.append(b"after")
    assert drain(spool) == [b"before", b"after"]
    spool.close()


def test_a_directory_has_one_owner_at_a_time(tmp_path):
    first = Spool(tmp_path, max_bytes=_ROOM)
    with pytest.raises(AlreadyRunning, match="another process owns this spool"):
        Spool(tmp_path, max_bytes=_ROOM)
    first.close()
    Spool(tmp_path, max_bytes=_ROOM).close()


def test_syncing_costs_nothing_while_frames_come_and_go(tmp_path):
    spool = Spool(tmp_path, max_bytes=_ROOM, segment_bytes=50)
    descriptors = []
    for number in range(10):
        spool.append(b"%d" % number * 20)
        descriptors += spool.unsynced()
    assert len(drain(spool)) == 10
    sync(descriptors)
    spool.append(b"later")
    assert drain(spool) == [b"later"]
    spool.close()


class SpoolModel(RuleBasedStateMachine):
    """Appends, reads, releases and crashes in any order, against a list."""

    def __init__(self):
        super().__init__()
        self.directory = TemporaryDirectory()
        self.owed: list[bytes] = []
        self.open()

    def open(self):
        self.spool = Spool(Path(self.directory.name), max_bytes=2_000, segment_bytes=150)

    @rule(payload=st.binary(min_size=1, max_size=120))
    def append(self, payload):
        try:
            self.spool.append(payload)
        except TransientError:
            return
        self.owed.append(payload)

    @precondition(lambda self: self.owed)
    @rule(max_bytes=st.integers(1, 500))
    def ship(self, max_bytes):
        chunk = self.spool.read(max_bytes)
        assert chunk.payloads == self.owed[: len(chunk.payloads)] != []
        self.spool.release(chunk)
        del self.owed[: len(chunk.payloads)]

    @rule()
    def restart(self):
        """Released frames of a file that still exists come again; nothing that is owed is missing."""
        owed = len(self.owed)
        self.spool.close()
        self.open()
        again = self.spool.owed_frames - owed
        while again:
            chunk = self.spool.read(1)
            self.spool.release(chunk)
            again -= 1

    @invariant()
    def bounded(self):
        assert sum(path.stat().st_size for path in segments(Path(self.directory.name))) <= 2_000
        assert self.spool.owed_frames == len(self.owed)
        assert self.spool.owed_bytes == sum(_HEADER_BYTES + len(payload) for payload in self.owed)

    def teardown(self):
        assert drain(self.spool) == self.owed
        self.spool.close()
        self.directory.cleanup()


TestSpoolModel = SpoolModel.TestCase
