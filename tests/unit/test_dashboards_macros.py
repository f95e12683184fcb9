"""Macros and variables become what Grafana and its ClickHouse plugin make of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.macros import TimeRange, expand, interpolate, interval_for
from spendstream.errors import QueryError

FROM, TO = 1_700_000_000, 1_700_086_400  # 2023-11-14 22:13:20 UTC, a day
TIME = TimeRange(start=FROM * 1000 + 250, end=TO * 1000 + 999, interval=300_000)

MACROS = {
    "$__timeFilter(ts)": f"ts >= toDateTime({FROM}) AND ts <= toDateTime({TO})",
    "$__timeFilter_ms(ts)": f"ts >= fromUnixTimestamp64Milli({FROM}250) "
    f"AND ts <= fromUnixTimestamp64Milli({TO}999)",
    "$__dateFilter(d)": "d >= toDate('2023-11-14') AND d <= toDate('2023-11-15')",
    "$__dateTimeFilter(d, t)": "(d >= toDate('2023-11-14') AND d <= toDate('2023-11-15')) "
    f"AND (t >= toDateTime({FROM}) AND t <= toDateTime({TO}))",
    "$__dt(d, t)": "(d >= toDate('2023-11-14') AND d <= toDate('2023-11-15')) "
    f"AND (t >= toDateTime({FROM}) AND t <= toDateTime({TO}))",
    "$__fromTime": f"toDateTime({FROM})",
    "$__toTime": f"toDateTime({TO})",
    "$__fromTime_ms": f"fromUnixTimestamp64Milli({FROM}250)",
    "$__toTime_ms": f"fromUnixTimestamp64Milli({TO}999)",
    "$__timeFrom(ts)": f"ts >= toDateTime({FROM})",
    "$__timeTo(ts)": f"ts <= toDateTime({TO})",
    "$__timeInterval(ts)": "toStartOfInterval(toDateTime(ts), INTERVAL 300 second)",
    "$__timeInterval_ms(ts)": "toStartOfInterval(toDateTime64(ts, 3), INTERVAL 300000 millisecond)",
    "$__timeGroup(ts, 5m)": "toStartOfInterval(toDateTime(ts), INTERVAL 300 second)",
    "$__timeGroup(ts,2h)": "toStartOfInterval(toDateTime(ts), INTERVAL 7200 second)",
    "$__interval_s": "300",
}


@pytest.mark.parametrize(("macro", "expected"), MACROS.items())
def test_a_macro_becomes_clickhouse_s_sql(macro, expected):
    assert expand(f"SELECT {macro} FROM t", TIME) == f"SELECT {expected} FROM t"


def test_macros_nest_and_the_longest_name_matches():
    assert expand("$__timeInterval($__fromTime_ms)", TIME) == (
        f"toStartOfInterval(toDateTime(fromUnixTimestamp64Milli({FROM}250)), INTERVAL 300 second)"
    )


def test_an_argument_may_have_brackets_commas_and_quotes_in_it():
    assert expand("$__timeFrom(if(a = ')', x, f(y, z)))", TIME) == (
        f"if(a = ')', x, f(y, z)) >= toDateTime({FROM})"
    )


def test_an_unknown_macro_stays():
    assert expand("SELECT $__nothing(a), $__timeFilterish", TIME) == "SELECT $__nothing(a), $__timeFilterish"


@pytest.mark.parametrize("wrong", ["$__timeFilter", "$__timeFilter(a, b)", "$__dt(a)", "$__timeGroup(a)"])
def test_a_wrong_number_of_arguments_is_refused(wrong):
    with pytest.raises(QueryError, match="expected"):
        expand(wrong, TIME)


@pytest.mark.parametrize("wrong", ["$__timeFilter(a", "$__timeGroup(a, 5 minutes)", "$__timeGroup(a, 5ms)"])
def test_what_cannot_be_expanded_is_refused(wrong):
    with pytest.raises(QueryError):
        expand(wrong, TIME)


def test_macros_in_comments_are_blanked_but_not_what_looks_like_a_comment_in_quotes():
    found = expand("SELECT '--', \"/*\" -- $__timeFilter(\n/* $__dt(a) */ $__interval_s", TIME)
    assert found.split() == ["SELECT", "'--',", '"/*"', "300"]


def test_an_interval_is_never_shorter_than_a_second():
    assert expand("$__interval_s", TimeRange(start=0, end=1, interval=10)) == "1"


class TestVariables:
    def sql(self, text, **chosen):
        return interpolate(text, TIME, chosen)

    def test_the_values_of_a_variable_are_quoted(self):
        assert self.sql("team IN (${team:singlequote})", team=["a", "it's"]) == "team IN ('a','it\\'s')"

    def test_a_backslash_cannot_end_a_quotation(self):
        assert self.sql("${team:singlequote}", team=["\\' OR 1=1 --"]) == "'\\\\\\' OR 1=1 --'"

    def test_several_values_without_a_format_become_a_list_and_one_stays_bare(self):
        assert self.sql("$team ${team}", team=["a", "b"]) == "'a','b' 'a','b'"
        assert self.sql("$team", team=["a"]) == "a"

    def test_a_condition_holds_only_while_something_is_chosen(self):
        condition = "$__conditionalAll(team IN (${team:singlequote}), $team)"
        assert self.sql(condition, team=["a"]) == "team IN ('a')"
        assert self.sql(condition, team=[]) == self.sql(condition) == "1=1"

    def test_a_condition_needs_a_variable(self):
        with pytest.raises(QueryError, match="conditionalAll"):
            self.sql("$__conditionalAll(team = 1)")

    def test_the_range_is_a_variable_too_and_macros_are_left_to_the_plugin(self):
        assert self.sql("$__from $__to $__interval_ms $__interval") == f"{FROM}250 {TO}999 300000 5m"
        assert self.sql("$__timeFilter(a) $other ${other}") == "$__timeFilter(a) $other ${other}"

    def test_only_one_format_is_known(self):
        with pytest.raises(QueryError, match="csv"):
            self.sql("${team:csv}", team=["a"])

    @given(st.lists(st.text(), min_size=1))
    def test_a_value_never_leaves_its_quotes(self, values):
        found = interpolate("${team:singlequote}", TIME, {"team": values})
        back, place = [], 0
        while place < len(found):
            assert found[place] == "'"
            place, value = place + 1, ""
            while found[place] != "'":
                place += found[place] == "\\"
                value, place = value + found[place], place + 1
            back.append(value)
            place += 1
            assert place == len(found) or found[place] == ","
            place += 1
        assert back == values


@pytest.mark.parametrize(
    ("hours", "points", "minutes"), [(1, 120, 1), (24, 120, 10), (168, 120, 60), (720, 120, 360), (0, 120, 1)]
)
def test_an_interval_is_round_and_a_minute_at_least(hours, points, minutes):
    assert interval_for(0, hours * 3_600_000, points) == minutes * 60_000


@given(st.integers(1, 10**12), st.integers(1, 2000))
def test_every_interval_of_an_hour_or_more_is_whole_hours_and_of_a_day_or_more_whole_days(length, points):
    seconds = interval_for(0, length, points) // 1000
    assert seconds % (86_400 if seconds >= 86_400 else 3600 if seconds >= 3600 else 60) == 0
