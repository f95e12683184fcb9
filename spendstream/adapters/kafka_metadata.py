"""Kafka's Metadata request, version 10: the first whose answer holds the unique id of each topic (KIP-516).

aiokafka speaks it up to version 5 only, so its message classes are defined here, in aiokafka's own terms.
Field order: https://kafka.apache.org/protocol.html#The_Messages_Metadata
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any
from uuid import UUID

import msgspec
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

__all__ = ["TopicState", "describe"]

_NO_TOPIC = 3  # UNKNOWN_TOPIC_OR_PARTITION
_BEING_ELECTED = 5  # LEADER_NOT_AVAILABLE: the topic is there, its partitions are not yet
_NO_ID = UUID(int=0)


class TopicState(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as the broker has it now. `leaders` maps each partition to a node, -1 while it has none."""

    name: str
    id: UUID
    leaders: dict[int, int]

    @property
    def ready(self) -> bool:
        """Whether every partition has a leader."""
        return bool(self.leaders) and min(self.leaders.values()) >= 0


class _Uuid(AbstractType[UUID]):  # type: ignore[misc]  # aiokafka has no types
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


class _MetadataResponse10(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString()),
                ("port", Int32),
                ("rack", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString()),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequest10(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _MetadataResponse10
    FLEXIBLE_VERSION = True
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", CompactString()), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _DescribeTopics(Request[_MetadataRequest10]):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 3

    def __init__(self, names: Sequence[str] | None) -> None:
        self._names = names

    def build(self, request_struct_class: type[_MetadataRequest10]) -> _MetadataRequest10:
        names = self._names
        topics: Any = None if names is None else [(_NO_ID, name, {}) for name in names]
        return request_struct_class(topics, False, False, False, {})


async def describe(client: AIOKafkaClient, names: Sequence[str] | None = None) -> dict[str, TopicState]:
    """Return the topics among `names` that exist (all topics for None). It never creates one.

    Raises aiokafka's KafkaError, and NotImplementedError from a broker older than Kafka 2.8.
    """
    answer = await client.send(client.get_random_node(), _DescribeTopics(names))
    states = [_state(topic) for topic in answer.to_object()["topics"] if topic["error_code"] != _NO_TOPIC]
    return {state.name: state for state in states}


def _state(topic: dict[str, Any]) -> TopicState:
    if topic["error_code"] not in (0, _BEING_ELECTED):
        raise for_code(topic["error_code"])(topic["name"])
    leaders = {partition["partition"]: partition["leader"] for partition in topic["partitions"]}
    return TopicState(name=topic["name"], id=topic["topic_id"], leaders=leaders)
