"""Scaling down outside working hours: when that is, which nodes can go, and what it saves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from spendstream.clock import from_micros
from spendstream.scheduling.cluster import DisruptionBudget, Node, Pod
from spendstream.scheduling.consolidation import Consolidation, consolidate

__all__ = ["OffHours", "WorkingHours", "asleep", "off_hours"]

_DAY_MINUTES = 24 * 60
_WEEK_DAYS = 7


class WorkingHours(Struct, frozen=True, kw_only=True):
    """When people work: on `days` (0 is Monday) from minute `start` until before minute `end` of the day.

    The time zone is an IANA name. Raises ValueError for hours that are none.
    """

    days: frozenset[int] = frozenset(range(5))
    start: int = 7 * 60
    end: int = 19 * 60
    zone: str = "UTC"

    def __post_init__(self) -> None:
        """Refuse what is no time of a day or day of a week."""
        if not (0 <= self.start < self.end <= _DAY_MINUTES and self.days <= frozenset(range(_WEEK_DAYS))):
            raise ValueError(
                f"expected days from 0 (Monday) to 6 and minutes 0 <= start < end <= {_DAY_MINUTES}, "
                f"found days {sorted(self.days)}, start {self.start}, end {self.end}"
            )

    def cover(self, at: int) -> bool:
        """Tell whether people work at a time (microseconds since 1970 UTC)."""
        local = from_micros(at).astimezone(ZoneInfo(self.zone))
        return local.weekday() in self.days and self.start <= local.hour * 60 + local.minute < self.end

    @property
    def minutes_off(self) -> int:
        """Minutes of a week in which nobody works."""
        return _WEEK_DAYS * _DAY_MINUTES - len(self.days) * (self.end - self.start)


class OffHours(Struct, frozen=True, kw_only=True):
    """What goes in the evening and comes back in the morning. Money is in picodollars."""

    plan: Consolidation
    sleeping: tuple[str, ...]
    saving_per_hour: int
    saving_per_week: int


def asleep(nodes: Sequence[Node], workloads: Collection[str]) -> tuple[Node, ...]:
    """Return nodes without the pods of `workloads`."""
    return tuple(
        replace(node, pods=tuple(pod for pod in node.pods if pod.workload not in workloads)) for node in nodes
    )


def off_hours(
    nodes: Sequence[Node],
    workloads: Collection[str],
    hours: WorkingHours,
    *,
    daemons: Sequence[Pod] = (),
    budgets: Iterable[DisruptionBudget] = (),
) -> OffHours:
    """Return which nodes can go while `workloads` are scaled to none, and what that saves.

    No node is replaced for a night. The week's saving is rounded down to whole picodollars.
    """
    plan = consolidate(asleep(nodes, workloads), daemons=daemons, budgets=budgets)
    sleeping = sorted(pod.name for node in nodes for pod in node.pods if pod.workload in workloads)
    return OffHours(
        plan=plan,
        sleeping=tuple(sleeping),
        saving_per_hour=plan.saving,
        saving_per_week=plan.saving * hours.minutes_off // 60,
    )
