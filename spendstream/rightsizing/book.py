"""The book of recommendations: which one of a container is news, and what became of those that were applied.

Usage moves a target a little every day; only what differs by more than a tenth, or for another reason, is
news, and what it frees, once there is a price. A recommendation counts as applied once the container
requests what it says, by whoever's hand; from then on its days are watched for breaches, for as long as that
is so; new recommendations of the container are made beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import structs

from spendstream.allocation import Rates
from spendstream.recommendations import FollowUp, Recommendation
from spendstream.rightsizing.days import DAY, Container, ContainerDay
from spendstream.rightsizing.histogram import MEMORY
from spendstream.rightsizing.savings import per_hour

__all__ = ["FOLLOWED", "RecommendationBook"]

FOLLOWED = 14
"""Full days for which an applied recommendation is followed up."""

_MATERIAL = 0.1
_LATE = DAY  # for what comes late of the last day that is followed


class RecommendationBook:
    """The newest recommendation of each container, and beside it the one that was applied last."""

    def __init__(self, recommendations: Iterable[Recommendation] = ()) -> None:
        """Start from the newest state of each, in any order."""
        self._proposed: dict[Container, Recommendation] = {}
        self._applied: dict[Container, Recommendation] = {}
        self.note(sorted(recommendations, key=lambda recommendation: recommendation.at))

    def read(
        self, fresh: Recommendation, days: Sequence[ContainerDay], rates: Rates
    ) -> Sequence[Recommendation]:
        """Return what is to be said of a container with these `days`, now that it was recommended `fresh`."""
        whose, news = fresh.whose, []
        before, applied = self._proposed.get(whose), self._applied.get(whose)
        if applied is not None and (followed := _followed(applied, fresh, days, rates)) is not None:
            news.append(followed)
        if before is None:
            news.append(fresh)
        elif before.state == "open" and _is_in_force(before, fresh):
            news += [_applied(before, fresh, days, rates), fresh]
        elif _differs(before, fresh):
            news += [_superseded(before, fresh.at)] if before.id != fresh.id else []
            news.append(fresh)
        return news

    def retire(self, whose: Container, now: int) -> Sequence[Recommendation]:
        """Return what is to be said of a container that is not there any more."""
        before = self._proposed.get(whose)
        return [] if before is None else [_superseded(before, now)]

    def note(self, news: Iterable[Recommendation]) -> None:
        """Note down what was said."""
        for each in news:
            self._note(each)

    def _note(self, recommendation: Recommendation) -> None:
        if recommendation.state == "applied":
            self._applied[recommendation.whose] = recommendation
            if self._is_proposed(recommendation):
                del self._proposed[recommendation.whose]
        elif recommendation.state != "superseded":
            self._proposed[recommendation.whose] = recommendation
            if self._is_applied(recommendation):
                del self._applied[recommendation.whose]
        elif self._is_proposed(recommendation):
            del self._proposed[recommendation.whose]

    def _is_proposed(self, recommendation: Recommendation) -> bool:
        proposed = self._proposed.get(recommendation.whose)
        return proposed is not None and proposed.id == recommendation.id

    def _is_applied(self, recommendation: Recommendation) -> bool:
        applied = self._applied.get(recommendation.whose)
        return applied is not None and applied.id == recommendation.id


def _is_in_force(proposal: Recommendation, fresh: Recommendation) -> bool:
    """Tell whether a container requests now what was proposed."""
    requested = fresh.cpu.current, fresh.memory.current
    return requested == (proposal.cpu.target, proposal.memory.target)


def _since(fresh: Recommendation, days: Sequence[ContainerDay]) -> int:
    """Return when the newest revision was first seen."""
    seen = [day.revisions[fresh.revision] for day in days if fresh.revision in day.revisions]
    return min(seen, default=fresh.at)


def _differs(before: Recommendation, fresh: Recommendation) -> bool:
    """Tell whether a recommendation says something materially different."""
    for old, new in ((before.cpu, fresh.cpu), (before.memory, fresh.memory)):
        if (old.current, old.reason) != (new.current, new.reason):
            return True
        if abs(new.target - old.target) > _MATERIAL * old.target:
            return True
    if before.freed_per_hour is None and fresh.freed_per_hour is not None:
        return True
    return _raised_limits(before, before) != _raised_limits(before, fresh)


def _raised_limits(proposal: Recommendation, fresh: Recommendation) -> Sequence[bool]:
    """Tell of which limits, as they are in `fresh`, a proposal has to raise."""
    return 0 < fresh.cpu_limit < proposal.cpu.target, 0 < fresh.memory_limit < proposal.memory.target


def _superseded(recommendation: Recommendation, now: int) -> Recommendation:
    return structs.replace(recommendation, state="superseded", at=now)


def _applied(
    before: Recommendation, fresh: Recommendation, days: Sequence[ContainerDay], rates: Rates
) -> Recommendation:
    since = _since(fresh, days) if fresh.revision != before.revision else fresh.at
    follow_up = _follow_up(before, since, fresh.replicas, days, rates)
    return structs.replace(before, state="applied", at=fresh.at, follow_up=follow_up)


def _followed(
    applied: Recommendation, fresh: Recommendation, days: Sequence[ContainerDay], rates: Rates
) -> Recommendation | None:
    """Return an applied recommendation with what its days since have shown; None if that is nothing new."""
    known = applied.follow_up
    if known is None or not _is_in_force(applied, fresh) or fresh.at > _end(known.applied_at) + _LATE:
        return None
    follow_up = _follow_up(applied, known.applied_at, fresh.replicas, days, rates)
    if (follow_up.days, follow_up.breaches) == (known.days, known.breaches):
        return None
    return structs.replace(applied, at=fresh.at, follow_up=follow_up)


def _follow_up(
    applied: Recommendation, since: int, replicas: float, days: Sequence[ContainerDay], rates: Rates
) -> FollowUp:
    full = [day for day in days if since <= day.start < _end(since)]
    cpu, memory = (round((each.current - each.target) * replicas) for each in (applied.cpu, applied.memory))
    return FollowUp(
        applied_at=since,
        days=len(full),
        breaches=sum(_is_breached(day, applied.memory.target) for day in full),
        saved_per_hour=per_hour(cpu, memory, rates),
    )


def _end(since: int) -> int:
    """Return when the full days after `since` are over."""
    return since + -since % DAY + FOLLOWED * DAY


def _is_breached(day: ContainerDay, request: int) -> bool:
    """Tell whether memory exceeded its request for sure, or ran out."""
    return bool(day.oom_kills) or MEMORY.start(max(day.memory, default=0)) > request
