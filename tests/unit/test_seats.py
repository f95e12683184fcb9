"""A worker's seat is its own while it lives, and tells the next one who sat there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from stream_processors.seats import Seat

SIT = """
import pathlib, sys
from stream_processors.seats import Seat
seat = Seat(pathlib.Path(sys.argv[1]))
seat.take("killed")
print("sits", flush=True)
sys.stdin.read()
"""


def test_a_new_seat_has_no_predecessor(tmp_path: Path) -> None:
    seat = Seat(tmp_path / "workers")
    assert seat.predecessor == ""
    seat.leave()


def test_who_comes_back_is_told_the_last_one_who_sat_there(tmp_path: Path) -> None:
    seat = Seat(tmp_path)
    seat.take("a member with a long name")
    seat.take("another")
    seat.leave()
    again = Seat(tmp_path)
    assert again.predecessor == "another"
    again.leave()


def test_the_seat_of_a_worker_that_lives_is_not_taken_and_that_of_a_killed_one_is(tmp_path: Path) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", SIT, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert worker.stdout is not None
    assert worker.stdout.readline() == "sits\n"
    beside = Seat(tmp_path)
    assert beside.predecessor == ""
    worker.kill()
    worker.communicate()
    again = Seat(tmp_path)
    assert again.predecessor == "killed"
    again.leave()
    beside.leave()
