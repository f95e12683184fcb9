"""From a container's days to a recommendation: decisions, savings, words, and the patch to apply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import yaml

from spendstream.allocation import Rates
from spendstream.recommendations import Recommendation, State, recommendation_id
from spendstream.rightsizing.days import Container, ContainerDay
from spendstream.rightsizing.patch import API_VERSIONS, caveats, patch
from spendstream.rightsizing.savings import NodesGone, saving
from spendstream.rightsizing.sizing import Reason, Sizing, size

__all__ = ["recommend"]

_WORDS: Mapping[Reason, str] = {
    "over-provisioned": "{what} is requested above what its usage needs",
    "under-provisioned": "{what} is used above what is requested",
    "fits": "{what} fits: to change it by less than a tenth is not worth a restart",
    "short-history": "{what} is left alone: less than three days of usage are known",
    "recent-deploy": "{what} is left alone: the newest revision has run for less than a day",
    "autoscaled": "{what} is left alone: an autoscaler scales on it, and its request decides when",
    "oom-killed": "{what} ran out: a container was killed for it",
    "failed-back-test": "{what} is left alone: on the workload's own past a recommendation would have failed",
}


def recommend(
    container: Container,
    days: Sequence[ContainerDay],
    now: int,
    rates: Rates,
    gone: NodesGone | None = None,
) -> Recommendation:
    """Return what to do with a container at `now` (microseconds), by its days, oldest first.

    `rates` are what its resources cost; `gone` are the nodes that could go, where a packing has said so.
    Raises ValueError without any day.
    """
    sizing = size(days, now)
    saved = saving(sizing, rates, gone)
    change = patch(container, sizing)
    amounts = {
        "cpu": (sizing.cpu.current, sizing.cpu.target),
        "memory": (sizing.memory.current, sizing.memory.target),
    }
    notes = caveats(days, sizing)
    if _state(sizing) == "open" and container.workload_kind not in API_VERSIONS:
        notes.append(f"a {container.workload_kind} cannot be changed while it is there: change what makes it")
    return Recommendation(
        id=recommendation_id(container, amounts, (sizing.cpu.reason, sizing.memory.reason)),
        at=now,
        state=_state(sizing),
        **container._asdict(),
        team=sizing.settings.team,
        revision=sizing.settings.revision,
        replicas=sizing.replicas,
        cpu=sizing.cpu,
        memory=sizing.memory,
        cpu_limit=sizing.settings.cpu_limit,
        memory_limit=sizing.settings.memory_limit,
        cpu_freed=saved.cpu,
        memory_freed=saved.memory,
        freed_per_hour=saved.freed_per_hour,
        nodes=saved.nodes,
        nodes_per_hour=saved.nodes_per_hour,
        idle_per_hour=saved.idle_per_hour,
        days=sizing.days,
        breach_rate=sizing.breach_rate,
        cpu_time_over=sizing.cpu_time_over,
        confidence=sizing.confidence,
        reasons=_reasons(sizing),
        caveats=notes,
        patch=yaml.safe_dump(change, sort_keys=False) if change else "",
    )


def _state(sizing: Sizing) -> State:
    verdicts = {sizing.cpu.verdict, sizing.memory.verdict}
    if verdicts & {"lower", "raise"}:
        return "open"
    return "refused" if "refused" in verdicts else "fits"


def _reasons(sizing: Sizing) -> list[str]:
    return [
        _WORDS[decision.reason].format(what=what)
        for what, decision in (("CPU", sizing.cpu), ("memory", sizing.memory))
    ]
