"""Our own recommendation: what a container should request, or why nothing is said of it.

Short of CPU a container is slowed down, so that is the 95th percentile of usage and 15 % more. Short of
memory it is killed, so that starts from the highest usage ever seen, and leaves it room in three steps:

- that peak may fill 65 % of the request,
- a history of n days leaves out 1/n more (the Vertical Pod Autoscaler's widening of its upper bound),
- and what has outgrown its own past before will again: times the square root of how much it did.

The rule is then tested on the workload's past, and a recommendation that would have failed there is refused.
Nothing is lowered by less than a tenth: that is not worth a restart. Parameters are few and round, the same
for all; `benchmarks/rightsizing.py` chooses them on one half of the machines and judges them on the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct

from spendstream.rightsizing.amounts import MIB
from spendstream.rightsizing.backtest import back_test, outgrown, time_over
from spendstream.rightsizing.days import DAY, NANO, ContainerDay, Settings
from spendstream.rightsizing.histogram import CPU, Histogram
from spendstream.rightsizing.vpa import after_oom

__all__ = ["Decision", "Reason", "Rule", "Sizing", "Verdict", "size"]

Verdict = Literal["lower", "raise", "keep", "refused"]
Reason = Literal[
    "over-provisioned",
    "under-provisioned",
    "fits",
    "short-history",
    "recent-deploy",
    "autoscaled",
    "oom-killed",
    "failed-back-test",
]

_STOPS_A_RAISE = frozenset({"autoscaled", "recent-deploy"})
_YIELDS_TO_AUTOSCALING = frozenset({None, "short-history"})
_SETTLED = DAY  # a new revision is not judged by what its predecessor used
_MILLI = NANO // 1000
_LEAST_CPU, _LEAST_MEMORY = 10 * _MILLI, 100 * MIB


class Rule(Struct, frozen=True, kw_only=True):
    """The parameters of a recommendation.

    `fill` is how much of its request memory's peak may take; `least_days` is the history without which
    nothing is said; `worthwhile` is the share by which a request must fall for it to be changed.
    """

    cpu_share: float = 0.95
    margin: float = 1.15
    fill: float = 0.65
    least_days: float = 3.0
    worthwhile: float = 0.1

    def cpu(self, days: Sequence[Mapping[int, int]]) -> float:
        """Return the request in cores, from seconds by bucket and day."""
        usage = Histogram(CPU)
        for day in days:
            usage.merge(day)
        return usage.percentile(self.cpu_share) * self.margin

    def memory(self, peaks: Sequence[float]) -> float:
        """Return the request in bytes, from daily peaks, oldest first; at least one."""
        room = (1 + 1 / len(peaks)) * math.sqrt(outgrown(peaks))
        return max(peaks) / self.fill * room


class Decision(Struct, frozen=True, kw_only=True):
    """What becomes of one resource: requested now, requested then, and why. Nanocores or bytes."""

    current: int
    target: int
    verdict: Verdict
    reason: Reason


class Sizing(Struct, frozen=True, kw_only=True):
    """What becomes of a container, and how well that is known.

    `breach_rate` is the share of back-tests in which memory exceeded what the rule had made of the days
    before, and `cpu_time_over` the share of time in which CPU did. `confidence` is between 0 and 1: days of
    history n count as n / (n + 1), times the share of back-tests that were passed.
    """

    cpu: Decision
    memory: Decision
    days: float
    breach_rate: float
    cpu_time_over: float
    confidence: float
    replicas: float
    settings: Settings


def size(days: Sequence[ContainerDay], now: int, rule: Rule = Rule()) -> Sizing:  # noqa: B008  # it is frozen
    """Return what to do with a container at `now` (microseconds), by its days, oldest first.

    Raises ValueError without any day.
    """
    if not days:
        raise ValueError("no usage: expected at least one day")
    settings = max(day.settings for day in days)
    known = (days[-1].last - days[0].first) / DAY
    peaks = [float(day.memory_peak) for day in days]
    usage = [day.cpu for day in days]
    test = back_test(peaks, rule.memory)
    doubt = _doubt(days, settings, known, now, rule)
    return Sizing(
        cpu=_cpu(settings, rule.cpu(usage), doubt, rule),
        memory=_memory(settings, days, rule, doubt, held=not test.breaches),
        days=known,
        breach_rate=test.breach_rate,
        cpu_time_over=time_over(usage, rule.cpu),
        confidence=known / (known + 1) * (1 - test.breach_rate),
        replicas=days[-1].replicas,
        settings=settings,
    )


def _doubt(
    days: Sequence[ContainerDay], settings: Settings, known: float, now: int, rule: Rule
) -> Reason | None:
    """Return why nothing can be said of a container at all."""
    if known < rule.least_days:
        return "short-history"
    seen = [when for day in days for name, when in day.revisions.items() if name == settings.revision]
    is_first = len({name for day in days for name in day.revisions}) <= 1
    if seen and not is_first and now - min(seen) < _SETTLED:
        return "recent-deploy"
    return None


def _cpu(settings: Settings, cores: float, doubt: Reason | None, rule: Rule) -> Decision:
    if doubt in _YIELDS_TO_AUTOSCALING and "cpu" in _scaled_on(settings):
        doubt = "autoscaled"
    need = _Need(settings.cpu_request, cores / rule.margin * NANO, cores * NANO, _MILLI, _LEAST_CPU)
    return _decided(need, doubt, rule)


def _memory(
    settings: Settings, days: Sequence[ContainerDay], rule: Rule, doubt: Reason | None, *, held: bool
) -> Decision:
    current, peaks = settings.memory_request, [day.memory_peak for day in days]
    allowed = _allowed(settings)
    with_before = zip(days, [*days[:1], *days], strict=False)
    if any(day.oom_kills and _held(day.settings, before.settings) >= allowed for day, before in with_before):
        target = _up(after_oom(max(peaks), allowed), MIB)
        return Decision(current=current, target=target, verdict="raise", reason="oom-killed")
    if doubt in _YIELDS_TO_AUTOSCALING and "memory" in _scaled_on(settings):
        doubt = "autoscaled"
    if doubt is None and not held:
        doubt = "failed-back-test"
    return _decided(_Need(current, max(peaks), rule.memory(peaks), MIB, _LEAST_MEMORY), doubt, rule)


def _held(day: Settings, before: Settings) -> int:
    """Return the memory with which a day's containers were killed.

    A day knows only what it ended with. So where that is more than the day before, kills were for the less.
    """
    held = _allowed(day)
    return min(held, _allowed(before)) if bool(day.memory_limit) == bool(before.memory_limit) else held


def _allowed(settings: Settings) -> int:
    return max(settings.memory_request, settings.memory_limit)


class _Need(NamedTuple):
    """What is requested of a resource, what was used, and what the rule makes of that; in steps of `unit`."""

    current: int
    used: float
    sized: float
    unit: int
    least: int


def _decided(need: _Need, doubt: Reason | None, rule: Rule) -> Decision:
    """Return a decision: a request is lowered to what the rule says, and raised only above what was used."""
    current = need.current
    if current < need.used and doubt not in _STOPS_A_RAISE:
        target = max(_up(need.used * rule.margin, need.unit), need.least)
        return Decision(current=current, target=target, verdict="raise", reason="under-provisioned")
    if doubt is not None:
        return Decision(current=current, target=current, verdict="refused", reason=doubt)
    target = max(_up(need.sized, need.unit), need.least)
    if target > current * (1 - rule.worthwhile):
        return Decision(current=current, target=current, verdict="keep", reason="fits")
    return Decision(current=current, target=target, verdict="lower", reason="over-provisioned")


def _scaled_on(settings: Settings) -> Iterator[str]:
    return (name.strip() for name in settings.scaled_on.split(","))


def _up(amount: float, unit: int) -> int:
    """Return an amount rounded up to whole units, which is how it is written down."""
    return math.ceil(amount / unit) * unit
