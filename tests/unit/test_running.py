"""How commands find a running local stack: by a file that is whole, or not there."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from spendstream.running import Addresses, announce, find, withdraw

HERE = Addresses(pid=os.getpid(), kafka="127.0.0.1:9092", clickhouse="http://127.0.0.1:8123")


def test_what_was_announced_is_found_until_it_is_withdrawn(tmp_path: Path) -> None:
    data_dir = tmp_path / "not" / "made" / "yet"
    assert find(data_dir) is None
    announce(data_dir, HERE)
    assert find(data_dir) == HERE
    withdraw(data_dir)
    withdraw(data_dir)
    assert find(data_dir) is None
    assert list(data_dir.iterdir()) == []


def test_a_stack_that_was_killed_is_not_found(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    announce(tmp_path, Addresses(pid=killed.pid, kafka="127.0.0.1:9092"))
    assert find(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "me"}', "\xff"])
def test_a_damaged_file_is_no_stack(tmp_path: Path, text: str) -> None:
    announce(tmp_path, HERE)
    [file] = tmp_path.iterdir()
    file.write_text(text)
    assert find(tmp_path) is None


def test_nobody_ever_reads_half_a_file(tmp_path: Path) -> None:
    announce(tmp_path, HERE)
    other = Addresses(pid=os.getpid(), kafka="k" * 5000)
    done = threading.Event()

    def rewrite() -> None:
        for _ in range(200):
            announce(tmp_path, other)
            announce(tmp_path, HERE)
        done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    while not done.is_set():
        assert find(tmp_path) in (HERE, other)
    writer.join()
