"""Days of callers: what users, API keys and routes spent, added up once a day is over.

Windows know no callers: there are too many of them to be held by a worker. So their days are made here, in
ClickHouse alone, from calls without their duplicates. Whether a day is still right is told by the names of
the parts that hold its calls: they change with every insert and every merge, so that nothing that came late
is missed, and a day that stays as it is costs nothing.
"""

from __future__ import annotations

from sinks.clickhouse.tables import Tables
from spendstream.windows import DAY

__all__ = ["add_up_days"]

_BY = "org, team, project, environment, service, user, key_id, route, provider, model"

_CHANGED = """
SELECT toUnixTimestamp(toDateTime(held.day, 'UTC')), held.parts, made.calls
FROM
(
    SELECT toDate(partition) AS day, sipHash64(arraySort(groupArray(name))) AS parts
    FROM system.parts
    WHERE database = currentDatabase() AND table = 'token_usage_raw' AND active
    GROUP BY partition
) AS held
LEFT JOIN (SELECT day, parts, calls FROM caller_day_made FINAL) AS made ON made.day = held.day
WHERE held.parts != made.parts AND held.day < toDate(fromUnixTimestamp64Micro({now:Int64}, 'UTC'))
ORDER BY held.day
"""
_DAY = "{day:DateTime('UTC')}"
_CALLS = f"FROM token_usage WHERE event_time >= {_DAY} AND event_time < {_DAY} + {DAY}"
_ADD_UP = f"""
INSERT INTO caller_day_state (day, {_BY}, ver, calls, unpriced, cost, avoided_by_routing)
SELECT {_DAY}, {_BY}, {{now:UInt64}}, count(), countIf(cost IS NULL), sum(ifNull(cost, 0)),
    sum(avoided_by_routing)
{_CALLS}
GROUP BY {_BY}
"""  # constants
_NOTE = """
INSERT INTO caller_day_made (day, ver, calls, parts)
VALUES ({day:UInt32}, {now:UInt64}, {calls:UInt64}, {parts:UInt64})
"""


async def add_up_days(tables: Tables, now: int) -> int:
    """Add up the days before that of `now` (microseconds) whose calls have changed; return how many were.

    What comes in meanwhile changes the parts, and is added up the next time. A day that has fewer calls than
    it had has begun to expire: what is known of it stays.
    """
    made = 0
    for day, parts, known in await tables.rows(_CHANGED, {"now": now}):
        [[calls]] = await tables.rows(f"SELECT count() {_CALLS}", {"day": day})
        if calls >= known:
            await tables.run(_ADD_UP, {"day": day, "now": now})
            made += 1
        noted = {"day": day // DAY, "now": now, "calls": max(calls, known), "parts": parts}
        await tables.run(_NOTE, noted)
    return made
