"""Where the parts of a running local stack are: a small file that `spendstream up` leaves.

Other commands read it, so that they find the embedded parts without a setting.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

__all__ = ["Addresses", "announce", "find", "withdraw"]

_FILE = "running.json"


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """Where the parts answer; empty for a part that does not run."""

    pid: int
    kafka: str = ""
    clickhouse: str = ""
    gateway: str = ""


def announce(data_dir: Path, addresses: Addresses) -> None:
    """Write the addresses for other processes to find, in one step, so that none reads half a file."""
    data_dir.mkdir(parents=True, exist_ok=True)
    draft = data_dir / f".{_FILE}.{addresses.pid}"
    draft.write_bytes(msgspec.json.encode(addresses))
    draft.replace(data_dir / _FILE)


def withdraw(data_dir: Path) -> None:
    """Remove the file."""
    (data_dir / _FILE).unlink(missing_ok=True)


def find(data_dir: Path) -> Addresses | None:
    """Return the addresses of the stack that runs on `data_dir`, or None when none does."""
    with suppress(OSError, msgspec.DecodeError):
        addresses = msgspec.json.decode((data_dir / _FILE).read_bytes(), type=Addresses)
        os.kill(addresses.pid, 0)
        return addresses
    return None
