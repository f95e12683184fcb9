"""Chargeback: shared costs split to the last picodollar, and what each owes beside the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.budgets import Budget, BudgetBook, Calendar, Rolling
from spendstream.money import PICO
from spendstream.reports.chargeback import NOBODY, Sharing, budgeted, table
from spendstream.reports.span import Span, month_of
from spendstream.sharing import POLICIES, shared_out

DAY = 24 * 3600 * 10**6
MONTH = month_of("2024-01")
NAMES = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(0, 10**30), min_size=1)


def spent(**costs: int) -> Sequence[Mapping[str, Any]]:
    return [{"team": team, "cost": cost, "unpriced": 0} for team, cost in costs.items()]


def monthly(name: str, usd: int, **fields: Any) -> Budget:
    return Budget(
        **{"id": name, "name": name, "amount": usd * PICO, "period": Calendar(unit="month")} | fields
    )


@given(st.integers(0, 10**30), NAMES, st.sampled_from(POLICIES), st.data())
def test_parts_add_up_to_what_is_shared(
    amount: int, direct: dict[str, int], policy: Any, data: st.DataObject
) -> None:
    weights = {name: data.draw(st.integers(1, 100)) for name in direct}
    parts = shared_out(amount, direct, policy, weights)
    assert sum(parts.values()) == amount
    backwards = dict(reversed(direct.items()))
    assert shared_out(amount, backwards, policy, weights) == parts


def test_each_policy_shares_in_its_own_way() -> None:
    direct = {"a": 30, "b": 10}
    assert shared_out(8, direct, "proportional") == {"a": 6, "b": 2}
    assert shared_out(8, direct, "even") == {"a": 4, "b": 4}
    assert shared_out(8, direct, "fixed", {"b": 1, "c": 3, "a": 0}) == {"b": 2, "c": 6}


def test_nobody_can_share_if_there_is_nobody() -> None:
    with pytest.raises(ValueError, match="nobody"):
        shared_out(8, {}, "even")
    with pytest.raises(ValueError, match="nobody"):
        table("team", MONTH, spent(platform=5), [], Sharing(shared={"platform"}), {})


@given(NAMES, st.integers(0, 10**30))
def test_what_all_owe_is_what_was_spent(direct: dict[str, int], shared: int) -> None:
    answer = spent(**direct) + spent(platform=shared)
    found = table("team", MONTH, answer, [], Sharing(shared={"platform"}), {})
    assert sum(int(str(cell)) for cell in found.column("total")) == sum(direct.values()) + shared
    assert "platform" not in found.column("team")


def test_without_anything_shared_each_owes_its_own_spend() -> None:
    found = table("team", MONTH, spent(a=1, b=2), [], Sharing(), {})
    assert [list(row[:4]) for row in found.rows] == [["b", 2, 0, 2], ["a", 1, 0, 1]]


def test_spend_without_an_owner_is_shown_and_can_be_shared() -> None:
    answer = [*spent(a=6), {"team": "", "cost": 4, "unpriced": 0}]
    assert table("team", MONTH, answer, [], Sharing(), {}).column("team") == ["a", NOBODY]
    found = table("team", MONTH, answer, [], Sharing(shared={NOBODY}), {})
    assert [list(row[:4]) for row in found.rows] == [["a", 6, 4, 10]]


BILL = spent(**{"(idle)": 50, "(overcommit)": -5, "(shared)": 20})


def test_what_clusters_pay_for_beside_containers_has_rows_that_pay_for_nobody() -> None:
    found = table("team", MONTH, spent(a=6, platform=4), BILL, Sharing(shared={"platform"}), {})
    assert [list(row[:4]) for row in found.rows] == [
        ["(idle)", 50, 0, 50],
        ["(shared)", 20, 0, 20],
        ["a", 6, 4, 10],
        ["(overcommit)", -5, 0, -5],
    ]
    assert "whole bills" in "".join(found.notes)


@pytest.mark.parametrize("policy", ["proportional", "even"])
def test_idle_can_be_shared_like_anything_else(policy: Any) -> None:
    sharing = Sharing(shared={"(idle)", "(overcommit)"}, policy=policy)
    found = table("team", MONTH, spent(a=5, b=5), BILL, sharing, {})
    assert [list(row[:3]) for row in found.rows] == [["a", 5, 23], ["b", 5, 22], ["(shared)", 20, 0]]


def test_by_time_clusters_are_in_their_day() -> None:
    answer = [{"day": DAY, "cost": 3, "unpriced": 0}]
    bill = [{"day": DAY, "cost": 4, "unpriced": 1}, {"day": 2 * DAY, "cost": 5, "unpriced": 1}]
    found = table("day", MONTH, answer, bill, Sharing(), {})
    assert [list(row[:2]) for row in found.rows] == [[DAY, 7], [2 * DAY, 5]]
    assert any(note.startswith("2 events have no price") for note in found.notes)


def test_variance_is_what_is_over_the_budget() -> None:
    [over, under, free] = table("team", MONTH, spent(a=12, b=5, c=1), [], Sharing(), {"a": 10, "b": 10}).rows
    assert [over[4], over[5], str(over[6])] == [10, 2, "1/5"]
    assert [under[4], under[5], str(under[6])] == [10, -5, "-1/2"]
    assert list(free[4:]) == [None, None, None]


def test_a_month_has_the_budget_of_that_month() -> None:
    book = BudgetBook([monthly("a", 310, scope={"team": "a"}), monthly("all", 999)])
    assert budgeted("team", MONTH, book) == {"a": 310 * PICO}


def test_a_part_of_a_month_has_its_part_of_the_budget() -> None:
    book = BudgetBook([monthly("a", 310, scope={"team": "a"})])
    ten_days = Span(start=MONTH.start, end=MONTH.start + 10 * DAY)
    assert budgeted("team", ten_days, book) == {"a": 100 * PICO}
    over_two_months = Span(start=MONTH.start, end=month_of("2024-02").end)
    assert budgeted("team", over_two_months, book) == {"a": 620 * PICO}


def test_a_budget_that_changed_in_between_counts_from_then_on() -> None:
    changed = MONTH.start + 21 * DAY
    book = BudgetBook(
        [
            monthly("a", 310, scope={"team": "a"}, effective_until=changed),
            monthly("a", 620, scope={"team": "a"}, version=2, effective_from=changed),
        ]
    )
    assert budgeted("team", MONTH, book) == {"a": (210 + 200) * PICO}


def test_of_budgets_of_one_scope_the_longest_counts() -> None:
    daily = monthly("daily", 20, scope={"team": "a"}, period=Calendar(unit="day"))
    book = BudgetBook([daily, monthly("a", 310, scope={"team": "a"})])
    assert budgeted("team", MONTH, book) == {"a": 310 * PICO}


def test_a_rolling_budget_counts_by_its_length() -> None:
    rolling = monthly("a", 30, scope={"team": "a"}, period=Rolling(length=30 * DAY))
    assert budgeted("team", MONTH, BudgetBook([rolling])) == {"a": 31 * PICO}
