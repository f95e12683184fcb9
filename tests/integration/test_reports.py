"""Reports on the real engine: what they say of replayed usage is what plain additions say of its events."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from producers import recordings
from producers.streams import NODE_STREAM, POD_STREAM, TOKEN_STREAM
from spendstream.cli.asking import Asking
from spendstream.cli.local import Reached
from spendstream.clock import from_micros
from spendstream.config import Config
from spendstream.events import NodeUsage, PodUsage, TokenUsage
from spendstream.ids import derived_id
from spendstream.pricing import simulation_book
from spendstream.reports import cache, costs, savings
from spendstream.reports.chargeback import NOBODY, Sharing
from spendstream.reports.span import Span
from spendstream.reports.table import Table
from tests.fixtures import in_process
from tests.fixtures.accounting import measured
from tests.fixtures.focus_validator import failures
from tests.fixtures.stack import Pipeline, running
from tests.fixtures.traces import trace

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("reports")]

SECOND = 10**6
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
DAY = 24 * HOUR
START = 1_704_067_200 * SECOND  # 2024-01-01
MONTH = Span(start=START, end=START + 31 * DAY)
ODD = Span(start=START + 7 * HOUR + 13 * MINUTE, end=START + 5 * DAY + 2 * HOUR + 1 * MINUTE)
IN_JANUARY = ("--since", "2024-01-01", "--until", "2024-02-01")
MODELS = {"openai": ["gpt-4", "gpt-3.5-turbo"], "anthropic": ["claude-haiku"]}
KNOWN_CONTRADICTION = ["InvoiceId-C-005-C"]  # must be null without an invoice, says C-004, and must not, this
Event = TokenUsage | PodUsage


def call(rnd: Random, row: int) -> TokenUsage:
    provider = rnd.choice(list(MODELS))
    model = rnd.choice(MODELS[provider]) if rnd.random() < 0.95 else "nobody-knows-it"
    at = START + rnd.randrange(31 * DAY)
    inputs = rnd.randrange(1, 5000)
    read = rnd.randrange(inputs + 1) if rnd.random() < 0.3 else 0
    outputs = rnd.randrange(2000)
    rates = simulation_book().find(provider, model, at)
    cost = rates.cost(inputs, outputs, read) if rates else None
    hit = rnd.random() < 0.2
    status = 500 if rnd.random() < 0.1 else 200
    return TokenUsage(
        id=derived_id(at, b"reports", row),
        event_time=at,
        source="test",
        org=rnd.choice(["acme", ""]),
        team=rnd.choice(["search", "chat", "platform", ""]),
        project=rnd.choice(["p", ""]),
        service=rnd.choice(["web", "jobs"]),
        user=f"user-{rnd.randrange(5)}",
        provider=provider,
        model=model,
        input_tokens=inputs,
        output_tokens=outputs,
        cache_read_tokens=read,
        cost=0 if hit else cost,
        list_cost=0 if hit else cost,
        avoided_by_cache=(cost or 0) if hit else 0,
        avoided_by_routing=rnd.randrange(10**9),
        cache_outcome="exact" if hit else "none",
        usage_source="cached" if hit else rnd.choice(["provider", "interrupted"]),
        status=status,
        retries=rnd.randrange(2),
    )


def container(rnd: Random, row: int) -> PodUsage:
    at = START + rnd.randrange(31 * 24) * HOUR
    cpu, memory = rnd.randrange(10**11), rnd.randrange(10**11)
    priced = rnd.random() < 0.95
    return PodUsage(
        id=derived_id(at, b"reports-pods", row),
        event_time=at,
        end_time=at + rnd.randrange(1, 61) * MINUTE,
        source="test",
        team=rnd.choice(["search", "platform"]),
        service="web",
        cluster="prod",
        region=rnd.choice(["us-east-1", ""]),
        node=f"node-{rnd.randrange(3)}",
        instance_type="m5.large",
        namespace=rnd.choice(["shop", "kube-system"]),
        workload=rnd.choice(["api", ""]),
        pod=f"pod-{row}",
        domain=rnd.choice(["retail", ""]),
        cpu_cost=cpu if priced else None,
        memory_cost=memory if priced else None,
        cost=cpu + memory if priced else None,
    )


def node(name: str, hour: int) -> NodeUsage:
    at = START + hour * HOUR
    return NodeUsage(
        id=derived_id(at, name.encode(), hour),
        event_time=at,
        end_time=at + HOUR,
        source="test",
        cluster="prod",
        node=name,
        cpu_capacity=2 * 10**9,
        memory_capacity=8 << 30,
        cpu_cost=6 * 10**10 + hour,
        memory_cost=3 * 10**10 + hour,
        cost=9 * 10**10 + 2 * hour,
    )


def control_plane(hour: int) -> NodeUsage:
    at = START + hour * HOUR
    return NodeUsage(
        id=derived_id(at, b"control-plane", hour),
        event_time=at,
        end_time=at + HOUR,
        source="test",
        asset="control-plane",
        cluster="prod",
        node="prod",
        cost=10**11 + hour,
    )


RND = Random(6)
CALLS = [call(RND, row) for row in range(3000)]
PODS = [container(RND, row) for row in range(500)]
NODES = [node(name, hour) for name in ("node-0", "node-1") for hour in range(31 * 24)]  # not of node-2
PLANES = [control_plane(hour) for hour in range(48)]
EVENTS: Sequence[Event] = [*CALLS, *PODS]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline into which the events were replayed, and a budget file."""
    folder = tmp_path_factory.mktemp("reports")
    budgets = folder / "budgets.yaml"
    budgets.write_text(
        "budgets:\n- {id: search, amount: 10 USD, period: month, scope: {team: search}}\n"
        "- {id: all, amount: 9999 USD, period: month}\n"
        "- {id: one-key, amount: 5 USD, period: month, enforce: shadow, scope: {key_id: k}}\n"
    )
    with running(folder, "worker", SPENDSTREAM_BUDGET_FILE=str(budgets)) as fresh:
        for stream, events in ((TOKEN_STREAM, CALLS), (POD_STREAM, PODS), (NODE_STREAM, [*NODES, *PLANES])):
            path = folder / f"{stream.topic.name}.jsonl"
            recordings.write(path, stream, events)
            replayed = in_process.ran(fresh.environment, "replay", str(path), "--wait", "--json")
            assert replayed.returncode == 0, replayed.stderr
        yield fresh


def asked(pipeline: Pipeline, ask: Callable[[Asking], Any]) -> Table:
    async def run() -> Table:
        config = Config(budget_file=Path(pipeline.environment["SPENDSTREAM_BUDGET_FILE"]))
        asking = Asking(config, Reached(pipeline.kafka, pipeline.clickhouse))
        try:
            table: Table = await ask(asking)
            return table
        finally:
            await asking.close()

    return asyncio.run(run())


def report(pipeline: Pipeline, *arguments: str) -> str:
    """Run `spendstream report ARGUMENTS`; return its output."""
    ran = in_process.ran(pipeline.environment, "report", *arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def value(event: Event, name: str) -> Any:
    """Return the value of a dimension, the slow and obvious way."""
    moment = from_micros(event.event_time)
    midnight = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    if name == "kind":
        return "tokens" if isinstance(event, TokenUsage) else "pods"
    if name == "day":
        return int(midnight.timestamp()) * SECOND
    if name == "hour":
        return event.event_time // HOUR * HOUR
    if name == "week":
        return int(midnight.timestamp()) * SECOND - midnight.weekday() * DAY
    if name == "month":
        return int(midnight.replace(day=1).timestamp()) * SECOND
    return getattr(event, name, "")


def sums(
    by: Sequence[str], span: Span, *names: str, events: Sequence[Event] = EVENTS
) -> dict[Any, list[int]]:
    """Return the measures of a span by dimensions, the slow and obvious way."""
    found: dict[Any, list[int]] = defaultdict(lambda: [0] * len(names))
    for event in events:
        if span.start <= event.event_time < span.end:
            total = found[tuple(value(event, name) for name in by)]
            for place, name in enumerate(names):
                total[place] += getattr(measured(event), name)
    return dict(found)


def told(table: Table, by: Sequence[str], *names: str) -> dict[Any, list[Any]]:
    places = [[column.name for column in table.columns].index(name) for name in (*by, *names)]
    rows = [[row[place] for place in places] for row in table.rows]
    return {tuple(row[: len(by)]): row[len(by) :] for row in rows}


@pytest.mark.parametrize("span", [MONTH, ODD], ids=["a month", "odd minutes"])
@pytest.mark.parametrize(
    "by",
    [
        "team,model",
        "day",
        "week,kind",
        "month,org,project",
        "cluster,namespace",
        "hour",
        "user",
        "service,domain",
    ],
)
def test_costs_are_those_of_the_events(pipeline: Pipeline, span: Span, by: str) -> None:
    names = by.split(",")
    measures = ("cost", "list_cost", "events", "unpriced", "errors", "input_tokens", "output_tokens")
    table = asked(pipeline, lambda asking: asking.spend(costs.table, names, span))
    assert told(table, names, *measures) == sums(names, span, *measures)


def test_rows_come_dearest_first_and_times_in_order(pipeline: Pipeline) -> None:
    by_team = asked(pipeline, lambda asking: asking.spend(costs.table, ["team"], MONTH)).column("cost")
    assert by_team == sorted(by_team, key=lambda cost: -int(str(cost)))
    by_day = asked(pipeline, lambda asking: asking.spend(costs.table, ["day"], MONTH)).column("day")
    assert by_day == sorted(by_day, key=lambda day: int(str(day)))


def test_cache_and_savings_are_those_of_the_calls(pipeline: Pipeline) -> None:
    hits = asked(pipeline, lambda asking: asking.spend(cache.table, ["team"], MONTH, ("tokens",)))
    wanted = sums(
        ["team"], MONTH, "events", "cache_hits", "avoided_by_cache", "cache_hit_tokens", events=CALLS
    )
    assert told(hits, ["team"], "calls", "hits", "saved", "hit_tokens") == wanted
    saved = asked(pipeline, lambda asking: asking.spend(savings.table, ["team"], MONTH, ("tokens",)))
    wanted = sums(["team"], MONTH, "avoided_by_cache", "avoided_by_routing", "cost", events=CALLS)
    assert told(saved, ["team"], "by_cache", "by_routing", "cost") == wanted


def idle() -> dict[int, int]:
    """Return what of the nodes nobody was allocated, by day."""
    left: dict[Any, int] = {}
    for one in NODES:
        left[one.event_time, one.node, "cpu"] = one.cpu_cost or 0
        left[one.event_time, one.node, "memory"] = one.memory_cost or 0
    for one in PODS:
        for resource, cost in (("cpu", one.cpu_cost), ("memory", one.memory_cost)):
            if (one.event_time, one.node, resource) in left:
                left[one.event_time, one.node, resource] -= cost or 0
    found: dict[int, int] = defaultdict(int)
    for (at, _, _), cost in left.items():
        found[at // DAY * DAY] += max(cost, 0)
    return found


def test_waste_is_what_failed_what_broke_off_and_what_is_idle(pipeline: Pipeline) -> None:
    table = asked(pipeline, lambda asking: asking.waste(["day", "team"], MONTH))
    failed: dict[Any, int] = defaultdict(int)
    broken: dict[Any, int] = defaultdict(int)
    for each in CALLS:
        key = value(each, "day"), each.team
        failed[key] += (each.cost or 0) * (each.status >= 400)
        broken[key] += (each.cost or 0) * (each.usage_source == "interrupted" and each.status < 400)
    unused = {(day, ""): cost for day, cost in idle().items()}
    found = told(table, ["day", "team"], "failed_cost", "interrupted_cost", "idle_cost")
    wanted = {key: [failed[key], broken[key], unused.get(key, 0)] for key in failed.keys() | unused.keys()}
    assert {key: costs for key, costs in found.items() if any(costs)} == {
        key: costs for key, costs in wanted.items() if any(costs)
    }
    assert all(sum(found[row[0], row[1]]) == row[2] for row in table.rows)


def test_what_all_owe_is_what_calls_cost_and_the_whole_bill_of_the_clusters(pipeline: Pipeline) -> None:
    for shared in ((), ("platform",), ("platform", NOBODY), ("(idle)", "(overcommit)", "(shared)")):
        sharing = Sharing(shared=shared)
        table = asked(pipeline, lambda asking, sharing=sharing: asking.chargeback("team", MONTH, sharing))
        assert table.total is not None
        assert table.total[3] == billed()
        assert not set(shared) & set(table.column("team"))


def test_what_no_container_was_allocated_has_rows_of_its_own(pipeline: Pipeline) -> None:
    table = asked(pipeline, lambda asking: asking.chargeback("team", MONTH, Sharing()))
    owed = {team: total for (team,), [total] in told(table, ["team"], "total").items()}
    assert owed.pop("(shared)") == sum(each.cost or 0 for each in PLANES)
    assert owed.pop("(idle)") == sum(idle().values())
    assert owed.pop("(overcommit)") < 0
    own = {team or NOBODY: cost for (team,), [cost] in sums(["team"], MONTH, "cost").items()}
    assert owed == own


@pytest.mark.parametrize("by", ["day", "model", "kind"])
def test_the_whole_bill_is_owed_whatever_it_is_told_apart_by(pipeline: Pipeline, by: str) -> None:
    table = asked(pipeline, lambda asking: asking.chargeback(by, MONTH, Sharing()))
    assert table.total is not None
    assert table.total[3] == billed()
    assert (by == "day") != ("(idle)" in table.column(by))


def test_variance_is_against_the_budget_of_the_month(pipeline: Pipeline) -> None:
    table = asked(pipeline, lambda asking: asking.chargeback("team", MONTH, Sharing()))
    [spent] = sums(["team"], MONTH, "cost")["search",]
    found = told(table, ["team"], "budget", "variance")
    assert found["search",] == [10 * 10**12, spent - 10 * 10**12]
    assert found["chat",] == [None, None]


def test_budgets_stand_as_their_spend_says(pipeline: Pipeline) -> None:
    end_of_january = MONTH.end - MINUTE
    table = asked(pipeline, lambda asking: asking.budgets(end_of_january))
    [search], [everything] = sums(["team"], MONTH, "cost")["search",], sums([], MONTH, "cost")[()]
    assert told(table, ["budget"], "spent", "limit") == {
        ("search",): [search, 10 * 10**12],
        ("all",): [everything, 9999 * 10**12],
    }
    assert table.notes == ["Left out, as windows know no keys: one-key."]


def test_machines_read_exact_money_from_the_command(pipeline: Pipeline, tmp_path: Path) -> None:
    options = ("costs", "--by", "team", *IN_JANUARY)
    wanted = {team: cost for (team,), [cost] in sums(["team"], MONTH, "cost").items()}
    as_json = json.loads(report(pipeline, *options, "--format", "json"), parse_float=Decimal)
    assert {row["team"]: int(row["cost"].scaleb(12)) for row in as_json["rows"]} == wanted
    as_csv = csv.DictReader(io.StringIO(report(pipeline, *options, "--format", "csv")))
    assert {row["team"]: int(Decimal(row["cost"]).scaleb(12)) for row in as_csv} == wanted
    path = tmp_path / "costs.parquet"
    report(pipeline, *options, "--format", "parquet", "--out", str(path))
    rows = pq.read_table(path).to_pylist()
    assert {row["team"]: int(row["cost"].scaleb(12)) for row in rows} == wanted


def test_people_see_a_table_and_a_page(pipeline: Pipeline, tmp_path: Path) -> None:
    shown = pipeline.run("report", "chargeback", *IN_JANUARY)
    assert "over budget" in shown
    page = tmp_path / "january.html"
    report(pipeline, "monthly", "2024-01", "--out", str(page))
    text = page.read_text()
    assert text.count("<section>") == 8
    assert "What was spent, by day" in text
    assert text.count("<svg") >= 5


def test_a_report_of_nothing_says_so(pipeline: Pipeline) -> None:
    options = ("costs", "--since", "2020-01-01", "--until", "2020-02-01")
    assert "Nothing of this kind landed" in report(pipeline, *options)
    assert json.loads(report(pipeline, *options, "--format", "json"))["rows"] == []
    assert report(pipeline, *options, "--format", "csv").count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("costs", "--by", "tean"), "did you mean team?"),
        (("costs", "--since", "soon"), "'soon' is no time"),
        (("costs", "--format", "parquet"), "--out"),
        (("chargeback", "--by", "team,model"), "one dimension"),
        (("chargeback", "--weight", "search"), "search=3"),
        (("chargeback", "--split", "fixed", "--weight", "=3"), "search=3"),
        (("chargeback", "--weight", "search=3"), "--split fixed"),
        (("monthly", "January"), "no month"),
        (("costs", "--out", "/nowhere/at/all.csv", "--format", "csv"), "/nowhere/at/all.csv"),
    ],
)
def test_a_mistake_is_one_line(pipeline: Pipeline, arguments: tuple[str, ...], reason: str) -> None:
    ran = in_process.ran(pipeline.environment, "report", *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    [line] = ran.stderr.splitlines()
    assert reason in line


@pytest.fixture(scope="module")
def exported(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Return the month's export of a version in a format, each made once; what was said is beside it."""
    folder = tmp_path_factory.mktemp("focus")

    def export(version: str, form: str) -> Path:
        path = folder / f"{version}.{form}"
        if not path.exists():
            options = (*IN_JANUARY, "--format", "focus", "--focus-version", version, "--out", str(path))
            ran = in_process.ran(pipeline.environment, "report", "costs", *options)
            assert ran.returncode == 0, ran.stderr
            path.with_name(f"{path.name}.said").write_text(ran.stderr)
        return path

    return export


@pytest.mark.parametrize("version", ["1.2", "1.4"])
def test_a_focus_export_has_all_money_of_the_month(
    exported: Callable[[str, str], Path], version: str
) -> None:
    found = pq.read_table(exported(version, "parquet"))
    costs_of: dict[Any, int] = defaultdict(int)
    columns = [found[name].to_pylist() for name in ("ChargePeriodStart", "SubAccountId", "BilledCost")]
    for start, team, cost in zip(*columns, strict=True):
        costs_of[int(start.timestamp()) * SECOND, team or ""] += int(cost.scaleb(12))
    wanted = {key: cost for key, [cost] in sums(["hour", "team"], MONTH, "cost").items()}
    for node_hour in (*NODES, *PLANES):  # what nobody was allocated belongs to its owner: it has none
        key = node_hour.event_time, ""
        wanted[key] = wanted.get(key, 0) + (node_hour.cost or 0)
    for one in PODS:
        if one.node in ("node-0", "node-1"):
            wanted[one.event_time, ""] -= one.cost or 0
    assert {key: cost for key, cost in costs_of.items() if cost} == {
        k: cost for k, cost in wanted.items() if cost
    }


def test_a_focus_export_meters_every_token_that_a_provider_was_asked_for(
    exported: Callable[[str, str], Path],
) -> None:
    found = pq.read_table(exported("1.4", "parquet"))
    metered: dict[str, int] = defaultdict(int)
    for kind, quantity in zip(
        found["x_TokenType"].to_pylist(), found["ConsumedQuantity"].to_pylist(), strict=True
    ):
        if kind:
            metered[kind] += int(quantity)
    paid = [each for each in CALLS if each.cost is not None and each.cache_outcome == "none"]
    assert metered == {
        "Input": sum(each.input_tokens - each.cache_read_tokens for each in paid),
        "CacheRead": sum(each.cache_read_tokens for each in paid),
        "Output": sum(each.output_tokens for each in paid),
    }


def test_a_focus_export_of_part_of_a_month_has_that_part(pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    span = ("--since", "2024-01-03", "--until", "2024-01-04T06:30")
    report(pipeline, "costs", *span, "--format", "focus", "--out", str(path))
    found = pq.read_table(path)
    printed = csv.DictReader(io.StringIO(report(pipeline, "costs", *span, "--format", "focus")))
    assert [Decimal(row["BilledCost"]) for row in printed] == found["BilledCost"].to_pylist()
    part = Span(start=START + 2 * DAY, end=START + 3 * DAY + 7 * HOUR)
    hours = {int(start.timestamp()) * SECOND for start in found["ChargePeriodStart"].to_pylist()}
    assert hours == set(range(part.start, part.end, HOUR))
    [calls] = sums([], part, "cost", events=CALLS)[()]
    models = found.filter(pc.is_valid(found["x_Model"]))["BilledCost"]
    assert sum(int(cost.scaleb(12)) for cost in models.to_pylist()) == calls


def test_a_focus_export_says_what_it_leaves_out(exported: Callable[[str, str], Path]) -> None:
    path = exported("1.2", "csv")
    said = path.with_name(f"{path.name}.said").read_text()
    unpriced = sum(event.cost is None for event in EVENTS)
    assert f"{unpriced:,} events have no price yet and are left out" in said
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert sum(int(Decimal(row["BilledCost"]).scaleb(12)) for row in rows) == billed()


def billed() -> int:
    """Return what calls and clusters' assets cost, and containers on a node that nobody told the price of."""
    elsewhere = [one for one in PODS if one.node == "node-2"]
    return sum(each.cost or 0 for each in (*CALLS, *NODES, *PLANES, *elsewhere))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_the_focus_project_s_validator_finds_nothing_wrong(
    exported: Callable[[str, str], Path], focus_python: Path, form: str
) -> None:
    found = failures(focus_python, exported("1.2", form))
    assert found["failed"] == KNOWN_CONTRADICTION
    assert int(str(found["passed"])) > 200


@pytest.mark.slow
def test_the_validator_finds_what_is_wrong(
    exported: Callable[[str, str], Path], focus_python: Path, tmp_path: Path
) -> None:
    path = tmp_path / "focus.csv"
    path.write_text(exported("1.2", "csv").read_text().replace(",USD,", ",dollars,"))
    assert "BillingCurrency-C-003-M" in str(failures(focus_python, path)["failed"])


def invoice(path: Path, lines: Mapping[tuple[Any, ...], Sequence[int]]) -> Path:
    rows = [
        f"{provider.upper()},{model},{from_micros(day):%Y-%m-%d},{Decimal(cost).scaleb(-12):f},{tokens}"
        for (provider, model, day), (cost, tokens) in lines.items()
    ]
    path.write_text("\n".join(["provider,model,day,amount,input_tokens", *rows, ""]))
    return path


def invoiced() -> dict[tuple[Any, ...], list[int]]:
    """Return the lines of an invoice that bills what providers were asked for."""
    paid = [each for each in CALLS if each.cache_outcome == "none"]
    found = sums(["provider", "model", "day"], MONTH, "cost", "input_tokens", events=paid)
    served = sums(["provider", "model", "day"], MONTH, "cost", "input_tokens", events=CALLS)
    return {key: found.get(key, [0, 0]) for key in served}


def test_an_invoice_that_bills_what_was_used_agrees(pipeline: Pipeline, tmp_path: Path) -> None:
    path = invoice(tmp_path / "invoice.csv", invoiced())
    ran = in_process.ran(pipeline.environment, "reconcile", str(path))
    assert ran.returncode == 0
    assert "lines agree" in ran.stdout


def test_an_invoice_that_is_a_picodollar_off_exits_with_1(pipeline: Pipeline, tmp_path: Path) -> None:
    lines = invoiced()
    key = next(key for key, (cost, _) in lines.items() if cost)
    lines[key][0] += 1
    path = invoice(tmp_path / "invoice.csv", lines)
    ran = pipeline.ran("reconcile", str(path), "--json")
    assert ran.returncode == 1
    rows = json.loads(ran.stdout, parse_float=Decimal)["rows"]
    [wrong] = [row for row in rows if row["state"] != "agrees"]
    assert (wrong["provider"], wrong["model"]) == key[:2]
    assert wrong["amount_difference"] == Decimal("0.000000000001")
    tolerated = in_process.ran(pipeline.environment, "reconcile", str(path), "--tolerance", "0.01")
    assert tolerated.returncode == 0


def test_a_line_that_is_missing_from_an_invoice_is_told(pipeline: Pipeline, tmp_path: Path) -> None:
    lines = invoiced()
    lines.pop(next(key for key, (cost, _) in lines.items() if cost and key[2] == START + 3 * DAY))
    ran = in_process.ran(pipeline.environment, "reconcile", str(invoice(tmp_path / "invoice.csv", lines)))
    assert ran.returncode == 1
    assert "not on the invoice" in ran.stdout


@pytest.mark.parametrize(
    ("line", "options", "reason"),
    [
        ("openai,gpt-4,2024-01-01,1e999999", (), "line 2: '1e999999' dollars is too much"),
        ("openai,gpt-4,2024-01-01,1e30", (), "line 2: '1e30' dollars is too much"),
        ("openai,gpt-4,0001-01-01,1", (), "line 2: '0001-01-01' is no day"),
        (f"openai,{'x' * 200_000},2024-01-01,1", (), "field larger than field limit"),
        ("openai,gpt-4,2024-01-01,1", ("--until", "2024-02-01"), "--since"),
    ],
    ids=["overflow", "too much", "too early", "too long", "no beginning"],
)
def test_a_wrong_invoice_is_one_line(tmp_path: Path, line: str, options: Sequence[str], reason: str) -> None:
    path = tmp_path / "invoice.csv"
    path.write_text(f"provider,model,day,amount\n{line}\n")
    ran = in_process.ran({}, "reconcile", str(path), *options)
    assert (ran.returncode, ran.stdout) == (2, "")
    [said] = ran.stderr.splitlines()
    assert reason in said


def test_a_real_trace_is_reported_to_the_picodollar(pipeline: Pipeline) -> None:
    path = trace("azure-llm-2023/AzureLLMInferenceTrace_code.csv.gz")
    pipeline.replay(path, "--team", "traced", "--provider", "openai", "--model", "gpt-4")
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    dollars = sum(int(row["ContextTokens"]) * 30 + int(row["GeneratedTokens"]) * 60 for row in rows)
    span = ("--since", "2023-11-01", "--until", "2023-12-01")
    output = report(pipeline, "costs", "--by", "team", *span, "--format", "json")
    [row] = json.loads(output, parse_float=Decimal)["rows"]
    assert (row["team"], row["events"], row["cost"]) == ("traced", len(rows), Decimal(dollars) / 10**6)
