"""Processes that a benchmark starts, waits for, measures and ends, each by its own id. Linux only: /proc."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.local.broker import die_with_parent

__all__ = ["BenchmarkError", "Child", "cpu_seconds", "peak_mib"]

_READY_S = 120.0  # a stock Faust with tables takes half a minute
_STOP_S = 8.0
_POLL_S = 0.02
_LAST_WORDS = 12  # lines of a log
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchmarkError(Exception):
    """A figure could not be measured, or what was measured is not what was asked for."""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time, user and system, that a process has used so far, in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS  # utime and stime, see proc(5)


def peak_mib(pid: int) -> float:
    """Return the most memory that a process has held so far, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[0]) / 1024


class Child:
    """A Python process for the length of a `with` block; `address` is what its ready line says.

    Its output goes to `folder`/`name`.log. Raises BenchmarkError when it ends before it is ready.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], *, ready: str, folder: Path, env: Mapping[str, str]
    ) -> None:
        self.name = name
        self.address = ""
        self._arguments = arguments
        self._ready = re.compile(ready)
        self._folder = folder
        self._env = {**os.environ, **env, "PYTHONUNBUFFERED": "1"}
        self._log = folder / f"{name}.log"

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._arguments],
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call, no lock: safe with threads
            )
        try:
            self.address = self._await_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def check(self) -> None:
        """Raise BenchmarkError with its last words if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise self._failure(f"ended with exit code {code}")

    def _await_ready(self) -> str:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            match = self._ready.search(self._log.read_text(errors="replace"))
            if match:
                return match[1]
            self.check()
            time.sleep(_POLL_S)
        raise self._failure(f"was not ready after {_READY_S:.0f} s")

    def _failure(self, what: str) -> BenchmarkError:
        words = self._log.read_text(errors="replace").splitlines()[-_LAST_WORDS:]
        return BenchmarkError("\n".join([f"{self.name} {what}:", *words]))

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
