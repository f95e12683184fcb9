"""Finding dead letters in ClickHouse."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sinks.clickhouse.tables import Tables
from spendstream.deadletters import DeadLetter, Stage

__all__ = ["Wanted", "find"]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters; what is None does not matter. `reason` is a part of the reason."""

    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    line: int | None = None
    stage: Stage | None = None
    reason: str | None = None
    limit: int = 100


async def find(tables: Tables, wanted: Wanted, *, bodies: bool) -> Sequence[DeadLetter]:
    """Return the newest letters that are wanted, oldest first; without `bodies` their values are None."""
    conditions = {
        "topic": "topic = {topic:String}",
        "partition": "partition = {partition:UInt32}",
        "offset": "offset = {offset:UInt64}",
        "line": "line = {line:UInt16}",
        "stage": "stage = {stage:String}",
        "reason": "position(reason, {reason:String}) > 0",
    }
    given = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not None}
    where = " AND ".join(conditions[name] for name in given if name in conditions) or "1"
    rows = await tables.rows(
        f"""
        SELECT topic, partition, offset, line, toUnixTimestamp64Milli(arrived_at), stage, reason,
               hex(key), isNull(key), {"hex(value)" if bodies else "''"}, isNull(value)
        FROM dead_letter WHERE {where}
        ORDER BY arrived_at DESC, partition, offset, line LIMIT {{limit:UInt32}}
        """,
        given,
    )
    return [
        DeadLetter(
            topic=topic,
            partition=partition,
            offset=offset,
            line=line,
            timestamp=timestamp,
            stage=stage,
            reason=reason,
            key=None if no_key else bytes.fromhex(key),
            value=None if no_value or not bodies else bytes.fromhex(value),
        )
        for topic, partition, offset, line, timestamp, stage, reason, key, no_key, value, no_value in rows[
            ::-1
        ]
    ]
