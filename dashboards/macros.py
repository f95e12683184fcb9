"""Grafana's macros and variables, expanded as Grafana and its ClickHouse plugin do it. Pure text in and out.

There are two stages, as in Grafana. `interpolate` does what the browser does: variables, `$__from`,
`$__to`, `$__interval`, `$__conditionalAll`. `expand` does what the plugin does: comments are blanked, then
macros become ClickHouse's SQL, the inner ones first. An unknown macro stays as it is; ClickHouse then names
it in its error.

One deviation: a backslash in a chosen value is escaped as well as a quote. Grafana trusts who chooses, we do
not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from msgspec import Struct

from spendstream.errors import QueryError

__all__ = ["TimeRange", "expand", "interpolate", "interval_for"]

_NICE_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200,
           86_400, 172_800, 604_800, 2_592_000)  # fmt: skip
_CHOSEN = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(\w+)")
_MACRO = re.compile(r"\$__(\w+)")
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class TimeRange(Struct, frozen=True, kw_only=True):
    """From when until when (milliseconds since 1970 UTC, both inclusive), and how wide a point is (ms)."""

    start: int
    end: int
    interval: int = 60_000

    @property
    def interval_s(self) -> int:
        """The interval in whole seconds, at least one."""
        return max(self.interval // 1000, 1)


def interval_for(start: int, end: int, points: int, least: int = 60_000) -> int:
    """Return the interval (ms) that Grafana takes: a round one, about `points` to the range, or `least`."""
    raw = max((end - start) / max(points, 1), 1)
    for low, high in pairwise(_NICE_S):
        if raw < (low + high) * 500:
            return max(low * 1000, least)
    return max(_NICE_S[-1] * 1000, least)


def interpolate(sql: str, time: TimeRange, chosen: Mapping[str, Sequence[str]]) -> str:
    """Return `sql` as the browser sends it to the plugin.

    `chosen` has the values of each variable; none: All.
    """
    sql = _conditionals(sql, chosen)
    built_in = {
        "__from": str(time.start),
        "__to": str(time.end),
        "__interval_ms": str(time.interval),
        "__interval": _duration(time.interval),
    }

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[3]
        if name in built_in:
            return built_in[name]
        if name not in chosen:
            return match[0]
        quoted = [_quoted(each) for each in chosen[name]]
        return ",".join(quoted) if match[2] == "singlequote" else _plain(chosen[name], match[2])

    return _CHOSEN.sub(value, sql)


def expand(sql: str, time: TimeRange) -> str:
    """Return the SQL that ClickHouse gets; raise QueryError for a wrong number of arguments."""
    sql = _without_comments(sql)
    while (last := _last_macro(sql)) is not None:
        match, name = last
        arguments, end = _arguments(sql, match.end()) if _takes_arguments(name) else ([], match.end())
        sql = sql[: match.start()] + _expanded(name, arguments, time) + sql[end:]
    return sql


def _conditionals(sql: str, chosen: Mapping[str, Sequence[str]]) -> str:
    while (start := sql.rfind("$__conditionalAll(")) >= 0:
        arguments, end = _arguments(sql, start + len("$__conditionalAll"))
        if len(arguments) != 2:  # noqa: PLR2004  # a condition and a variable
            raise QueryError("$__conditionalAll: expected a condition and a variable")
        name = arguments[1].strip().lstrip("$").strip("{}").partition(":")[0]
        sql = sql[:start] + (arguments[0] if chosen.get(name) else "1=1") + sql[end:]
    return sql


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _plain(values: Sequence[str], form: str | None) -> str:
    """Return values without a format that quotes: several become a list of texts, one stays bare."""
    if form is not None:
        raise QueryError(f"${{…:{form}}}: only the format singlequote is known")
    return ",".join(map(_quoted, values)) if len(values) != 1 else values[0]


def _duration(milliseconds: int) -> str:
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds % length == 0:
            return f"{milliseconds // length}{unit}"
    return f"{milliseconds}ms"


def _without_comments(sql: str) -> str:
    """Blank comments, but not what only looks like one inside quotes."""
    pattern = re.compile(
        r"""('(?:\\.|''|[^'\\])*'|"(?:\\.|[^"\\])*"|`[^`]*`)|(--[^\n]*|/\*.*?\*/)""", re.DOTALL
    )
    return pattern.sub(lambda match: match[1] or re.sub(r"[^\n]", " ", match[2]), sql)


def _last_macro(sql: str) -> tuple[re.Match[str], str] | None:
    """Return the last known macro: its arguments hold none, so that the inner ones of a nest come first."""
    known = [(match, match[1]) for match in _MACRO.finditer(sql) if match[1] in _MACROS]
    return known[-1] if known else None


def _takes_arguments(name: str) -> bool:
    return _MACROS[name][0] > 0


def _arguments(sql: str, start: int) -> tuple[list[str], int]:
    """Return the arguments in the brackets that open at `start`, and where the brackets end."""
    if sql[start : start + 1] != "(":
        return [], start
    depth, begin = 0, start + 1
    found: list[str] = []
    for place, character in _unquoted(sql, start):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return [*found, sql[begin:place]], place + 1
        if character == "," and depth == 1:
            found.append(sql[begin:place])
            begin = place + 1
    raise QueryError(f"a macro's brackets never close: {sql[start : start + 40]}")


def _unquoted(sql: str, start: int) -> Iterator[tuple[int, str]]:
    """Yield the characters from `start` on that are not inside quotes, and where they are."""
    quote, escaped = "", False
    for place in range(start, len(sql)):
        character = sql[place]
        if quote:
            if escaped or character == "\\":
                escaped = not escaped
            elif character == quote:
                quote = ""
        elif character in "'\"`":
            quote = character
        else:
            yield place, character


def _expanded(name: str, arguments: Sequence[str], time: TimeRange) -> str:
    count, template = _MACROS[name]
    if len(arguments) != count:
        raise QueryError(f"$__{name}: expected {count} arguments, found {len(arguments)}")
    return template(time, *(argument.strip() for argument in arguments))


def _seconds(milliseconds: int) -> str:
    return f"toDateTime({milliseconds // 1000})"


def _millis(milliseconds: int) -> str:
    return f"fromUnixTimestamp64Milli({milliseconds})"


def _day(milliseconds: int) -> str:
    return f"toDate('{datetime.fromtimestamp(milliseconds // 1000, UTC):%Y-%m-%d}')"


def _between(moment: Callable[[int], str]) -> Callable[..., str]:
    return lambda time, column: f"{column} >= {moment(time.start)} AND {column} <= {moment(time.end)}"


def _date_and_time(time: TimeRange, day: str, moment: str) -> str:
    return f"({_between(_day)(time, day)}) AND ({_between(_seconds)(time, moment)})"


def _grouped(time: TimeRange, column: str, width: str) -> str:
    del time
    match = _DURATION.fullmatch(width.strip("'\""))
    if match is None or match[2] == "ms":
        raise QueryError(f"$__timeGroup: expected an interval such as 5m, found {width}")
    return _starting(f"toDateTime({column})", f"{int(match[1]) * _SECONDS[match[2]]} second")


def _starting(column: str, interval: str) -> str:
    return f"toStartOfInterval({column}, INTERVAL {interval})"


_MACROS: Mapping[str, tuple[int, Callable[..., str]]] = {
    "timeFilter": (1, _between(_seconds)),
    "timeFilter_ms": (1, _between(_millis)),
    "dateFilter": (1, _between(_day)),
    "dateTimeFilter": (2, _date_and_time),
    "dt": (2, _date_and_time),
    "fromTime": (0, lambda time: _seconds(time.start)),
    "toTime": (0, lambda time: _seconds(time.end)),
    "fromTime_ms": (0, lambda time: _millis(time.start)),
    "toTime_ms": (0, lambda time: _millis(time.end)),
    "timeFrom": (1, lambda time, column: f"{column} >= {_seconds(time.start)}"),
    "timeTo": (1, lambda time, column: f"{column} <= {_seconds(time.end)}"),
    "timeInterval": (1, lambda t, column: _starting(f"toDateTime({column})", f"{t.interval_s} second")),
    "timeInterval_ms": (
        1,
        lambda t, column: _starting(f"toDateTime64({column}, 3)", f"{max(t.interval, 1)} millisecond"),
    ),
    "timeGroup": (2, _grouped),
    "interval_s": (0, lambda time: str(time.interval_s)),
}
"""How many arguments a macro takes, and what it becomes."""
