"""How much memory our gateway holds over a million requests: its resident set, sampled while it answers them.

Every prompt is new, so that nothing that is kept for each of them can hide; each tenth part is streamed, and
holds fewer of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from rich.console import Console
from rich.progress import Progress

from benchmarks.children import peak_mib, tree_resident_mib
from benchmarks.ours import gateway
from benchmarks.peers.proxies import Door, leave_the_core
from benchmarks.proxying import CHAT, SHORT, ask, upstream
from benchmarks.reporting import Machine, at_least, machine, options, report
from benchmarks.sampling import Sample, growth_percent, table

_PARTS = 100
_STREAMED = 10  # each tenth part


class _Report(Struct, frozen=True, kw_only=True):
    """One run. `growth_percent` is how much the resident set grew over the last third of the requests."""

    machine: Machine
    requests: int
    peak_mib: int
    growth_percent: float
    samples: Sequence[Sample]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    asked = _options(argv)
    measured = report(lambda folder, bars: _run(asked.requests, folder, bars), _show, as_json=asked.json)
    return 0 if measured else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument(
        "--requests", type=at_least(1000 * _PARTS), default=1_000_000, help="how many requests, at least"
    )
    return parser.parse_args(argv)


def _run(requests: int, folder: Path, bars: Progress) -> _Report:
    where = machine()
    leave_the_core()
    with upstream(folder) as provider, gateway(provider.address, folder) as door:
        samples = _sampled(door, requests, bars)
        peak = peak_mib(door.pid)
        door.check(samples[-1].events)
    return _Report(
        machine=where,
        requests=samples[-1].events,
        peak_mib=round(peak),
        growth_percent=growth_percent(samples),
        samples=samples,
    )


def _sampled(door: Door, requests: int, bars: Progress) -> list[Sample]:
    """Return the gateway's memory after each part of the requests."""
    bar = bars.add_task("requests", total=requests)
    samples: list[Sample] = []
    began, done = time.monotonic(), 0
    while done < requests:
        kind = SHORT if len(samples) % _STREAMED == _STREAMED - 1 else CHAT
        done += ask(door, kind, round(requests * kind.share / _PARTS), first=done).requests
        seconds, mib = time.monotonic() - began, tree_resident_mib(door.pid)
        samples.append(Sample(seconds=round(seconds, 1), events=done, mib=round(mib)))
        bars.update(bar, completed=done)
    return samples


def _show(report: _Report, console: Console) -> None:
    console.print(table(report.samples, str(report.machine), "requests"))
    console.print(
        f"{report.requests:,} requests. Peak {report.peak_mib:,} MiB; "
        f"{report.growth_percent:+.1f} % over the last third of the requests."
    )


if __name__ == "__main__":
    sys.exit(main())
