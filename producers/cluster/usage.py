"""Where usage is read: a role with two implementations, metrics.k8s.io and Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from spendstream.workloads.readings import Reading

__all__ = ["Usage", "UsageSource"]


class Usage(NamedTuple):
    """What was read at once.

    `containers` are (namespace, pod, container, reading), with an empty container for what a whole pod used
    of the network; `nodes` are (name, reading).
    """

    containers: Sequence[tuple[str, str, str, Reading]]
    nodes: Sequence[tuple[str, Reading]]


class UsageSource(Protocol):
    """Reads the usage of a cluster's containers and nodes."""

    async def read(self) -> Usage:
        """Return what is used now. Raises ClusterUnavailable."""
