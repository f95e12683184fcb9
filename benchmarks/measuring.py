"""What a peer does per second and per event, from two looks at its counter and at the processes' CPU time.

The first look is when the first events are done, the last when all are: starting up, joining the group and
recovering are left out, for everyone. What a peer has fetched by the first look is to its advantage, and
weighs less the more events there are.
"""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable, Mapping

from msgspec import Struct

from benchmarks.children import BenchmarkError, Child, cpu_seconds, peak_mib

__all__ = ["Figures", "count", "measure"]

_POLL_S = 0.05
_PATIENCE_S = 60.0  # without any progress


class Figures(Struct, frozen=True, kw_only=True):
    """One peer's figures.

    CPU is in microseconds of user and system time for each event, by process; memory is the peer's peak.
    """

    peer: str
    events: int
    measured_events: int
    seconds: float
    events_per_second: float
    cpu_us_per_event: Mapping[str, float]
    peak_mib: int


class _Look(Struct, frozen=True):
    at: float
    events: int
    cpu: Mapping[str, float]


def measure(
    peer: str, child: Child, counter: str, events: int, pids: Mapping[str, int], told: Callable[[int], None]
) -> Figures:
    """Watch `child` until it has done `events`; `told` hears how many are done.

    Raises BenchmarkError when nothing moves for a minute, or when it was too fast to be seen twice.
    """
    first = last = None
    moved = time.monotonic()
    while last is None or last.events < events:
        child.check()
        done = count(child.address, counter)
        look = _Look(time.monotonic(), done, {name: cpu_seconds(pid) for name, pid in pids.items()})
        if done and (last is None or done > last.events):
            told(done)
            first, last, moved = first or look, look, look.at
        elif look.at - moved > _PATIENCE_S:
            raise BenchmarkError(f"{peer}: {done:,} of {events:,} events after {_PATIENCE_S:.0f} s")
        time.sleep(_POLL_S)
    return _between(peer, events, first, last, round(peak_mib(child.pid)))


def _between(peer: str, events: int, first: _Look | None, last: _Look, peak: int) -> Figures:
    if first is None or last.events == first.events:
        raise BenchmarkError(f"{peer}: done before it could be measured: use more --events")
    done, seconds = last.events - first.events, last.at - first.at
    return Figures(
        peer=peer,
        events=events,
        measured_events=done,
        seconds=round(seconds, 3),
        events_per_second=round(done / seconds),
        cpu_us_per_event={
            name: round((used - first.cpu[name]) * 1e6 / done, 2) for name, used in last.cpu.items()
        },
        peak_mib=peak,
    )


def count(url: str, counter: str) -> int:
    """Return the sum of a metric over its labels; 0 before it is there, and when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  # a child's own address
            text = answer.read().decode()
    except OSError:
        return 0
    samples = re.findall(rf"^{counter}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
    return sum(int(float(sample)) for sample in samples)
