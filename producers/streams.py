"""The kinds of usage that producers send and record: event type, codec and topic belong together."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from spendstream.codec import NODES, PODS, TOKENS, EventCodec
from spendstream.errors import ConfigError
from spendstream.events import Event, NodeUsage, PodUsage, TokenUsage
from spendstream.topics import USAGE_NODES, USAGE_PODS, USAGE_TOKENS, Topic

__all__ = ["NODE_STREAM", "POD_STREAM", "STREAMS", "TOKEN_STREAM", "UsageStream", "stream_of", "stream_on"]


class UsageStream(Struct, frozen=True, kw_only=True):
    """One kind of usage: the type of its events, how they are encoded, and where they go."""

    event_type: type[Event]
    codec: EventCodec[Any]
    topic: Topic

    def key(self, event: Event) -> bytes:
        """Return the record's key, which decides the partition."""
        key: str = getattr(event, self.topic.keyed_by)
        return key.encode()


TOKEN_STREAM = UsageStream(event_type=TokenUsage, codec=TOKENS, topic=USAGE_TOKENS)
POD_STREAM = UsageStream(event_type=PodUsage, codec=PODS, topic=USAGE_PODS)
NODE_STREAM = UsageStream(event_type=NodeUsage, codec=NODES, topic=USAGE_NODES)
STREAMS = (TOKEN_STREAM, POD_STREAM, NODE_STREAM)

_BY_TYPE = {stream.event_type: stream for stream in STREAMS}
_BY_TOPIC = {stream.topic.name: stream for stream in STREAMS}


def stream_of(event: Event) -> UsageStream:
    """Return the stream that an event belongs to."""
    return _BY_TYPE[type(event)]


def stream_on(topic: str) -> UsageStream:
    """Return the stream on a topic; raise ConfigError for a topic that holds no usage events."""
    if topic not in _BY_TOPIC:
        raise ConfigError(f"topic {topic!r} holds no usage events: expected {' or '.join(_BY_TOPIC)}")
    return _BY_TOPIC[topic]
