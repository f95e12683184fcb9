"""The Kafka topics, declared once: what each holds, how it is keyed, how long it is kept.

A partition count is final: changing it moves keys between partitions, and state belongs to a partition.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from spendstream.codec import MAX_EVENT_BYTES

__all__ = [
    "ALERTS",
    "ALL_TOPICS",
    "BUDGETS",
    "DEAD_LETTERS",
    "KEYS",
    "PRICES",
    "RECOMMENDATIONS",
    "ROUTES",
    "TEAMS",
    "USAGE_NODES",
    "USAGE_PODS",
    "USAGE_TOKENS",
    "USAGE_TOPICS",
    "WORKER_GROUP",
    "Topic",
]

_DAY_MS = 24 * 3600 * 1000
_MAX_RECORD_BYTES = 8 * MAX_EVENT_BYTES  # so that an oversized event arrives, and becomes a dead letter
_HEADROOM = 1 << 16  # a dead letter carries its reason and place in headers


class Topic(Struct, frozen=True, kw_only=True):
    """One topic. `keyed_by` names the event fields that decide the partition."""

    name: str
    holds: str
    keyed_by: str
    partitions: int = 8
    retention_ms: int = 7 * _DAY_MS
    cleanup: Literal["delete", "compact"] = "delete"
    max_record_bytes: int = _MAX_RECORD_BYTES

    @property
    def settings(self) -> dict[str, str]:
        """The topic's Kafka configuration."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.max_record_bytes),
        }


USAGE_TOKENS = Topic(name="usage.tokens", holds="TokenUsage: one per call of a model", keyed_by="team")
USAGE_PODS = Topic(name="usage.pods", holds="PodUsage: one per container and interval", keyed_by="cluster")
USAGE_NODES = Topic(
    name="usage.nodes",
    holds="NodeUsage: one per node, volume, load balancer or control plane, and interval",
    keyed_by="cluster",
)
USAGE_TOPICS = (USAGE_TOKENS, USAGE_PODS, USAGE_NODES)
"""The topics of usage events: what a worker lands."""

DEAD_LETTERS = Topic(
    name="deadletter",
    holds="Records that are no valid event: original bytes, with reason and place in the headers",
    keyed_by="source topic",
    partitions=1,
    retention_ms=30 * _DAY_MS,
    max_record_bytes=_MAX_RECORD_BYTES + _HEADROOM,
)
ALERTS = Topic(
    name="alerts",
    holds="Alert: one for each change of state",
    keyed_by="alert id",
    partitions=1,
    retention_ms=30 * _DAY_MS,
    max_record_bytes=MAX_EVENT_BYTES,
)
RECOMMENDATIONS = Topic(
    name="recommendations",
    holds="Recommendation: one for each change of state",
    keyed_by="cluster",
    partitions=1,
    retention_ms=30 * _DAY_MS,
    max_record_bytes=MAX_EVENT_BYTES,
)


def _documents(name: str, holds: str, keyed_by: str) -> Topic:
    """Return a topic of what operators set: the newest record of each document stays."""
    return Topic(
        name=name,
        holds=f"{holds} set through the admin API; compacted: the newest record of each stays",
        keyed_by=keyed_by,
        partitions=1,
        cleanup="compact",
        max_record_bytes=MAX_EVENT_BYTES,
    )


BUDGETS = _documents("budgets", "Budgets, with all versions,", "budget id")
KEYS = _documents("keys", "API keys, known by keyed hashes,", "key id")
TEAMS = _documents("teams", "Teams and what they opted in to,", "team")
PRICES = _documents("prices", "Prices that beat the published ones,", "id")
ROUTES = _documents("routes", "Routes", "route name")

ALL_TOPICS = (
    USAGE_TOKENS,
    USAGE_PODS,
    USAGE_NODES,
    ALERTS,
    RECOMMENDATIONS,
    BUDGETS,
    KEYS,
    TEAMS,
    PRICES,
    ROUTES,
    DEAD_LETTERS,
)

WORKER_GROUP = "spendstream-worker"
"""The consumer group of the stream processors; what it has committed has landed in ClickHouse."""
