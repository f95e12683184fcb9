"""The pieces that panels' SQL is put together from: what is asked, when, narrowed by which variables.

Months are answered from windows, never from events. A series takes the widest windows that fit its interval;
a sum over a range takes days, hours and minutes as they fit, and is exact to the minute.
"""

from __future__ import annotations

__all__ = [
    "ALL_SPEND",
    "CALLERS",
    "CALLS",
    "NOW",
    "PODS",
    "RAW_CALLS",
    "SINCE_MIDNIGHT",
    "SPAN",
    "SPAN_BEFORE",
    "TEAM",
    "TIME",
    "WHOSE",
    "WINDOWS",
    "chosen",
    "largest",
    "money",
    "named",
    "over_time",
    "rolling",
    "series",
]


def chosen(column: str, variable: str | None = None) -> str:
    """Return the condition that `column` is among a variable's chosen values; by default its namesake's."""
    name = variable or column
    return f"$__conditionalAll({column} IN (${{{name}:singlequote}}), ${name})"


TEAM = chosen("team")
WHOSE = f"{TEAM} AND {chosen('project')} AND {chosen('environment')}"
CALLS = f"kind = 'tokens' AND {WHOSE} AND {chosen('model')}"
"""Windows of calls, as chosen."""
PODS = f"kind = 'pods' AND {WHOSE} AND {chosen('cluster')}"
"""Windows of containers, as chosen."""
ALL_SPEND = f"({CALLS} OR {PODS})"
"""Both: a model narrows the calls, a cluster narrows the containers."""
RAW_CALLS = f"$__timeFilter(event_time) AND {WHOSE} AND {chosen('model')}"
"""Calls themselves, for what no window holds; they are kept for `raw_retention_days`."""

CALLERS = (
    "caller_spend(since = toTimeZone($__fromTime, 'UTC'), until = toTimeZone($__toTime, 'UTC')) "
    f"WHERE {WHOSE} AND {chosen('model')}"
)
"""What users, API keys and routes spent in the range, as chosen."""

TIME = "$__timeInterval(window_start) AS time"
WINDOWS = (
    "window_seconds = multiIf($__interval_s >= 86400, 86400, $__interval_s >= 3600, 3600, 60) "
    "AND window_start >= $__timeInterval($__fromTime) AND window_start <= $__toTime"
)
"""Windows for a series: its first point is whole even if the range begins inside it."""

NOW = "toTimeZone($__toTime, 'UTC')"
"""The end of the range: what people mean by now, also when they look at an old recording."""
SINCE_MIDNIGHT = f"toUInt32({NOW} - toStartOfDay({NOW}))"


def rolling(seconds: str, until: str = NOW) -> str:
    """Return the source of sums over the `seconds` that ended at `until`, to the minute."""
    return f"cost_rolling(seconds = {seconds}, until = {until})"


_LENGTH = "toUInt32($__toTime - $__fromTime)"
SPAN = rolling(_LENGTH)
"""Sums over the range."""
SPAN_BEFORE = rolling(_LENGTH, "toTimeZone($__fromTime, 'UTC')")
"""The same over as long a time before it."""


def money(expression: str = "sum(cost)") -> str:
    """Return an exact amount as the float that charts take: the very last step."""
    return f"toFloat64({expression})"


def named(column: str) -> str:
    """Return a name to show, also for what has none."""
    return f"if({column} = '', '(none)', {column})"


def series(column: str, where: str, most: int = 9) -> str:
    """Return the name of a series: the `most` that cost most in the range by themselves, the rest as one."""
    dearest = (
        f"SELECT {column} FROM {SPAN} WHERE {where} GROUP BY {column} "
        f"ORDER BY sum(cost) DESC, {column} LIMIT {most}"
    )
    return f"if({column} IN ({dearest}), {named(column)}, '(other)') AS series"


def over_time(column: str, where: str, amount: str, most: int = 9) -> str:
    """Return the question for a series of each name in a column; `amount` is an expression with its name."""
    return f"""
SELECT {TIME}, {series(column, where, most)}, {amount}
FROM cost_window WHERE {WINDOWS} AND {where}
GROUP BY time, series ORDER BY time, series
"""


def largest(name: str, amount: str, called: str, source: str, *, above_zero: bool = False) -> str:
    """Return the question for the ten names with the largest amounts; `source` follows FROM."""
    having = f"HAVING {called} > 0 " if above_zero else ""
    return f"""
SELECT {name} AS series, {amount} AS {called}
FROM {source}
GROUP BY series {having}ORDER BY {called} DESC, series LIMIT 10
"""
