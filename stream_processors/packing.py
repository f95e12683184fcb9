"""Which nodes of a cluster can go if a recommendation is applied: the second number of what it saves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from spendstream.recommendations import Recommendation
from spendstream.rightsizing.savings import NodesGone
from spendstream.scheduling import Consolidation, Node, WhatIf, changed, changes_of, consolidate

__all__ = ["Packing"]

_MOST_PODS = 500
"""A packing of so many takes some hundredths of a second; for more, `spendstream nodes` asks once for all."""


class Packing:
    """One cluster during one look. Its nodes are asked for when the first recommendation wants to know."""

    def __init__(self, ask: Callable[[], Awaitable[Sequence[Node]]]) -> None:
        self._ask = ask
        self._nodes: Sequence[Node] | None = None
        self._anyway: Consolidation | None = None

    async def gone(self, recommendation: Recommendation) -> NodesGone | None:
        """Return the nodes that can go then, beside those that can go anyway; None for a large cluster.

        Where requests rise, and fewer nodes could go, none can.
        """
        if self._nodes is None:
            self._nodes = await self._ask()
        nodes = self._nodes
        if not 0 < sum(len(node.pods) for node in nodes) <= _MOST_PODS:
            return None
        if self._anyway is None:
            self._anyway = await asyncio.to_thread(consolidate, nodes)
        then = await asyncio.to_thread(consolidate, changed(nodes, changes_of([recommendation])))
        plans = WhatIf(now=self._anyway, then=then)
        return NodesGone(nodes=max(plans.nodes, 0), per_hour=max(plans.per_hour, 0))
