"""Invoices: what a CSV file says, and how it is held against the ledger."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.errors import ConfigError
from spendstream.invoices.comparison import Tolerance, ask, compare, recorded, table, tolerance
from spendstream.invoices.lines import Invoice, read
from spendstream.money import PICO, plain_usd
from spendstream.reports.span import month_of

JANUARY_1 = 1_704_067_200 * 10**6
MONTH = month_of("2024-01")


def invoice(text: str, **columns: str) -> Invoice:
    return read(text.splitlines(keepends=True), columns)


def of(lines: Mapping[str, int]) -> Invoice:
    text = "".join(f"p,{model},{plain_usd(cost)}\n" for model, cost in lines.items())
    return invoice(f"provider,model,amount\n{text}")


def ledger(lines: Mapping[str, int]) -> Mapping[tuple[str | int, ...], Mapping[str, int]]:
    return {("p", model): {"amount": cost, "unpriced": 0} for model, cost in lines.items()}


def test_lines_of_one_key_are_added_up() -> None:
    found = invoice(
        "provider,model,day,amount\nOpenAI,m,2024-01-01,1.5\nopenai,M,2024-01-01T10:00:00Z,0.25\n"
    )
    assert found.lines == {("openai", "m", JANUARY_1): {"amount": 175 * PICO // 100}}


def test_columns_may_have_other_names() -> None:
    found = invoice("Vendor,SKU,Cost\np,m,$1\n", provider="Vendor", model="SKU", amount="Cost")
    assert found.lines == {("p", "m"): {"amount": PICO}}


def test_a_provider_can_be_named_beside_the_file() -> None:
    found = read(["amount,input_tokens\n", "1,\n"], {}, provider="OpenAI")
    assert found.lines == {("openai",): {"amount": PICO, "input_tokens": 0}}


@pytest.mark.parametrize(
    ("text", "pico"),
    [
        ("1,234.50", 123_450 * PICO // 100),
        ("$1,234,567", 1_234_567 * PICO),
        ("-2", -2 * PICO),
        ("-$2", -2 * PICO),
        ("0.000000000001", 1),
    ],
)
def test_amounts_are_read_exactly(text: str, pico: int) -> None:
    found = invoice(f'provider,amount\np,"{text}"\n')
    assert found.lines == {("p",): {"amount": pico}}


@pytest.mark.parametrize("text", ["1.234,50", "1,5", "12 EUR", "one", "NaN"])
def test_an_amount_that_can_be_read_in_two_ways_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^line 3: "):
        invoice(f'provider,amount\np,1\np,"{text}"\n')


def test_all_lines_at_fault_are_told_up_to_a_bound() -> None:
    with pytest.raises(ConfigError) as caught:
        invoice("provider,day,amount\n" + "p,soon,1\n" * 12)
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[-1]) == (11, "and 2 more")


@pytest.mark.parametrize(
    ("text", "columns", "reason"),
    [
        ("model,amount\nm,1\n", {}, "needs a provider"),
        ("provider,model\np,m\n", {}, "needs a provider"),
        ("", {}, r"\(none\)"),
        ("provider,amount\n", {}, "no lines"),
        ("provider,amount\np,1\n", {"amount": "Amuont"}, "no column 'Amuont'"),
        ("provider,amount\np,1\n", {"amuont": "amount"}, "did you mean amount"),
        ("provider,amount\np\n", {}, "line 2"),
    ],
)
def test_a_file_that_is_no_invoice_is_refused(text: str, columns: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        invoice(text, **columns)


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10**20)))
def test_an_invoice_that_says_what_the_ledger_says_agrees(lines: dict[str, int]) -> None:
    if lines:
        assert {line.state for line in compare(of(lines), ledger(lines), Tolerance())} == {"agrees"}


def test_a_picodollar_is_a_difference() -> None:
    [line] = compare(of({"m": 10**12 + 1}), ledger({"m": 10**12}), Tolerance())
    assert (line.state, line.invoiced, line.recorded) == (
        "differs",
        {"amount": 10**12 + 1},
        {"amount": 10**12},
    )


def test_lines_that_only_one_has_differ() -> None:
    found = compare(of({"a": 1, "b": 1}), ledger({"b": 1, "c": 1}), Tolerance())
    assert [line.state for line in found] == ["not in the ledger", "agrees", "not on the invoice"]


def test_nothing_is_not_missed() -> None:
    found = compare(of({"a": 0}), ledger({"b": 0}), Tolerance())
    assert [line.state for line in found] == ["agrees", "agrees"]


def test_a_tolerance_is_money_or_a_share() -> None:
    cent, per_mille = tolerance("0.01"), tolerance("0.1%")
    assert cent.allows("amount", PICO, PICO + PICO // 100)
    assert not cent.allows("amount", PICO, PICO + PICO // 100 + 1)
    assert not cent.allows("input_tokens", 1000, 1001)
    assert per_mille.allows("input_tokens", 1000, 1001)
    assert not per_mille.allows("input_tokens", 1000, 1002)


@pytest.mark.parametrize("text", ["", "-1", "some", "1%%", "-0.5%"])
def test_what_is_no_tolerance_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"tolerance|amount"):
        tolerance(text)


def test_the_table_says_the_difference_and_what_has_no_price() -> None:
    found = of({"m": 5})
    lines = compare(found, {("p", "m"): {"amount": 3, "unpriced": 2}}, Tolerance())
    drawn = table(found, lines, MONTH)
    assert [list(row) for row in drawn.rows] == [["p", "m", "differs", 5, 3, 2]]
    assert drawn.notes == ["2 recorded calls have no price yet, and are in no amount."]


def test_answers_are_taken_by_key() -> None:
    question = ask(("provider", "model"), ["p"], MONTH)
    found = recorded(question, ("provider", "model"), [("p", "m", 5, 1, 2, 3, 4, 6)])
    assert found["p", "m"]["amount"] == 5
    assert found["p", "m"]["unpriced"] == 6


def test_names_cannot_leave_their_quotes() -> None:
    assert r"IN ('x\') OR 1 -- \\')" in ask(("provider",), ["x') OR 1 -- \\"], MONTH).sql
