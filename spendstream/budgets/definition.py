"""What a budget is: whose spend it limits, to how much, in which period, and when to say so.

Budgets may overlap and nest: each is looked at by itself, so one event counts against every budget that
covers it. A budget changes by a new version that takes effect at a date; so does one in a foreign currency
when its rate changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal, get_args

from msgspec import Struct

__all__ = [
    "DEFAULT_THRESHOLDS",
    "DIMENSIONS",
    "ENFORCEMENTS",
    "FULL",
    "ON_BREACH",
    "REQUEST_DIMENSIONS",
    "UNITS",
    "Budget",
    "BudgetBook",
    "Calendar",
    "Enforcement",
    "OnBreach",
    "Rolling",
    "Unit",
    "in_force",
]

REQUEST_DIMENSIONS = ("org", "team", "project", "environment", "provider", "model", "key_id")
"""What a request of the gateway has, and so the scope of what is enforced."""

DIMENSIONS = (*REQUEST_DIMENSIONS, "cluster", "namespace")
"""What a scope can name."""

FULL = 10_000
"""Basis points in 100 percent."""

DEFAULT_THRESHOLDS = (5_000, 8_000, FULL)

Unit = Literal["day", "week", "month", "quarter", "year"]
UNITS: tuple[Unit, ...] = get_args(Unit)

Enforcement = Literal["none", "shadow", "soft", "hard"]
ENFORCEMENTS: tuple[Enforcement, ...] = get_args(Enforcement)

OnBreach = Literal["allow", "downgrade", "reject"]
ON_BREACH: tuple[OnBreach, ...] = get_args(OnBreach)


class Calendar(Struct, frozen=True, kw_only=True):
    """Periods that follow the calendar of an IANA time zone; `week_start` 0 is Monday."""

    unit: Unit
    time_zone: str = "UTC"
    week_start: int = 0


class Rolling(Struct, frozen=True, kw_only=True):
    """The last `length` microseconds (whole minutes), whenever one looks."""

    length: int
    time_zone: str = "UTC"


class Budget(Struct, frozen=True, kw_only=True):
    """One version of a budget. Money is picodollars, shares are basis points, times are microseconds UTC.

    `scope` is dimension -> value; an empty one covers everything. `roll_over` is the most of what is left
    that is carried into the next period (0: nothing). The version holds from `effective_from` until just
    before `effective_until`. `owner` is the team that alerts go to.

    `enforce` says what the gateway makes of it: `none` leaves it to alerts, `shadow` counts what `hard` would
    refuse, `soft` allows or downgrades to the model `downgrade_to`, `hard` rejects or downgrades. With
    `throttle` it does so already when spend is so fast that the budget would not last.
    """

    id: str
    name: str
    amount: int
    period: Calendar | Rolling
    scope: Mapping[str, str] = {}
    owner: str = ""
    roll_over: int = 0
    thresholds: tuple[int, ...] = DEFAULT_THRESHOLDS
    burn_rate: bool = True
    forecast: bool = True
    enforce: Enforcement = "none"
    on_breach: OnBreach = "allow"
    downgrade_to: str = ""
    throttle: bool = False
    version: int = 1
    effective_from: int = 0
    effective_until: int | None = None

    def __post_init__(self) -> None:
        if self.amount <= 0 or self.roll_over < 0:
            raise ValueError(
                f"budget {self.id}: the amount must be positive and the roll-over not negative, "
                f"found {self.amount} and {self.roll_over} picodollars"
            )
        if any(low >= high for low, high in pairwise((0, *self.thresholds))):
            raise ValueError(
                f"budget {self.id}: thresholds must be positive and rise, found {self.thresholds}"
            )

    @property
    def has_windows(self) -> bool:
        """Whether its spend is summed up by window, as it must be for alerts; that by key is not."""
        return "key_id" not in self.scope

    def holds_at(self, moment: int) -> bool:
        """Tell whether this version is in force at `moment`."""
        return self.effective_from <= moment and (
            self.effective_until is None or moment < self.effective_until
        )

    def covers(self, dimensions: Mapping[str, str]) -> bool:
        """Tell whether spend with these dimensions counts against the budget."""
        return all(dimensions.get(name, "") == value for name, value in self.scope.items())


def in_force(versions: Iterable[Budget], moment: int) -> Budget | None:
    """Return the version that holds at `moment`, or None."""
    return next((version for version in versions if version.holds_at(moment)), None)


class BudgetBook:
    """All budgets with all their versions. Versions of one id must not overlap in time."""

    def __init__(self, budgets: Iterable[Budget] = ()) -> None:
        self._versions: dict[str, list[Budget]] = {}
        for budget in sorted(budgets, key=lambda budget: budget.effective_from):
            self._versions.setdefault(budget.id, []).append(budget)

    @property
    def ids(self) -> Sequence[str]:
        """The ids of all budgets, in force or not."""
        return tuple(self._versions)

    def versions(self, budget_id: str) -> Sequence[Budget]:
        """Return all versions of a budget, oldest first; none if there is no such budget."""
        return tuple(self._versions.get(budget_id, ()))

    def find(self, budget_id: str, moment: int) -> Budget | None:
        """Return the version of a budget that is in force at `moment`, or None."""
        return in_force(self.versions(budget_id), moment)

    def at(self, moment: int) -> Sequence[Budget]:
        """Return the budgets that are in force at `moment`."""
        found = (in_force(versions, moment) for versions in self._versions.values())
        return tuple(budget for budget in found if budget is not None)
