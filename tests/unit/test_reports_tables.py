"""Reports as tables: what they say of an answer, and that machines get every digit."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.budgets import Assessment, Budget, Calendar, SpendSeries, assess
from spendstream.money import dollars
from spendstream.reports import anomalies, budgets, cache, costs, savings, waste
from spendstream.reports.dimensions import in_windows, parse
from spendstream.reports.formats import to_csv, to_json, write_parquet
from spendstream.reports.page import filled, page
from spendstream.reports.questions import MEASURES
from spendstream.reports.span import month_of
from spendstream.reports.table import Column, Table
from spendstream.reports.wording import shown, usd

SPAN = month_of("2024-01")
MONEY = st.integers(-(10**25), 10**25)  # thirteen digits before the point, twelve behind it


def record(**measures: Any) -> Mapping[str, Any]:
    return dict.fromkeys(MEASURES, 0) | {"team": "a", "model": "m"} | measures


def one(name: str, kind: Any, *cells: Any, **fields: Any) -> Table:
    column = Column(name=name, kind=kind)
    return Table(name="r", title="t", about="a", columns=[column], rows=[[c] for c in cells], **fields)


def test_shares_of_costs_are_exact_and_add_up() -> None:
    found = costs.table(("team",), SPAN, [record(cost=1, team="a"), record(cost=2, team="b")])
    assert found.column("share") == [Fraction(1, 3), Fraction(2, 3)]
    assert found.total is not None
    assert found.total[:2] == ["total", 3]


def test_a_report_says_what_has_no_price() -> None:
    [note] = costs.table(("team",), SPAN, [record(unpriced=1200)]).notes
    assert note.startswith("1,200 events have no price")
    assert costs.table(("team",), SPAN, [record()]).notes == []


def test_a_report_says_that_single_events_are_kept_for_a_shorter_time() -> None:
    [note] = costs.table(("user",), SPAN, [record(user="u")]).notes
    assert "raw_retention_days" in note


def test_the_cache_is_judged_by_calls_and_by_money() -> None:
    answer = [
        record(events=8, cache_hits=2, avoided_by_cache=1, cost=3, input_tokens=10, cache_read_tokens=5)
    ]
    found = cache.table(("team",), SPAN, answer)
    assert found.column("hit_ratio") == [Fraction(1, 4)]
    assert found.column("hit_ratio_by_cost") == [Fraction(1, 4)]
    assert found.column("cache_read_ratio") == [Fraction(1, 2)]


def test_where_nothing_happened_there_is_no_ratio() -> None:
    assert cache.table(("team",), SPAN, [record()]).column("hit_ratio") == [None]


def test_savings_are_of_what_it_would_have_cost() -> None:
    more = record(team="b", avoided_by_cache=1, avoided_by_routing=2, avoided_by_compression=3, cost=6)
    found = savings.table(("team",), SPAN, [record(avoided_by_cache=1), more])
    assert found.column("team") == ["b", "a"]
    assert found.column("saved") == [6, 1]
    assert found.column("share") == [Fraction(1, 2), Fraction(1)]


def test_savings_over_time_stay_in_order_of_time() -> None:
    answer = [record(day=0, avoided_by_cache=1), record(day=86_400_000_000, avoided_by_cache=5)]
    assert savings.table(("day",), SPAN, answer).column("saved") == [1, 5]


def test_waste_is_what_failed_and_what_broke_off() -> None:
    figures = {
        "failed_calls": 1,
        "failed_cost": 2,
        "interrupted_calls": 1,
        "interrupted_cost": 3,
        "idle_cost": 0,
        "retries": 4,
    }
    found = waste.table(("team",), SPAN, [{"team": "a", "events": 9, "cost": 10, **figures}])
    assert found.column("waste") == [5]
    assert found.column("share") == [Fraction(1, 2)]


def test_impacts_of_anomalies_are_not_added_up() -> None:
    row = {"started_at": 0, "ended_at": 0, "state": "opened", "severity": "critical", "org": "", "team": "a"}
    row |= {"type": "cost_spike", "measure": "cost", "impact": 5, "planned": 1}
    found = anomalies.table(SPAN, [row, row])
    assert found.total is None
    assert found.column("planned") == ["yes", "yes"]


@given(st.lists(MONEY, max_size=5))
def test_csv_has_every_digit_of_money(cells: list[int]) -> None:
    header, *rows = csv.reader(io.StringIO(to_csv(one("cost", "money", *cells))))
    assert header == ["cost"]
    assert [int(Decimal(text).scaleb(12)) for (text,) in rows] == cells


@given(st.lists(MONEY, max_size=5))
def test_json_has_every_digit_of_money(cells: list[int]) -> None:
    found = json.loads(to_json(one("cost", "money", *cells)), parse_float=Decimal)
    assert [int(row["cost"].scaleb(12)) for row in found["rows"]] == cells


@given(st.lists(st.one_of(st.none(), MONEY), max_size=5))
def test_parquet_has_every_digit_of_money(cells: list[int | None]) -> None:
    file = io.BytesIO()
    write_parquet(one("cost", "money", *cells), file)
    found = pq.read_table(file)["cost"].to_pylist()
    assert found == [None if cell is None else dollars(cell) for cell in cells]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_names_of_any_kind_survive_csv(name: str) -> None:
    [_, [found]] = csv.reader(io.StringIO(to_csv(one("team", "text", name)), newline=""))
    assert found == name


def test_machines_get_no_words_for_nothing() -> None:
    assert to_csv(one("share", "share", None, Fraction(1, 3))) == 'share\n""\n0.333333333\n'
    assert json.loads(to_json(one("share", "share", None)))["rows"] == [{"share": None}]


@pytest.mark.parametrize(
    ("pico", "text"),
    [
        (0, "$0.00"),
        (10**12, "$1.00"),
        (-1_234_560_000_000_000, "-$1,234.56"),
        (9_999_999_999, "$0.010000"),
        (123_456_789, "$0.000123"),
    ],
)
def test_people_see_cents_and_of_less_the_millionth(pico: int, text: str) -> None:
    assert usd(pico) == text


def test_a_difference_is_shown_to_its_last_digit() -> None:
    column = Column(name="d", kind="money", exact=True)
    assert shown(column, 47_608_895_000_000) == "$47.608895"
    assert shown(column, -1) == "-$0.000000000001"
    assert shown(column, 1_500 * 10**12) == "$1,500.00"


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_a_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    found = Page(page("January", [costs.table(("team",), SPAN, [record(cost=5 * 10**12)])]))
    tags = {tag for tag, _ in found.tags}
    assert not tags & {"script", "link", "img", "iframe", "object"}
    assert not any("href" in attributes or "src" in attributes for _, attributes in found.tags)


def test_a_page_has_a_table_that_a_screen_reader_understands() -> None:
    found = Page(page("January", [costs.table(("team",), SPAN, [record(cost=5 * 10**12)])]))
    assert ("html", {"lang": "en"}) in found.tags
    headings = [attributes.get("scope") for tag, attributes in found.tags if tag == "th"]
    assert headings.count("row") == 1
    assert headings.count("col") == 9
    [svg] = [attributes for tag, attributes in found.tags if tag == "svg"]
    assert (svg["role"], svg["aria-label"]) == ("img", "What was spent, by team")


def test_names_are_no_markup() -> None:
    evil = "<script>alert(1)</script>"
    text = page(evil, [costs.table(("team",), SPAN, [record(team=evil, cost=5)])])
    assert "<script" not in text
    assert evil in Page(text).words


def test_a_report_without_rows_says_so_and_draws_nothing() -> None:
    text = page("January", [costs.table(("team",), SPAN, [])])
    assert "Nothing of this kind landed" in text
    assert "<svg" not in text


@given(st.sets(st.integers(0, 40), min_size=2))
def test_a_chart_skips_no_step_of_time(steps: set[int]) -> None:
    points = [(step * 60, step) for step in sorted(steps)]
    found = filled(points)
    assert [point for point in found if point[1] or point in points] == points
    gaps = {later[0] - earlier[0] for earlier, later in pairwise(found)}
    assert len(gaps) == 1 or found == points


@pytest.mark.parametrize("text", ["tean", "team,team", "", "team,,model"])
def test_what_is_no_dimension_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="dimension"):
        parse(text)


def test_only_what_windows_do_not_know_is_read_from_single_events() -> None:
    assert in_windows(parse("month,team,model,namespace"))
    assert not in_windows(parse("team,user"))


def standing(name: str, spent: int, limit: int = 100, **fields: Any) -> tuple[Budget, Assessment]:
    budget = Budget(id=name, name=name, amount=limit, period=Calendar(unit="month"), **fields)
    series = SpendSeries([(SPAN.start, spent)] if spent else [], since=SPAN.start)
    return budget, assess(budget, series, SPAN.start + SPAN.length // 4)


def test_budgets_that_are_spent_the_most_come_first() -> None:
    found = budgets.table([standing("a", 10), standing("b", 120), standing("c", 55)], [], 0)
    assert found.column("budget") == ["b", "c", "a"]
    assert found.column("state")[0] == "exceeded"
    assert found.column("left") == [-20, 45, 90]


def test_a_budget_says_how_much_of_its_period_is_gone() -> None:
    at = SPAN.start + SPAN.length // 4
    found = budgets.table([standing("a", 10, scope={"team": "t", "org": "o"})], [], at)
    assert found.column("period_share") == [Fraction(1, 4)]
    assert found.column("scope") == ["org=o, team=t"]


def test_budgets_of_keys_are_named_as_left_out() -> None:
    budget, _ = standing("k", 0, scope={"key_id": "k"})
    assert budgets.table([], [budget], 0).notes == ["Left out, as windows know no keys: k."]
