"""Processes that a benchmark starts, waits for, measures and ends, each by its own id. Linux only: /proc."""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.local.broker import die_with_parent

__all__ = [
    "BenchmarkError",
    "Child",
    "cpu_seconds",
    "free_port",
    "peak_mib",
    "resident_mib",
    "tree_cpu_seconds",
    "tree_resident_mib",
]

_READY_S = 120.0  # a stock Faust with tables takes half a minute
_STOP_S = 8.0
_POLL_S = 0.02
_LAST_WORDS = 12  # lines of a log
_TICKS = os.sysconf("SC_CLK_TCK")
_HOST = "127.0.0.1"
_PORTS = range(20_000, 32_000)  # below the ports that Linux gives to clients, so that a restart finds its own


class BenchmarkError(Exception):
    """A figure could not be measured, or what was measured is not what was asked for."""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time, user and system, that a process has used so far, in all its threads."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS  # utime and stime, see proc(5)


def peak_mib(pid: int) -> float:
    """Return the most memory that a process has held so far, in MiB."""
    return _memory_mib(pid, "VmHWM")


def resident_mib(pid: int) -> float:
    """Return the memory that a process holds now, in MiB."""
    return _memory_mib(pid, "VmRSS")


def tree_cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and all its descendants have used so far."""
    return sum(cpu_seconds(member) + _reaped_cpu_seconds(member) for member in _tree(pid))


def tree_resident_mib(pid: int) -> float:
    """Return the memory that a process and its descendants hold now, in MiB; shared pages count for each."""
    return sum(resident_mib(member) for member in _tree(pid))


def _reaped_cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[13]) + int(fields[14])) / _TICKS  # cutime and cstime, see proc(5)


def _tree(pid: int) -> list[int]:
    """Return a process and its descendants that live."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has ended meanwhile
                children.setdefault(int(_stat(int(folder.name))[1]), []).append(int(folder.name))
    found = [pid]
    for member in found:  # grows as it goes
        found += children.get(member, [])
    return found


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on: state, parent, and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _memory_mib(pid: int, name: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)[0]) / 1024


def free_port() -> int:
    """Return a port of loopback that nobody listens on, and that stays ours over a restart."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((_HOST, port))
            return port


class Child:
    """A process for the length of a `with` block; `address` is what the first group in its ready line says.

    It can be killed and started again. Its output, over all its lives, goes to `folder`/`name`.log. It runs
    Python unless another `program` is named. Raises BenchmarkError when it ends before it is ready.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        ready: str,
        folder: Path,
        env: Mapping[str, str],
        program: str = sys.executable,
    ) -> None:
        self.name = name
        self.address = ""
        self._command = [program, *arguments]
        self._ready = re.compile(ready)
        self._folder = folder
        self._env = {**os.environ, **env, "PYTHONUNBUFFERED": "1"}
        self._log = folder / f"{name}.log"

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll()

    def __enter__(self) -> Self:
        self.launch()
        try:
            return self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def launch(self) -> None:
        """Start it, and do not wait."""
        self._start = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call, no lock: safe with threads
            )

    def wait_ready(self) -> Self:
        """Wait for the ready line, and take the address from it."""
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            match = self._ready.search(self.said())
            if match:
                self.address = match[1]
                return self
            self.check()
            time.sleep(_POLL_S)
        raise self.failure(f"was not ready after {_READY_S:.0f} s")

    def check(self) -> None:
        """Raise BenchmarkError with its last words if the process has ended."""
        if self.ended is not None:
            raise self.failure(f"ended with exit code {self.ended}")

    def said(self) -> str:
        """Return what this life of it has written."""
        with self._log.open("rb") as log:
            log.seek(self._start)
            return log.read().decode(errors="replace")

    def failure(self, what: str) -> BenchmarkError:
        """Return an error with its last words."""
        return BenchmarkError("\n".join([f"{self.name} {what}:", *self.said().splitlines()[-_LAST_WORDS:]]))

    def kill(self) -> None:
        """End it as kill -9 does."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ask it to finish, and kill it when that takes long."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
