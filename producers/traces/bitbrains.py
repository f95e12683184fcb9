"""Bitbrains' GWA-T-12 machines as pods: what each had provisioned is requested, what it used is used.

http://gwa.ewi.tudelft.nl/datasets/gwa-t-12-bitbrains, as one CSV file with a machine id in front. CPU comes
in MHz and becomes nanocores by the machine's own capacity (usage / capacity x cores); memory comes in units
of 1024 bytes.

A sample holds from its timestamp for the sampling period of 300 s, or until the machine's next sample where
that is sooner: two samples never bill the same second, and a repeated timestamp bills nothing. Where samples
are missing nothing is billed either: the trace does not say that the machine was there. A sample that crosses
a full hour is cut there, into two events.

The file is ordered by machine. The events come in order of time, as a cluster would have sent them; sent the
other way round, every machine but the first would be a month late.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

from producers.traces.ordering import in_order
from producers.traces.trace import MAX_COUNT, Owner, Trace, count, decimal, table
from spendstream.allocation import NANO, OPENCOST, Rates, cut, priced_container
from spendstream.events import PodUsage

__all__ = ["HEADER", "NAME", "PERIOD", "rows"]

NAME = "bitbrains"
HEADER = (
    "vm",
    "timestamp_s",
    "cpu_cores",
    "cpu_capacity_mhz",
    "cpu_usage_mhz",
    "memory_capacity_kb",
    "memory_usage_kb",
)
PERIOD = 300 * 10**6
"""Microseconds between two samples of a machine."""

_SECOND = 10**6
_LAST_SECOND = 4_102_444_799 - 300  # an interval that begins later ends after the year 2099
_MAX_CORES = MAX_COUNT // NANO
_KIB = 1024


class _Sample(NamedTuple):
    """A parsed row; in order of time, then of rows. Microseconds, nanocores, bytes."""

    start: int
    row: int
    machine: str
    cpu_request: int
    cpu_usage: int
    memory_request: int
    memory_usage: int


class _Open:
    """A sample whose end is not final: a later sample of the machine can still cut it short."""

    __slots__ = ("end", "sample")

    def __init__(self, sample: _Sample) -> None:
        self.sample = sample
        self.end = sample.start + PERIOD


def rows(
    lines: Iterable[str], trace: Trace, assumptions: Owner, rates: Rates = OPENCOST
) -> Iterator[PodUsage]:
    """Yield the events, in order of time. Raises RecordingError at the first malformed row."""
    samples = (_sample(row, values, trace) for row, values in table(lines, HEADER, trace))
    for sample, start, end in _pieces(_intervals(in_order(samples, _Sample))):
        yield _event(sample, start, end, trace, assumptions, rates)


def _sample(row: int, values: list[str], trace: Trace) -> _Sample:
    machine, timestamp, cores, capacity, usage, memory_capacity, memory_usage = values
    start, core_count = count(timestamp, _LAST_SECOND), count(cores, _MAX_CORES)
    if start is None or core_count is None:
        raise trace.malformed(row, "a time in seconds and a number of cores", f"{timestamp},{cores}")
    cpu = _nanocores(usage, capacity, core_count)
    if cpu is None:
        raise trace.malformed(
            row, "CPU capacity and usage in MHz, no usage without capacity", f"{capacity},{usage}"
        )
    requested, used = _bytes(memory_capacity), _bytes(memory_usage)
    if requested is None or used is None:
        raise trace.malformed(row, "memory capacity and usage in KB", f"{memory_capacity},{memory_usage}")
    return _Sample(start * _SECOND, row, machine, core_count * NANO, cpu, requested, used)


def _nanocores(usage: str, capacity: str, cores: int) -> int | None:
    """Return usage / capacity x cores, rounded half to even; None if that cannot be said."""
    used, provided = decimal(usage), decimal(capacity)
    if used is None or provided is None:
        return None
    if provided[0] == 0 or used[0] == 0:
        return None if used[0] else 0
    return _amount(used[0] * provided[1] * cores * NANO, used[1] * provided[0])


def _bytes(kib: str) -> int | None:
    ratio = decimal(kib)
    return None if ratio is None else _amount(ratio[0] * _KIB, ratio[1])


def _amount(numerator: int, denominator: int) -> int | None:
    """Return a ratio rounded half to even, or None for more than an event can hold."""
    whole = numerator if denominator == 1 else round(Fraction(numerator, denominator))
    return whole if whole <= MAX_COUNT else None


def _intervals(samples: Iterable[_Sample]) -> Iterator[tuple[_Sample, int]]:
    """Yield samples in order of time, each with its end; holds no more than one period of them."""
    waiting: deque[_Open] = deque()
    latest: dict[str, _Open] = {}
    for sample in samples:
        while waiting and waiting[0].sample.start + PERIOD <= sample.start:
            done = waiting.popleft()
            yield done.sample, done.end
        before = latest.get(sample.machine)
        if before is not None:
            before.end = min(before.end, sample.start)
        latest[sample.machine] = current = _Open(sample)
        waiting.append(current)
    yield from ((done.sample, done.end) for done in waiting)


def _pieces(intervals: Iterable[tuple[_Sample, int]]) -> Iterator[tuple[_Sample, int, int]]:
    """Yield samples with start and end, cut at full hours; still in order of time."""
    after_the_hour: list[tuple[_Sample, int, int]] = []
    for sample, final in intervals:
        if after_the_hour and sample.start >= after_the_hour[0][1]:
            yield from after_the_hour
            after_the_hour = []
        for start, end in cut(sample.start, final):
            if start == sample.start:
                yield sample, start, end
            else:
                after_the_hour.append((sample, start, end))
    yield from after_the_hour


def _event(sample: _Sample, start: int, end: int, trace: Trace, assumptions: Owner, rates: Rates) -> PodUsage:
    name = f"vm-{sample.machine}"
    event = PodUsage(
        id=trace.row_id(start, sample.row),
        event_time=start,
        end_time=end,
        source=trace.source,
        org=assumptions.org,
        team=assumptions.team,
        project=assumptions.project,
        environment=assumptions.environment,
        cluster=NAME,
        namespace=NAME,
        workload=name,
        pod=name,
        cpu_request=sample.cpu_request,
        cpu_usage=sample.cpu_usage,
        memory_request=sample.memory_request,
        memory_usage=sample.memory_usage,
    )
    return priced_container(event, rates)
