"""What rightsizing saves and what it risks: ours beside others', on machines of a recorded trace.

Bitbrains' GWA-T-12 machines, in `PUBLIC_DATA` or a folder shared/data beside the repository. The first
half of the time recommends, the second half judges: how much less is requested, how much of the time CPU is
above the request, and on which share of the machines memory exceeds it at least once. What is refused stays
as it was provisioned, and saves nothing. Ours has one parameter that matters, how full memory may be; to
show that it is not fitted to these machines, it is also chosen on one half of them and judged on the other,
both ways.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.children import BenchmarkError
from benchmarks.machines import Machine, load
from benchmarks.reporting import options, report
from benchmarks.shared_data import located
from spendstream.allocation import OPENCOST
from spendstream.rightsizing.amounts import Amounts
from spendstream.rightsizing.days import NANO, ContainerDay, Settings
from spendstream.rightsizing.krr import krr
from spendstream.rightsizing.sizing import Rule, size
from spendstream.rightsizing.vpa import vpa

_TRACE = "bitbrains/rnd-2013-08-sample.csv.gz"
_FILLS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
_ALLOWED = 0.05  # of the machines may exceed their memory
_DAY = 86_400  # seconds
_FEWEST = 2  # machines: one for each half of them


class _Case(NamedTuple):
    """One machine: what is known when the recommendation is made, and what comes then."""

    days: Sequence[ContainerDay]
    settings: Settings
    then: Machine


_Policy = Callable[[_Case], Amounts]
_Cut = tuple[tuple[float, float], tuple[float, float]]  # from when until when is known, and is judged


class _Figures(Struct, frozen=True, kw_only=True):
    """One policy. Savings are shares of what was requested, means over machines; `price` is OpenCost's."""

    policy: str
    machines: int
    cpu_saved: float
    memory_saved: float
    saved: float
    price_saved: float
    time_over_cpu: float
    exceeding_memory: int
    share_exceeding: float


class _Report(Struct, frozen=True, kw_only=True):
    """One run; `without` are machines that had nothing provisioned, or no samples in one half of the time."""

    trace: str
    machines: int
    without: int
    days_known: float
    days_judged: float
    policies: Sequence[_Figures]
    fills: Mapping[str, _Figures]
    chosen_fills: Sequence[float]
    split_half: _Figures
    cuts: Mapping[str, Sequence[_Figures]]
    memory_decisions: Mapping[str, int]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    arguments = _options().parse_args(argv)

    def measure(_: Path, bars: Progress) -> _Report:
        return _measured(arguments.trace or located(_TRACE), bars)

    return 0 if report(measure, _show, as_json=arguments.json) else 1


def _options() -> argparse.ArgumentParser:
    parser = options(__doc__)
    parser.add_argument("--trace", type=Path, help="another CSV file of the same form")
    return parser


def _measured(trace: Path, bars: Progress) -> _Report:
    task = bars.add_task("reading", total=3)
    machines = load(trace)
    bars.update(task, advance=1, description="preparing")
    first = min(int(machine.times[0]) for machine in machines)
    last = max(int(machine.times[-1]) for machine in machines) + 1
    middle = (first + last) / 2
    cases = _cases(machines, [((first, middle), (middle, last))])
    if len(cases) < _FEWEST:
        raise BenchmarkError(f"{trace.name}: machines in both halves of the time are too few: {len(cases)}")
    bars.update(task, advance=1, description="judging")
    fills = {fill: _judged(f"ours, filled to {fill}", cases, _ours(fill)) for fill in _FILLS}
    halves = cases[::2], cases[1::2]
    chosen = [_best(half) for half in halves]
    by_machine = {
        id(case): fill for fill, half in zip(chosen, reversed(halves), strict=True) for case in half
    }
    split = _judged("ours, halves", cases, lambda case: _ours(by_machine[id(case)])(case))
    cuts = {name: _compared(machines, spans) for name, spans in _cuts(first, middle, last).items()}
    decisions = Counter(size(case.days, case.days[-1].last).memory.reason for case in cases)
    bars.update(task, advance=1)
    return _Report(
        trace=trace.name,
        machines=len(cases),
        without=len(machines) - len(cases),
        days_known=(middle - first) / 86_400,
        days_judged=(last - middle) / 86_400,
        policies=[_judged(name, cases, policy) for name, policy in _POLICIES.items()],
        fills={str(fill): figures for fill, figures in fills.items()},
        chosen_fills=chosen,
        split_half=split,
        cuts=cuts,
        memory_decisions=dict(decisions.most_common()),
    )


def _cuts(first: float, middle: float, last: float) -> Mapping[str, Sequence[_Cut]]:
    """Return other ways to cut the same time into what is known and what is judged."""
    days = [first + day * _DAY for day in range(31)]
    return {
        "the second half recommends, the first judges": [((middle, last), (first, middle))],
        "14 days recommend, the next 14 judge": [
            ((days[day], days[day + 14]), (days[day + 14], days[day + 28])) for day in (0, 1, 2)
        ],
        "7 days recommend, the next 7 judge": [
            ((days[day], days[day + 7]), (days[day + 7], days[day + 14])) for day in (0, 5, 10, 15)
        ],
    }


def _compared(machines: Sequence[Machine], cuts: Sequence[_Cut]) -> list[_Figures]:
    cases = _cases(machines, cuts)
    return [_judged(name, cases, policy) for name, policy in _POLICIES.items()]


def _cases(machines: Sequence[Machine], cuts: Sequence[_Cut]) -> list[_Case]:
    """Return a case of each machine and cut that has samples and something provisioned on either side."""
    found = []
    for machine in machines:
        for (start, until), (since, end) in cuts:
            known, then = machine.between(start, until), machine.between(since, end)
            settings = known.settings
            if len(then.times) and settings.cpu_request and settings.memory_request:
                found.append(_Case(known.days(), settings, then))
    return found


def _best(cases: Sequence[_Case]) -> float:
    """Return the highest fill at which few enough machines exceed their memory."""
    held = [fill for fill in _FILLS if _judged("", cases, _ours(fill)).share_exceeding <= _ALLOWED]
    return max(held, default=min(_FILLS))


def _judged(name: str, cases: Sequence[_Case], policy: _Policy) -> _Figures:
    given = [policy(case) for case in cases]
    before = [Amounts(cpu=case.settings.cpu_request, memory=case.settings.memory_request) for case in cases]
    pairs = list(zip(before, given, strict=True))
    judges = list(zip([case.then for case in cases], given, strict=True))
    cpu = _mean([1 - new.cpu / old.cpu for old, new in pairs])
    memory = _mean([1 - new.memory / old.memory for old, new in pairs])
    exceeding = sum(bool((then.memory > new.memory).any()) for then, new in judges)
    return _Figures(
        policy=name,
        machines=len(cases),
        cpu_saved=cpu,
        memory_saved=memory,
        saved=(cpu + memory) / 2,
        price_saved=_mean([1 - _price(new) / _price(old) for old, new in pairs]),
        time_over_cpu=_mean([float((then.cpu > new.cpu).mean()) for then, new in judges]),
        exceeding_memory=exceeding,
        share_exceeding=exceeding / len(cases),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _price(amounts: Amounts) -> float:
    parts = (amounts.cpu, OPENCOST.cpu), (amounts.memory, OPENCOST.memory)
    return sum(amount * rate.price / rate.per for amount, rate in parts if rate)


def _provisioned(case: _Case) -> Amounts:
    return Amounts(cpu=case.settings.cpu_request, memory=case.settings.memory_request)


def _vpa(case: _Case) -> Amounts:
    return vpa(case.days).target


def _krr(case: _Case) -> Amounts:
    estimate = krr(case.days)
    return Amounts(
        cpu=case.settings.cpu_request if estimate.cpu is None else estimate.cpu,
        memory=case.settings.memory_request if estimate.memory is None else estimate.memory,
    )


def _filled(case: _Case) -> Amounts:
    """Return the 95th percentile of CPU and the highest memory, each to fill 65 % of its request."""
    rule = Rule(margin=1 / 0.65)
    peak = max(day.memory_peak for day in case.days)
    return Amounts(cpu=round(rule.cpu([day.cpu for day in case.days]) * NANO), memory=round(peak / 0.65))


def _ours(fill: float) -> _Policy:
    rule = Rule(fill=fill)

    def policy(case: _Case) -> Amounts:
        sizing = size(case.days, case.days[-1].last, rule)
        return Amounts(cpu=sizing.cpu.target, memory=sizing.memory.target)

    return policy


_POLICIES: Mapping[str, _Policy] = {
    "provisioned": _provisioned,
    "vpa": _vpa,
    "krr": _krr,
    "p95/.65": _filled,
    "ours": _ours(Rule().fill),
}


def _show(found: _Report, console: Console) -> None:
    console.print(
        f"{found.machines} machines of {found.trace} ({found.without} left out): {found.days_known:.1f} days "
        f"to recommend, {found.days_judged:.1f} to judge"
    )
    table = _table("policy")
    for figures in [*found.policies, found.split_half]:
        table.add_row(figures.policy, *_cells(figures))
    console.print(table)
    console.print(f"split halves chose to fill memory to {found.chosen_fills[0]} and {found.chosen_fills[1]}")
    table = _table("filled to")
    for fill, figures in found.fills.items():
        table.add_row(fill, *_cells(figures))
    console.print(table)
    for cut, policies in found.cuts.items():
        console.print(f"{cut}, {policies[0].machines} cases")
        table = _table("policy")
        for figures in policies:
            table.add_row(figures.policy, *_cells(figures))
        console.print(table)
    console.print("memory, ours: " + ", ".join(f"{n} {why}" for why, n in found.memory_decisions.items()))


def _table(first: str) -> Table:
    table = Table(box=SIMPLE)
    table.add_column(first)
    for name in ("saved", "CPU", "memory", "price", "over CPU", "over memory"):
        table.add_column(name, justify="right")
    return table


def _cells(figures: _Figures) -> list[str]:
    shares = figures.saved, figures.cpu_saved, figures.memory_saved, figures.price_saved
    return [
        *(f"{share:.1%}" for share in shares),
        f"{figures.time_over_cpu:.1%}",
        f"{figures.exceeding_memory} = {figures.share_exceeding:.1%}",
    ]


if __name__ == "__main__":
    sys.exit(main())
