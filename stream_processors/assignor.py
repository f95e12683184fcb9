"""Sharing out partitions, and noticing when some were forgotten.

The group's leader shares out what its metadata knows. Just after a broker's crash that can be nothing: Faust
then ignores the topics, all workers get no partitions, are content, and read nothing for ever.
"""

from __future__ import annotations

from typing import Any

from faust.assignor import PartitionAssignor

__all__ = ["WatchfulAssignor"]


class WatchfulAssignor(PartitionAssignor):
    """Faust's assignor; `forgotten` holds the topics that nobody reads since this worker shared out last."""

    forgotten: frozenset[str] = frozenset()

    def _perform_assignment(self, cluster: Any, member_metadata: Any) -> Any:
        subscribed = {topic for member in member_metadata.values() for topic in member.subscription}
        self.forgotten = frozenset(topic for topic in subscribed if not cluster.partitions_for_topic(topic))
        return super()._perform_assignment(cluster, member_metadata)
