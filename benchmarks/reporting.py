"""What all benchmarks share at their edges: options, progress, the machine, and how a report is printed."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.children import BenchmarkError
from spendstream.errors import SpendstreamError

__all__ = ["Machine", "at_least", "machine", "options", "report"]

R = TypeVar("R", bound=Struct)


class Machine(Struct, frozen=True, kw_only=True):
    """Where a figure was measured; `cores` are those that the benchmark may use."""

    processor: str
    cores: int
    python: str

    def __str__(self) -> str:
        return f"{self.cores} cores of {self.processor}, Python {self.python}"


def machine() -> Machine:
    """Return the machine that this runs on."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in cpus if line.startswith("model name")]
    return Machine(
        processor=names[0] if names else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
    )


def options(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def at_least(least: int) -> Callable[[str], int]:
    """Return a type of option: whole numbers from `least` up."""

    def whole(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is too few: expected {least} or more")
        return number

    return whole


def report(
    measure: Callable[[Path, Progress], R], show: Callable[[R, Console], None], *, as_json: bool
) -> R | None:
    """Measure in a folder that is gone afterwards, with progress on standard error; print the report.

    Returns the report, or None and one line on standard error when something could not be measured.
    """
    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=Console(stderr=True),
    )  # fmt: skip
    try:
        with tempfile.TemporaryDirectory(prefix="spendstream-benchmark-") as folder, bars:
            measured = measure(Path(folder), bars)
    except (BenchmarkError, SpendstreamError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return None
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(measured)).decode())
    else:
        show(measured, Console())
    return measured
