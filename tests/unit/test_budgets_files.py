"""Budget files: what is read from them, and every mistake told at once."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.budgets import Budget, BudgetBook, Calendar, Rolling, load
from spendstream.budgets.currencies import pico
from spendstream.budgets.fields import Amount
from spendstream.clock import to_micros
from spendstream.errors import ConfigError
from spendstream.money import PICO

DOCS = Path(__file__).parents[2] / "docs" / "budgets.md"
HOUR = 3_600 * 10**6
MINIMAL = 'id = "a"\namount = "500 USD"\nperiod = "month"\n'


def at(text: str, zone: str = "UTC") -> int:
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)))


def example(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def read(tmp_path):
    def read(text: str, name: str = "budgets.toml") -> BudgetBook:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return BudgetBook(load(path).budgets)

    return read


@pytest.fixture
def mistakes(read, tmp_path):
    def mistakes(text: str, name: str = "budgets.toml") -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(text, name)
        return str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    return mistakes


def one(fields: str) -> str:
    """A file with one budget that has `fields` in place of the minimal ones of that name."""
    given = {line.split(" = ")[0] for line in fields.splitlines()}
    kept = [line for line in MINIMAL.splitlines() if line.split(" = ")[0] not in given]
    return "\n".join(["[[budgets]]", *kept, fields, ""])


class TestReading:
    def test_a_budget_needs_only_its_id_amount_and_period(self, read):
        assert read(one("")).at(0) == (
            Budget(
                id="a",
                name="a",
                amount=500 * PICO,
                period=Calendar(unit="month"),
                thresholds=(5_000, 8_000, 10_000),
            ),
        )

    def test_every_field_is_read(self, read):
        fields = """
name = "Search"
owner = "search-leads"
scope = { team = "search", model = "gpt-4" }
period = "week"
week_start = "Sunday"
time_zone = "Asia/Tokyo"
roll_over = "100.50 USD"
thresholds = ["120%", 99.5, 50]
burn_rate = false
forecast = false
enforce = "hard"
on_breach = "downgrade"
downgrade_to = "gpt-3.5-turbo"
throttle = true
effective_from = 2026-01-01
effective_until = 2026-07-01"""
        (budget,) = read(one(fields)).versions("a")
        assert budget == Budget(
            id="a",
            name="Search",
            owner="search-leads",
            scope={"team": "search", "model": "gpt-4"},
            amount=500 * PICO,
            period=Calendar(unit="week", week_start=6, time_zone="Asia/Tokyo"),
            roll_over=100_500 * PICO // 1_000,
            thresholds=(5_000, 9_950, 12_000),
            burn_rate=False,
            forecast=False,
            enforce="hard",
            on_breach="downgrade",
            downgrade_to="gpt-3.5-turbo",
            throttle=True,
            effective_from=at("2026-01-01", "Asia/Tokyo"),
            effective_until=at("2026-07-01", "Asia/Tokyo"),
        )

    @pytest.mark.parametrize(
        ("written", "hours"), [("24h", 24), ("rolling 7d", 168), ("30d", 720), ("2w", 336), ("90m", 1.5)]
    )
    def test_a_length_is_a_rolling_period(self, read, written, hours):
        (budget,) = read(one(f'period = "{written}"')).at(0)
        assert budget.period == Rolling(length=int(hours * HOUR))

    @pytest.mark.parametrize(
        ("written", "most"), [("true", 500), ("false", 0), ('"20%"', 100), ('"70 USD"', 70)]
    )
    def test_roll_over_is_a_share_of_the_amount_or_money(self, read, written, most):
        (budget,) = read(one(f"roll_over = {written}")).at(0)
        assert budget.roll_over == most * PICO

    def test_alerts_go_to_the_team_in_the_scope_unless_there_is_an_owner(self, read):
        (budget,) = read(one('scope = { team = "search" }')).at(0)
        assert budget.owner == "search"

    def test_no_budgets_are_fine(self, read):
        assert read("").ids == ()

    def test_budgets_overlap_and_nest(self, read):
        book = read(one('id = "all"') + one('\nid = "team"\nscope = { team = "search" }'))
        spend = {"team": "search", "org": "x"}
        assert [budget.id for budget in book.at(0) if budget.covers(spend)] == ["all", "team"]
        assert [budget.id for budget in book.at(0) if budget.covers({"team": "ads"})] == ["all"]


class TestVersions:
    def test_the_same_id_again_is_its_next_version(self, read):
        book = read(one("") + one('\namount = "800 USD"\neffective_from = 2026-02-01'))
        first, second = book.versions("a")
        assert (first.version, first.effective_until) == (1, at("2026-02-01"))
        assert (second.version, second.effective_from) == (2, at("2026-02-01"))
        assert book.find("a", at("2026-02-01") - 1) == first
        assert book.find("a", at("2026-02-01")) == second

    def test_a_budget_that_has_ended_is_not_in_force(self, read):
        book = read(one("effective_from = 2026-01-01\neffective_until = 2026-02-01"))
        assert book.find("a", at("2026-01-01") - 1) is None
        assert book.find("a", at("2026-01-31T23:59")) is not None
        assert book.at(at("2026-02-01")) == ()
        assert book.find("b", at("2026-01-31")) is None

    RATES = '[currency_rates.EUR]\n2026-01-01 = "1.10"\n2026-03-01 = 1.25\n'

    def test_a_new_rate_is_a_new_version(self, read):
        fields = 'amount = "100.50 EUR"\nroll_over = "10 EUR"\ntime_zone = "Europe/Berlin"'
        book = read(self.RATES + one(fields))
        first, second = book.versions("a")
        assert (first.amount, first.roll_over) == (110_550 * PICO // 1_000, 11 * PICO)
        assert (second.amount, second.version) == (125_625 * PICO // 1_000, 2)
        march = at("2026-03-01", "Europe/Berlin")
        assert (first.effective_until, second.effective_from) == (march, march)

    def test_rates_change_within_a_version_and_versions_within_a_rate(self, read):
        entries = one('amount = "100 EUR"\neffective_from = 2026-02-01') + one(
            '\namount = "200 EUR"\neffective_from = 2026-04-01\neffective_until = 2026-05-01'
        )
        versions = read(self.RATES + entries).versions("a")
        assert [version.amount // PICO for version in versions] == [110, 125, 250]
        assert versions[-1].effective_until == at("2026-05-01")

    @given(st.decimals("0.01", "99999999", places=2), st.decimals("0.0001", "9999", places=4))
    def test_money_is_changed_exactly(self, amount, rate):
        assert pico(Amount(amount, "EUR"), rate) == Fraction(amount) * Fraction(rate) * PICO

    def test_what_is_finer_than_a_picodollar_is_rounded_half_to_even(self):
        assert pico(Amount(Decimal("0.0000005"), "EUR"), Decimal("0.000001")) == 0
        assert pico(Amount(Decimal("0.0000015"), "EUR"), Decimal("0.000001")) == 2


class TestMistakes:
    def test_are_told_together_with_file_budget_and_field(self, mistakes):
        text = """
budget = 1
[currency_rates]
USD = { 2026-01-01 = "1" }
EUR = { 2026-01-01 = "0" , soon = "1.1" }
[[budgets]]
id = "a"
amont = "5 USD"
period = "fortnight"
scope = { team = "", teem = "x" }
[[budgets]]
amount = "500"
period = "24h"
roll_over = "10%"
week_start = "monday"
thresholds = [50, 50.00]
"""
        assert mistakes(text) == [
            "budgets.toml: budget: no such section; did you mean budgets?",
            "budgets.toml: currency_rates: USD: dollars need no rate",
            (
                "budgets.toml: currency_rates: EUR: 2026-01-01: "
                "expected dollars for one unit, like \"1.0842\", found '0'"
            ),
            (
                "budgets.toml: currency_rates: EUR: soon: "
                "expected a date from 1970 to 2099 like 2026-01-01, found soon"
            ),
            "budgets.toml: budget 1 (a): scope.team: expected text of 1 to 200 characters, found ''",
            "budgets.toml: budget 1 (a): scope.teem: no such dimension; did you mean team?",
            "budgets.toml: budget 1 (a): amont: no such field; did you mean amount?",
            (
                "budgets.toml: budget 1 (a): period: expected day, week, month, quarter, year, "
                "or a rolling length like 24h or 30d (at most 366d), found 'fortnight'"
            ),
            "budgets.toml: budget 1 (a): amount: is missing",
            "budgets.toml: budget 2: amount: expected an amount with its currency, like 500 USD, found '500'",
            "budgets.toml: budget 2: thresholds: a percentage is given twice in [50, Decimal('50.00')]",
            "budgets.toml: budget 2: id: is missing",
            "budgets.toml: budget 2: week_start: only a period of a week has one",
            "budgets.toml: budget 2: roll_over: a rolling period has no end to carry anything over",
        ]

    @pytest.mark.parametrize(
        ("fields", "mistake"),
        [
            ('id = "a b"', "id: expected letters"),
            ("id = 7", "id: expected letters"),
            ('name = " "', "name: expected text"),
            ("amount = 500", "amount: expected an amount with its currency"),
            ('amount = "0 USD"', "amount: must be at least 0.000001"),
            ('amount = "-5 USD"', "amount: expected an amount"),
            ('amount = "1,000 USD"', "amount: expected an amount"),
            ('amount = "5 EUR"', "amount: there is no rate for EUR in currency_rates"),
            ('period = "0d"', "period: expected day"),
            ('period = "999d"', "period: expected day"),
            ("period = [1]", "period: expected day"),
            ('time_zone = "Europe/Atlantis"', "time_zone: expected an IANA time zone"),
            ('time_zone = "../etc/passwd"', "time_zone: expected an IANA time zone"),
            ("time_zone = 1", "time_zone: expected an IANA time zone"),
            ('period = "week"\nweek_start = "someday"', "week_start: expected a day of the week"),
            ('roll_over = "some"', "roll_over: expected true, false"),
            ('roll_over = "5 EUR"', "roll_over: expected the currency of the amount"),
            ("thresholds = 80", "thresholds: expected percentages"),
            ("thresholds = [0]", "thresholds: expected a percentage"),
            ("thresholds = [true]", "thresholds: expected a percentage"),
            ("thresholds = [99.999]", "thresholds: expected a percentage"),
            ("thresholds = [1001]", "thresholds: expected a percentage"),
            ('burn_rate = "yes"', "burn_rate: expected true or false"),
            ('scope = "search"', "scope: expected dimensions"),
            ("effective_from = 2026-01-01T10:00:00Z", "effective_from: expected a date"),
            ("effective_from = 1969-01-01", "effective_from: expected a date"),
            (
                "effective_from = 2026-02-01\neffective_until = 2026-02-01",
                "effective_until: 2026-02-01 is not after",
            ),
        ],
    )
    def test_in_a_field_say_what_was_expected(self, mistakes, fields, mistake):
        (found,) = mistakes(one(fields))
        assert re.match(r"budgets.toml: budget 1( \(a( b)?\))?: ", found)
        assert found.split(": ", 2)[2].startswith(mistake)

    @pytest.mark.parametrize(
        ("second", "mistake"),
        [
            ("", "effective_from: another budget with the id a starts then"),
            ("effective_from = 2026-01-15", "effective_from: the version before it holds until 2026-02-01"),
        ],
    )
    def test_in_versions_that_overlap(self, mistakes, second, mistake):
        (found,) = mistakes(one("effective_until = 2026-02-01") + "\n" + one(second))
        assert found.startswith(f"budgets.toml: budget 2 (a): {mistake}")

    def test_a_budget_is_never_counted_at_a_rate_from_after_its_start(self, mistakes):
        rates = '[currency_rates.EUR]\n2026-02-01 = "1.1"\n'
        (found,) = mistakes(rates + one('amount = "5 EUR"\neffective_from = 2026-01-01'))
        assert found.endswith("effective_from: the first rate for EUR is of 2026-02-01")

    @pytest.mark.parametrize(
        ("text", "mistake"),
        [
            ("budgets = 1", "budgets: expected a list of budgets"),
            ("budgets = [1]", "budget 1: expected the fields of a budget"),
            ("currency_rates = 1", "currency_rates: section: expected rates"),
            ("currency_rates.EUR = 1", "currency_rates: EUR: expected rates by date"),
            ("= 1", "not valid TOML"),
        ],
    )
    def test_in_the_shape_of_the_file(self, mistakes, text, mistake):
        (found,) = mistakes(text)
        assert found.startswith(f"budgets.toml: {mistake}")

    def test_of_a_file_that_is_not_there_or_of_no_known_kind(self, tmp_path, mistakes):
        with pytest.raises(ConfigError, match="cannot read the budgets"):
            load(tmp_path / "none.toml")
        assert mistakes("", "budgets.ini") == ["budgets.ini: expected a file called .yaml, .yml or .toml"]

    def test_a_budget_without_an_amount_cannot_be_made(self):
        with pytest.raises(ValueError, match="must be positive"):
            Budget(id="a", name="a", amount=0, period=Calendar(unit="day"))

    def test_thresholds_rise(self):
        with pytest.raises(ValueError, match="must be positive and rise"):
            Budget(id="a", name="a", amount=1, period=Calendar(unit="day"), thresholds=(8_000, 5_000))


class TestYaml:
    def test_numbers_are_read_as_they_are_written(self, read):
        text = "currency_rates: {EUR: {2026-01-01: 1.1}}\nbudgets: [{id: a, amount: 3 EUR, period: day}]"
        (budget,) = read(text, "b.yml").versions("a")
        assert budget.amount == 33 * PICO // 10

    @pytest.mark.parametrize(
        ("text", "mistake"),
        [
            ("budgets:\n - id: a\n   id: b", "not valid YAML: id is given twice in line 2"),
            ("budgets: [", "not valid YAML: while parsing"),
            ("- 1", "expected the sections budgets, currency_rates, limits"),
            (
                "budgets: !!python/object/apply:os.getcwd []",
                "not valid YAML: could not determine a constructor",
            ),
            ("currency_rates: {EUR: {2026-13-01: 1}}", "not valid YAML: month must be in 1..12"),
        ],
    )
    def test_that_is_wrong_says_why(self, mistakes, text, mistake):
        (found,) = mistakes(text, "b.yaml")
        assert found.startswith(f"b.yaml: {mistake}")

    def test_the_documented_file_reads(self, read):
        book = read(example("yaml"), "b.yaml")
        assert set(book.ids) == {"everything", "search-monthly", "sandbox", "weekly"}
        first, second, third = book.versions("search-monthly")
        assert first.amount == 4_879_442_100_000_000
        assert (second.effective_from, third.amount) == (
            at("2026-04-01", "Europe/Berlin"),
            6_550 * PICO + PICO // 5,
        )


def test_the_documented_toml_reads(read):
    (budget,) = read(example("toml")).versions("search-monthly")
    assert budget.amount == 4_879_442_100_000_000
    assert budget.scope == {"team": "search", "environment": "prod"}
