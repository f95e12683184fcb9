"""FOCUS: costs split over tokens to the last picodollar, in the columns of two versions, in files."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from spendstream.focus import clusters, writing
from spendstream.focus.charge import Allocation, Charge, Owner, quantity
from spendstream.focus.clusters import Line
from spendstream.focus.columns import VERSIONS, Version, batch, schema
from spendstream.focus.tokens import KINDS, TokenGroup, charges
from spendstream.focus.writing import FORMATS, Writer
from spendstream.money import dollars
from spendstream.pricing import PriceBook, Rates
from spendstream.pricing.book import table

HOUR = 3600 * 10**6
START = 1_704_067_200 * 10**6  # 2024
RATES = Rates(input=3, output=15, cache_read=1, cache_write=4, cache_write_1h=6)
BOOK = PriceBook(table([("p", "m", RATES)]))
COUNTS = st.integers(0, 10**9)
MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodStart",
    "BillingPeriodEnd", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodStart",
    "ChargePeriodEnd", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost",
    "PricingQuantity", "PricingUnit", "ServiceCategory", "ServiceName",
}  # fmt: skip
OF_VERSION = {"1.2": {"ProviderName", "PublisherName"}, "1.4": {"HostProviderName", "ServiceProviderName"}}


@st.composite
def token_groups(draw: st.DrawFn) -> TokenGroup:
    plain, read, short, an_hour, output = (draw(COUNTS) for _ in range(5))
    return TokenGroup(
        at=START + draw(st.integers(0, 8)) * HOUR // 4,
        owner=Owner(team=draw(st.sampled_from(["a", "b", ""]))),
        provider=draw(st.sampled_from(["p", ""])),
        model=draw(st.sampled_from(["m", "unknown"])),
        calls=draw(st.integers(1, 100)),
        input_tokens=plain + read + short + an_hour,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=short + an_hour,
        cache_write_1h_tokens=an_hour,
        cost=draw(st.integers(0, 10**20)),
        list_cost=draw(st.integers(0, 10**20)),
    )


def group(**fields: Any) -> TokenGroup:
    nothing = dict.fromkeys(TokenGroup.__struct_fields__[4:], 0)
    given_ = {"at": START, "owner": Owner(team="a"), "provider": "p", "model": "m", "calls": 1}
    return TokenGroup(**{**nothing, **given_, **fields})


def charge(**fields: Any) -> Charge:
    [made] = charges([group(input_tokens=1000, cost=3000, list_cost=4000)], BOOK)
    return replace(made, **fields)


@given(st.lists(token_groups()))
def test_charges_add_up_to_what_calls_cost_in_every_hour(groups: list[TokenGroup]) -> None:
    ordered = sorted(groups, key=lambda group: group.at)
    costs: Counter[tuple[int, str]] = Counter()
    listed: Counter[int] = Counter()
    for each in ordered:
        costs[each.at // HOUR, each.owner.team] += each.cost
        listed[each.at // HOUR] += each.list_cost
    for made in charges(ordered, BOOK):
        costs[made.start // HOUR, made.owner.team] -= made.billed
        listed[made.start // HOUR] -= made.listed
    assert not any(costs.values())
    assert not any(listed.values())


@given(st.lists(token_groups()))
def test_every_token_is_metered_once(groups: list[TokenGroup]) -> None:
    tokens = sum(each.input_tokens + each.output_tokens for each in groups)
    made = list(charges(sorted(groups, key=lambda group: group.at), BOOK))
    assert sum(one.consumed for one in made if one.consumed_unit == "Tokens") == tokens
    assert all(one.priced * 1000 == one.consumed for one in made if one.consumed_unit == "Tokens")


def test_what_calls_cost_is_split_by_the_rates_of_their_tokens() -> None:
    used = group(
        input_tokens=100, cache_read_tokens=20, cache_write_tokens=30, cache_write_1h_tokens=10,
        output_tokens=7, cost=2 * (150 + 20 + 80 + 60 + 105), list_cost=150 + 20 + 80 + 60 + 105,
    )  # fmt: skip
    made = {one.token_type: (int(one.consumed), one.billed, one.listed) for one in charges([used], BOOK)}
    assert made == {
        "Input": (50, 300, 150),
        "CacheRead": (20, 40, 20),
        "CacheWrite": (20, 160, 80),
        "CacheWrite1h": (10, 120, 60),
        "Output": (7, 210, 105),
    }


def test_each_quarter_of_an_hour_has_the_rates_of_its_time() -> None:
    dearer = replace(RATES, input=9, output=9, effective_from=START + HOUR // 2)
    book = PriceBook(table([("p", "m", RATES), ("p", "m", dearer)]))
    used = [
        group(input_tokens=5, output_tokens=1, cost=3000),
        group(at=START + HOUR // 2, input_tokens=5, output_tokens=1, cost=6000),
    ]
    made = {one.token_type: one.billed for one in charges(used, book)}
    assert made == {"Input": 1500 + 5000, "Output": 1500 + 1000}


def test_tokens_without_known_rates_are_one_charge() -> None:
    [made] = charges([group(model="?", input_tokens=5, output_tokens=7, cost=9)], BOOK)
    assert (made.meter, made.consumed, made.billed, made.token_type) == (KINDS["Any"], 12, 9, "")


def test_calls_that_cost_without_tokens_are_counted_as_calls() -> None:
    [made] = charges([group(calls=3, cost=9)], BOOK)
    assert (made.meter, made.consumed, made.pricing_unit, made.billed) == ("Calls", 3, "Calls", 9)


def test_what_was_free_and_used_nothing_is_no_charge() -> None:
    assert list(charges([group()], BOOK)) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_has_its_mandatory_columns(version: Version) -> None:
    names = schema(version).names
    assert set(names) >= MANDATORY | OF_VERSION[version]
    assert not set(names) & set().union(*(OF_VERSION[other] for other in VERSIONS if other != version))
    ours = [name for name in names if name.startswith("x_")]
    assert names == [*sorted(set(names) - set(ours)), *ours]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_must_not_be_null_never_is(version: Version) -> None:
    bare = charge(owner=Owner())
    [row] = batch(version, [bare]).to_pylist()
    assert not [
        name for name in MANDATORY | OF_VERSION[version] if row[name] is None and name != "ChargeClass"
    ]
    assert row["SubAccountId"] is None
    assert row["Tags"] is None


def test_a_charge_is_in_the_billing_period_of_its_month() -> None:
    december = charge(start=START - HOUR, end=START)
    [row] = batch("1.4", [december]).to_pylist()
    assert f"{row['BillingPeriodStart']:%Y-%m-%d}" == "2023-12-01"
    assert f"{row['BillingPeriodEnd']:%Y-%m-%d}" == "2024-01-01"
    assert f"{row['ChargePeriodEnd']:%Y-%m-%dT%H:%M}" == "2024-01-01T00:00"


def test_owners_are_tags() -> None:
    [row] = batch("1.4", [charge(owner=Owner(org="o", team="t", project="p", service="s"))]).to_pylist()
    assert json.loads(row["Tags"]) == {"team": "t", "project": "p", "service": "s"}
    assert (row["BillingAccountId"], row["SubAccountId"]) == ("o", "t")


def test_split_costs_say_how_they_were_split() -> None:
    split = Allocation(method="x", resource="c/n/w", ratio=Fraction(1, 4), unit="CPU", used=Decimal(2))
    [row] = batch("1.4", [charge(allocation=split)]).to_pylist()
    assert (row["AllocatedMethodId"], row["AllocatedResourceId"]) == ("x", "c/n/w")
    [element] = json.loads(row["AllocatedMethodDetails"])["Elements"]
    assert element == {"AllocatedRatio": 0.25, "UsageUnit": "CPU", "UsageQuantity": 2.0}
    [idle] = batch("1.4", [charge(allocation=Allocation(method="x"))]).to_pylist()
    assert (idle["AllocatedMethodId"], idle["AllocatedResourceId"]) == ("x", None)


def line(what: str, *costs: int, **fields: Any) -> Line:
    amounts = dict.fromkeys(clusters._AMOUNTS, 0) | {
        name: fields.pop(name) for name in clusters._AMOUNTS if name in fields
    }
    return Line(
        at=START,
        line=what,
        **{"kind": "container" if what == "workload" else "node", "node": "node-1", "cluster": "prod"}
        | fields,
        **dict.fromkeys(("instance_type", "namespace", "workload"), what),
        owner=Owner(team="t"),
        costs=dict(zip(clusters._RESOURCES, (*costs, *[0] * 6), strict=False)),
        amounts=amounts,
    )


CORE_HOURS = 10**9 * HOUR


def test_a_node_is_the_charges_of_its_workloads_and_of_what_nobody_took() -> None:
    used = line("workload", 3, cpu_requested=2 * CORE_HOURS, cpu_used=CORE_HOURS)
    idle = line("idle", 5, cpu_capacity=16 * CORE_HOURS)
    first, rest = clusters.charges([used, idle])
    assert (first.billed, first.consumed, first.priced) == (3, 1, 6)
    assert (rest.billed, rest.consumed, rest.priced) == (5, 0, 10)
    assert first.resource == rest.resource == "prod/node/node-1"
    assert first.allocation is not None
    assert rest.allocation is not None
    assert (first.allocation.resource, first.allocation.ratio) == ("prod/workload/workload", Fraction(3, 8))
    assert (rest.allocation.resource, rest.allocation.ratio) == ("", Fraction(5, 8))


@given(st.lists(st.integers(0, 10**15), min_size=1), st.integers(1, 10**15))
def test_parts_of_a_node_are_the_whole_of_it(costs: list[int], price: int) -> None:
    lines = [line("workload", cost) for cost in costs]
    missing = price - sum(costs)
    lines.append(line("idle", max(missing, 0), cpu_capacity=CORE_HOURS))
    lines.append(line("overcommit", min(missing, 0)))
    made = list(clusters.charges(lines))
    assert sum(one.billed for one in made) == price
    assert sum(one.allocation.ratio or 0 for one in made if one.allocation) == 1


def test_without_a_node_a_workload_pays_for_what_it_asked_for() -> None:
    [made] = clusters.charges([line("workload", 3, cpu_requested=CORE_HOURS // 2, cpu_used=CORE_HOURS // 4)])
    assert (made.priced, made.consumed) == (Decimal("0.5"), Decimal("0.25"))
    assert made.allocation is not None
    assert made.allocation.ratio is None


def test_what_is_shared_was_allocated_to_nobody() -> None:
    [made] = clusters.charges([line("shared", 0, 0, 0, 0, 0, 7, kind="control-plane", node="eks")])
    assert (made.billed, made.resource, made.allocation) == (7, "prod/control-plane/eks", None)
    assert made.description == "Control Plane eks in prod"


def test_quantities_have_twelve_decimals() -> None:
    assert quantity(Fraction(1, 3)) == Decimal("0.333333333333")


def written(path: Path, many: Sequence[Charge], form: str, version: Version = "1.4") -> Path:
    with path.open("wb") as file, Writer(file, version, form) as writer:
        for one in many:
            writer.add(one)
    assert writer.written == len(many)
    return path


@given(st.lists(st.integers(0, 10**25), max_size=6))
def test_every_digit_of_money_is_in_the_csv(costs: list[int]) -> None:
    file = io.BytesIO()
    with Writer(file, "1.2", "csv") as writer:
        for cost in costs:
            writer.add(charge(billed=cost))
        writer.flush()
        text = file.getvalue().decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [Decimal(row["BilledCost"]) for row in rows] == [dollars(cost) for cost in costs]


def test_times_in_the_csv_are_utc_with_a_z(tmp_path: Path) -> None:
    path = written(tmp_path / "focus.csv", [charge()], "csv")
    [row] = csv.DictReader(path.read_text().splitlines())
    assert row["ChargePeriodStart"] == "2024-01-01T00:00:00Z"
    assert (row["ChargeClass"], row["InvoiceId"]) == ("", "")


def test_parquet_is_written_in_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_ROWS", 10)
    many = [charge(billed=cost) for cost in range(25)]
    path = written(tmp_path / "focus.parquet", many, "parquet")
    assert pq.ParquetFile(path).num_row_groups == 3
    found = pq.read_table(path)
    assert found["BilledCost"].type == pa.decimal128(38, 12)
    assert [int(cost.scaleb(12)) for cost in found["BilledCost"].to_pylist()] == list(range(25))
    assert found.schema.metadata[b"focus.version"] == b"1.4"


@pytest.mark.parametrize("form", FORMATS)
def test_a_dataset_without_charges_has_its_columns(form: str, tmp_path: Path) -> None:
    path = written(tmp_path / "focus", [], form)
    found = pq.read_schema(path).names if form == "parquet" else path.read_text().strip().split(",")
    assert found == schema("1.4").names
