"""How fast pod samples become hours of allocation, and how much memory that takes as simulated time goes by.

A cluster of as many containers as asked for, each a workload of its own on one of its nodes, is sampled every
five minutes. The samples pass what the worker passes them through before they land: decoding, admission by
id, the tally, and the ledger of windows. Encoding them is not measured. Twenty containers share a node, and a
container lives on: so state may grow with containers, up to the ledger's capacity, and never with time.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from msgspec import Struct
from rich.console import Console
from rich.progress import Progress

from benchmarks.children import BenchmarkError, peak_mib, resident_mib
from benchmarks.reporting import Machine, at_least, machine, options, report
from benchmarks.sampling import Sample, growth_percent, table
from spendstream.allocation import GIB, NANO, AllocationMeasures, cut, node_rates, priced_container
from spendstream.arrow import without_pandas
from spendstream.codec import PODS
from spendstream.events import HOUR_MICROS, PodUsage
from spendstream.ids import derived_id
from spendstream.ledger import Ledger
from spendstream.money import parse_usd
from spendstream.tally import tally
from spendstream.windows import Entry

_START = 1_704_067_200_000_000  # 2024-01-01T00:00:00Z
_PERIOD = 300_000_000  # microseconds
_HORIZON = 600_000_000
_ON_A_NODE = 20
_BLOCK = 4096  # samples
_OBJECTS_BETWEEN_COLLECTIONS = 100_000  # as in the worker
_RATES = node_rates(parse_usd("0.384"), cpu=8 * NANO, memory=32 * GIB)


class _Report(Struct, frozen=True, kw_only=True):
    """One run. CPU is microseconds of user and system time for each sample, by stage."""

    machine: Machine
    samples: int
    containers: int
    simulated_hours: float
    samples_per_second: int
    cpu_us_per_sample: Mapping[str, float]
    windows: int
    peak_mib: int
    growth_percent: float
    memory: Sequence[Sample]


class _Allocator:
    """What the worker does with a block of samples, with the CPU time of each stage."""

    def __init__(self) -> None:
        self.cpu = dict.fromkeys(("decode", "admit", "tally", "count"), 0.0)
        self.cost = 0
        self._ledger = Ledger(horizon=_HORIZON)
        self._position = 0

    def take(self, values: Sequence[bytes]) -> int:
        """Take a block; return how many windows it changed."""
        began = time.process_time()
        decoded = PODS.decode_block(values)
        entries = [
            Entry(position, event, 0)
            for position, event in enumerate(decoded.events, self._position)
            if event is not None
        ]
        began = self._spent("decode", began)
        admission = self._ledger.admit(entries, {})
        began = self._spent("admit", began)
        added = tally(admission.counted)
        began = self._spent("tally", began)
        changed = self._ledger.count(admission.counted, added, ())
        self._spent("count", began)
        self._position += len(values)
        self.cost += sum(
            each.measures.cost for each in added.values() if isinstance(each.measures, AllocationMeasures)
        )
        return len(changed)

    def _spent(self, stage: str, began: float) -> float:
        now = time.process_time()
        self.cpu[stage] += now - began
        return now


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    asked = _options(argv)
    measured = report(lambda _, bars: _run(asked, bars), _show, as_json=asked.json)
    return 0 if measured else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--samples", type=at_least(_BLOCK), default=1_000_000, help="how many samples")
    parser.add_argument("--containers", type=at_least(1), default=1_000, help="how many containers are live")
    return parser.parse_args(argv)


def usage(containers: int) -> Iterator[PodUsage]:
    """Yield samples of `containers` live containers in the order of time, without end."""
    moment = _START
    while True:
        [(start, end)] = cut(moment, moment + _PERIOD)
        for row in range(containers):
            sample = PodUsage(
                id=derived_id(start, b"allocation", row),
                event_time=start,
                end_time=end,
                source="collector",
                org="acme",
                team=f"team-{row % 10}",
                environment="production",
                cluster="east-1",
                region="us-east-1",
                node=f"node-{row // _ON_A_NODE}",
                instance_type="m5.2xlarge",
                purchase_option="on-demand",
                namespace=f"space-{row % 10}",
                workload=f"workload-{row}",
                workload_kind="Deployment",
                pod=f"workload-{row}-6d4cf56db6-x7k2p",
                container="app",
                cpu_request=NANO // 4,
                cpu_usage=NANO // 10 + 1000 * row,
                memory_request=GIB,
                memory_usage=GIB // 2 + 4096 * row,
            )
            yield priced_container(sample, _RATES)
        moment += _PERIOD


def _run(asked: argparse.Namespace, bars: Progress) -> _Report:
    bar = bars.add_task("allocator", total=asked.samples)
    allocator, samples, memory = _Allocator(), usage(asked.containers), []
    cost = done = windows = 0
    without_pandas()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    began = time.monotonic()
    while done < asked.samples:
        block = list(islice(samples, min(_BLOCK, asked.samples - done)))
        cost += sum(sample.cost or 0 for sample in block)
        windows += allocator.take([PODS.encode(sample) for sample in block])
        done += len(block)
        del block
        resident = round(resident_mib(os.getpid()))
        memory.append(Sample(seconds=round(time.monotonic() - began, 1), events=done, mib=resident))
        bars.update(bar, completed=done)
    if allocator.cost != cost:
        raise BenchmarkError(f"allocated {allocator.cost} picodollars of {cost}")
    cpu = allocator.cpu
    return _Report(
        machine=machine(),
        samples=done,
        containers=asked.containers,
        simulated_hours=round(done / asked.containers * _PERIOD / HOUR_MICROS, 1),
        samples_per_second=round(done / sum(cpu.values())),
        cpu_us_per_sample={stage: round(spent * 1e6 / done, 2) for stage, spent in cpu.items()},
        windows=windows,
        peak_mib=round(peak_mib(os.getpid())),
        growth_percent=growth_percent(memory),
        memory=memory,
    )


def _show(measured: _Report, console: Console) -> None:
    console.print(table(measured.memory, str(measured.machine), "samples"))
    stages = ", ".join(f"{stage} {micros:.2f}" for stage, micros in measured.cpu_us_per_sample.items())
    console.print(
        f"{measured.samples:,} samples of {measured.containers:,} containers in "
        f"{measured.simulated_hours:,} h: {measured.samples_per_second:,} a second of one core; "
        f"microseconds a sample: {stages}."
    )
    console.print(
        f"Peak {measured.peak_mib:,} MiB; "
        f"{measured.growth_percent:+.1f} % over the last third of the samples."
    )


if __name__ == "__main__":
    sys.exit(main())
