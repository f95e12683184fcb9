"""Recommendations: what a container should request and why, as frozen values on the wire.

An id names a proposal: a container, what it requests, and what it should. The same proposal made twice is
therefore one, and a newer state of it replaces the older. A proposal that nobody applied is superseded by the
next one of the same container; one that was applied is followed up.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from spendstream.clock import from_micros
from spendstream.errors import MalformedEvent
from spendstream.rightsizing.days import Container
from spendstream.rightsizing.sizing import Decision

__all__ = [
    "MAX_RECOMMENDATION_BYTES",
    "FollowUp",
    "Recommendation",
    "State",
    "decode",
    "encode",
    "headers",
    "recommendation_id",
]

SCHEMA_VERSION = 1
MAX_RECOMMENDATION_BYTES = 1 << 16

State = Literal["open", "fits", "refused", "applied", "superseded"]

_VERSION_8 = 0x8 << 76  # RFC 9562: the layout of the rest is ours
_VARIANT = 0b10 << 62
_FREE_BITS = (1 << 128) - 1 & ~(0xF << 76) & ~(0b11 << 62)


class FollowUp(Struct, frozen=True, kw_only=True):
    """What became of an applied recommendation.

    `saved_per_hour` is in picodollars, for as many replicas as there are now; None while no price covers
    them. `breaches` counts the days since on which memory exceeded its new request, or was killed for it.
    """

    applied_at: int
    days: int = 0
    breaches: int = 0
    saved_per_hour: int | None = None


class Recommendation(
    Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="v", tag=SCHEMA_VERSION
):
    """What a container of a workload should request: how much that saves, how sure it is, and how to do it.

    It is `open` while there is something to change; else all `fits`, or was `refused`. `at` is when this
    state was found, in microseconds; of one id the newest counts. CPU is in nanocores, memory in bytes,
    money in picodollars an hour; what is freed is of all replicas together, and negative where requests
    rise. `nodes` can go, and `nodes_per_hour` is what the bill falls by; None while no packing has said so.
    `breach_rate` is the share of back-tests that memory failed, `cpu_time_over` the share of time in which
    CPU was above what the days before had recommended. `patch` is YAML, empty where there is nothing to
    apply.
    """

    id: UUID
    at: int
    state: State
    cluster: str
    namespace: str
    workload_kind: str
    workload: str
    container: str
    team: str = ""
    revision: str = ""
    replicas: float = 0.0
    cpu: Decision
    memory: Decision
    cpu_limit: int = 0
    memory_limit: int = 0
    cpu_freed: int = 0
    memory_freed: int = 0
    freed_per_hour: int | None = None
    nodes: int | None = None
    nodes_per_hour: int | None = None
    idle_per_hour: int | None = None
    days: float = 0.0
    breach_rate: float = 0.0
    cpu_time_over: float = 0.0
    confidence: float = 0.0
    reasons: list[str] = []
    caveats: list[str] = []
    patch: str = ""
    follow_up: FollowUp | None = None

    @property
    def whose(self) -> Container:
        """The container that it is about."""
        return Container(self.cluster, self.namespace, self.workload_kind, self.workload, self.container)


def recommendation_id(container: Container, amounts: Mapping[str, tuple[int, int]], reasons: object) -> UUID:
    """Return the id of the proposal to change `amounts` from the first to the second, for `reasons`."""
    parts = msgspec.json.encode([container, sorted(amounts.items()), reasons])
    digest = int.from_bytes(blake2b(parts, digest_size=16).digest(), "big")
    return UUID(int=digest & _FREE_BITS | _VERSION_8 | _VARIANT)


_decoder = msgspec.json.Decoder(Recommendation)


def encode(recommendation: Recommendation) -> bytes:
    """Return the record's value."""
    return msgspec.json.encode(recommendation)


def decode(value: bytes | None) -> Recommendation:
    """Return the recommendation in a record's value; raise MalformedEvent with the reason."""
    if value is None:
        raise MalformedEvent("empty record: expected a JSON object")
    if len(value) > MAX_RECOMMENDATION_BYTES:
        raise MalformedEvent(f"record of {len(value)} bytes: at most {MAX_RECOMMENDATION_BYTES} are accepted")
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedEvent(str(error)) from error


def headers(recommendation: Recommendation) -> list[tuple[str, bytes]]:
    """Return the CloudEvents 1.0 attributes (Kafka binding, binary mode)."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", f"{recommendation.id}/{recommendation.at}".encode()),
        ("ce_source", b"spendstream/recommendations"),
        ("ce_type", b"spendstream.recommendation"),
        ("ce_time", from_micros(recommendation.at).isoformat().encode()),
        ("content-type", b"application/json"),
    ]
