"""Every panel's question is answered by the real engine, in the shape that charts take; sums are right."""

from __future__ import annotations

import asyncio
import csv
import gzip
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from clickhouse_connect.driver.asyncclient import AsyncClient
from msgspec.structs import replace

from dashboards.answers import Answer, ask, choices
from dashboards.catalogue import DASHBOARDS
from dashboards.macros import TimeRange, interval_for
from dashboards.panel import Dashboard, Panel
from producers import formats
from sinks.clickhouse.migrations import migrate
from spendstream.adapters.clickhouse import connect
from spendstream.clock import now_micros
from spendstream.config import Config, Secret
from spendstream.errors import QueryError
from spendstream.money import PICO
from spendstream.pricing import simulation_book
from spendstream.windows import DAY, HOUR, MINUTE
from tests.fixtures import spending
from tests.fixtures.spending import UNTIL
from tests.fixtures.traces import trace

pytestmark = pytest.mark.xdist_group("dashboards")  # one endpoint, filled once

RULES = Path("infra/grafana/provisioning/alerting/rules.yaml").read_text(encoding="utf-8")
PANELS = [(board, panel) for board in DASHBOARDS for panel in board.panels if panel.sql]
CHOSEN = {"team": ["it's", "search"], "environment": ["production"], "model": ["gpt-4"], "cluster": ["east"]}


def names(case: tuple[Dashboard, Panel]) -> str:
    return f"{case[0].slug}/{case[1].id}"


def back(seconds: int, until: int = UNTIL, points: int = 120) -> TimeRange:
    start, end = (until - seconds) * 1000, until * 1000
    return TimeRange(start=start, end=end, interval=interval_for(start, end, points))


RANGES = {
    "an hour": back(HOUR),
    "a day": back(DAY),
    "a month": back(30 * DAY),
    "nothing": back(HOUR, HOUR * 9),
}


@pytest.fixture(scope="module")
def filled(clickhouse_url: str) -> Secret:
    url = Secret(clickhouse_url)

    async def fill() -> None:
        await migrate(url, Config())
        await spending.spend(url)

    asyncio.run(fill())
    return url


@pytest.fixture
async def client(filled: Secret) -> AsyncIterator[AsyncClient]:
    connection = await connect(filled)
    yield connection
    await connection.close()


def check_shape(panel: Panel, answer: Answer) -> None:
    """Fail unless an answer has the shape that `dashboards.panel.Kind` promises."""
    holds = [column.holds for column in answer.columns]
    labels = [column.name for column in answer.columns]
    assert len(set(labels)) == len(labels)
    assert set(panel.units) <= set(labels)
    if panel.kind == "stat":
        assert set(holds) == {"number"}
        assert len(answer.rows) == 1
    elif panel.kind in ("pie", "ranking"):
        assert (holds, labels[0]) == (["text", "number"], "series")
        assert len({row[0] for row in answer.rows}) == len(answer.rows) <= 10
        assert all(row[1] is not None for row in answer.rows)
    elif panel.kind in ("time_series", "bars"):
        assert (holds[0], labels[0]) == ("time", "time")
        labelled = labels[1] == "series"
        assert set(holds[1 + labelled :]) == {"number"}
        assert not labelled or (holds[1], len(holds)) == ("text", 3)
        keys = [tuple(row[: 1 + labelled]) for row in answer.rows]
        assert all(one < other for one, other in pairwise(keys)), "ascending, each once"
    for row in answer.rows:
        for cell, kind in zip(row, holds, strict=True):
            assert cell is None or isinstance(cell, (int, float) if kind == "number" else str)


@pytest.mark.parametrize("case", PANELS, ids=names)
async def test_a_panel_is_answered_in_its_shape(client: AsyncClient, case: tuple[Dashboard, Panel]) -> None:
    _, panel = case
    for time in RANGES.values():
        check_shape(panel, await ask(client, panel.sql, stepped(panel, time), {}))
    check_shape(panel, await ask(client, panel.sql, RANGES["a day"], CHOSEN))


@pytest.mark.parametrize("case", [case for case in PANELS if case[1].id != "phases"], ids=names)
async def test_a_panel_has_something_to_show(client: AsyncClient, case: tuple[Dashboard, Panel]) -> None:
    by_arrival = "$__timeFilter(arrived_at)" in case[1].sql
    time = back(2 * DAY, now_micros() // 10**6 + HOUR) if by_arrival else back(2 * DAY)
    answer = await ask(client, case[1].sql, time, {})
    assert answer.rows
    assert any(cell for row in answer.rows for cell in row if isinstance(cell, int | float)) or (
        case[1].kind == "table"
    )


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.slug)
async def test_a_variable_offers_what_there_is_in_the_range(client: AsyncClient, board: Dashboard) -> None:
    offered = {"team": ["it's", "search", "support"], "cluster": ["east", "west"]}
    for variable in board.variables:
        found = await choices(client, variable.sql, back(DAY))
        assert found
        assert found == offered.get(variable.name, found)


def stepped(panel: Panel, time: TimeRange) -> TimeRange:
    """Return the range with points as wide as the panel needs, as Grafana and the console do."""
    return replace(time, interval=max(time.interval, panel.step * 1000))


def panel_of(slug: str, name: str) -> Panel:
    [board] = [board for board in DASHBOARDS if board.slug == slug]
    [panel] = [panel for panel in board.panels if panel.id == name]
    return panel


async def asked(
    client: AsyncClient, place: str, time: TimeRange, **chosen: list[str]
) -> list[dict[str, Any]]:
    panel = panel_of(*place.split("/"))
    answer = await ask(client, panel.sql, stepped(panel, time), chosen)
    labels = [column.name for column in answer.columns]
    return [dict(zip(labels, row, strict=True)) for row in answer.rows]


def usd(events: Any) -> float:
    return float(Decimal(sum(event.cost or 0 for event in events)) / PICO)


class TestSums:
    """What panels say in total, beside the same sum over the events that were landed."""

    ALL = (*spending.calls(), *spending.pods())

    def within(self, seconds: int, until: int = UNTIL, **wanted: list[str]) -> list[Any]:
        return [
            event
            for event in self.ALL
            if until - seconds <= event.event_time // 10**6 < until
            and all(getattr(event, name, values[0]) in values for name, values in wanted.items())
        ]

    @pytest.mark.parametrize("seconds", [HOUR, 5 * HOUR + 17 * MINUTE, DAY, 40 * HOUR])
    async def test_the_totals_of_a_range_are_those_of_its_events(
        self, client: AsyncClient, seconds: int
    ) -> None:
        [found] = await asked(client, "overview/totals", back(seconds))
        events = self.within(seconds)
        assert found["spend"] == pytest.approx(usd(events), rel=1e-12)
        assert found["calls"] == sum(hasattr(event, "model") for event in events)

    async def test_variables_narrow_the_totals_to_what_they_name(self, client: AsyncClient) -> None:
        [found] = await asked(client, "overview/totals", back(DAY), **CHOSEN)
        assert found["spend"] == pytest.approx(usd(self.within(DAY, **CHOSEN)), rel=1e-12)

    async def test_today_begins_at_midnight_and_yesterday_ends_at_the_same_time(
        self, client: AsyncClient
    ) -> None:
        [found] = await asked(client, "overview/spend-today", back(HOUR))
        today = UNTIL % DAY
        assert found["today"] == pytest.approx(usd(self.within(today)), rel=1e-12)
        yesterday = self.within(today, UNTIL - DAY)
        assert found["by this time yesterday"] == pytest.approx(usd(yesterday), rel=1e-12)

    @pytest.mark.parametrize("seconds", [5 * HOUR + 17 * MINUTE, 40 * HOUR])
    @pytest.mark.parametrize(("panel", "field"), [("top-keys", "key_id"), ("top-users", "user")])
    async def test_callers_spend_what_their_calls_cost(
        self, client: AsyncClient, panel: str, field: str, seconds: int
    ) -> None:
        found = await asked(client, f"teams/{panel}", back(seconds), **CHOSEN)
        calls = [event for event in self.within(seconds, **CHOSEN) if hasattr(event, field)]
        names = {getattr(event, field) for event in calls}
        spent = {name: usd(each for each in calls if getattr(each, field) == name) for name in names}
        most = sorted(spent.items(), key=lambda one: -one[1])[:10]
        assert len(most) > 1
        assert {row["series"]: row["spend"] for row in found} == pytest.approx(dict(most), rel=1e-12)

    @pytest.mark.parametrize("place", ["overview/spend-over-time", "teams/by-team"])
    async def test_the_bars_of_a_range_add_up_to_its_total(self, client: AsyncClient, place: str) -> None:
        time = back(UNTIL % DAY + DAY)  # from a midnight on: no bar begins before it
        found = await asked(client, place, time)
        assert sum(row["spend"] for row in found) == pytest.approx(usd(self.within(UNTIL % DAY + DAY)))
        search = sum(row["spend"] for row in found if row["series"] == "search")
        assert search == pytest.approx(usd(self.within(UNTIL % DAY + DAY, team=["search"])))

    @pytest.mark.parametrize("place", ["teams/chargeback", "teams/by-project", "teams/by-environment"])
    async def test_parts_of_a_range_add_up_to_its_total(self, client: AsyncClient, place: str) -> None:
        found = await asked(client, place, back(DAY))
        assert sum(row["spend"] for row in found) == pytest.approx(usd(self.within(DAY)))

    async def test_the_split_adds_what_of_clusters_is_idle_to_the_total(self, client: AsyncClient) -> None:
        found = {row["series"]: row["spend"] for row in await asked(client, "overview/split", back(DAY))}
        idle = found.pop("Kubernetes: idle")
        assert sum(found.values()) == pytest.approx(usd(self.within(DAY)))
        [line] = await asked(client, "kubernetes/efficiency", back(DAY))
        assert line["idle"] == pytest.approx(idle)

    async def test_the_lines_of_a_bill_add_up_to_the_price_of_the_nodes(self, client: AsyncClient) -> None:
        hours = UNTIL % DAY // HOUR * HOUR
        nodes = [node for node in spending.nodes() if node.event_time // 10**6 >= UNTIL - UNTIL % DAY]
        assert len(nodes) == 2 * hours // HOUR
        for place in ("kubernetes/bill", "kubernetes/by-resource", "kubernetes/spot"):
            found = await asked(client, place, back(UNTIL % DAY))
            total = sum(row.get("cost", row.get("spend")) for row in found)
            assert total == pytest.approx(usd(nodes)), place

    async def test_a_simulation_s_phases_stand_side_by_side(
        self, client: AsyncClient, filled: Secret
    ) -> None:
        runs = "unoptimized-1-20240101T000000", "optimized-1-20240101T000000"
        then = UNTIL - 20 * DAY
        calls = [replace(call, team="simulated") for call in spending.calls(then, 40)]
        calls = [replace(call, environment=runs[row % 2]) for row, call in enumerate(calls)]
        await spending.land(filled, calls, partition=7)
        found = {row["series"]: row["cost"] for row in await asked(client, "optimisation/phases", back(HOUR))}
        assert found == {f"{run}: calls": pytest.approx(usd(calls[row::2])) for row, run in enumerate(runs)}

    async def test_chargeback_tells_the_change_against_the_time_before(self, client: AsyncClient) -> None:
        found = {row["team"]: row for row in await asked(client, "teams/chargeback", back(DAY))}
        now, before = (usd(self.within(DAY, until, team=["search"])) for until in (UNTIL, UNTIL - DAY))
        assert found["search"]["spend"] == pytest.approx(now)
        assert found["search"]["change"] == pytest.approx(now / before - 1)
        assert sum(row["share"] for row in found.values()) == pytest.approx(1)

    async def test_hours_of_tokens_hold_each_token_once(self, client: AsyncClient) -> None:
        found = await asked(client, "ai-spend/tokens-per-hour", back(UNTIL % DAY))
        calls = [event for event in self.within(UNTIL % DAY) if hasattr(event, "model")]
        hours = back(UNTIL % DAY).interval / 3_600_000
        total = sum(value for row in found for name, value in row.items() if name != "time") * hours
        assert total == pytest.approx(sum(call.input_tokens + call.output_tokens for call in calls))

    async def test_a_hit_ratio_is_hits_by_calls(self, client: AsyncClient) -> None:
        [found] = await asked(client, "overview/cache", back(HOUR))
        calls = [event for event in self.within(UNTIL % DAY) if hasattr(event, "model")]
        hits = [call for call in calls if call.cache_outcome != "none"]
        assert found["hit ratio"] == pytest.approx(len(hits) / len(calls))
        assert found["saved"] == pytest.approx(sum(call.avoided_by_cache for call in calls) / PICO)

    async def test_latencies_are_within_a_hundredth(self, client: AsyncClient) -> None:
        time = TimeRange(start=(UNTIL - UNTIL % DAY) * 1000, end=UNTIL * 1000, interval=DAY * 1000)
        [found] = await asked(client, "ai-spend/latency", time)
        durations = sorted(
            call.duration / 1000 for call in self.within(UNTIL % DAY) if hasattr(call, "model")
        )
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            assert found[name] == pytest.approx(durations[int(share * (len(durations) - 1))], rel=0.02)

    async def test_calls_under_way_are_the_time_they_took(self, client: AsyncClient) -> None:
        found = await asked(client, "ai-spend/active-requests", back(DAY))
        took = sum(call.duration for call in self.within(DAY) if hasattr(call, "model")) / 10**6
        seconds = back(DAY).interval_s
        assert sum(row["under way"] for row in found) * seconds == pytest.approx(took)

    async def test_stored_rows_and_sums_agree_to_the_last_digit(self, client: AsyncClient) -> None:
        [found] = await asked(client, "trust/agreement", back(DAY))
        assert found["difference"] == 0
        calls = [event for event in self.within(DAY) if hasattr(event, "model")]
        assert found["as counted"] == pytest.approx(usd(calls), rel=1e-12)

    async def test_a_budget_s_standing_is_the_newest(self, client: AsyncClient) -> None:
        found = await asked(client, "budgets/standing", back(DAY))
        calls = self.within(UNTIL % DAY + MINUTE, UNTIL + MINUTE, team=["search"])
        spent = usd(call for call in calls if hasattr(call, "model"))
        assert {row["budget"] for row in found} == {"Search, by the day", "Search, by the month"}
        [day] = [row for row in found if row["budget"] == "Search, by the day"]
        assert day["spent"] == pytest.approx(spent)
        assert day["left"] == pytest.approx(5 - spent)


async def test_recommendations_are_of_the_chosen_clusters_and_tell_days_as_people_do(
    client: AsyncClient,
) -> None:
    place, time = "kubernetes/rightsizing", back(DAY)
    [found] = await asked(client, place, time, cluster=["east"])
    assert (found["cluster"], found["workload"], found["days"]) == ("east", "web-server", 7.0)
    assert found["freed a month"] == pytest.approx(730 / 20)
    assert await asked(client, place, time, cluster=["west"]) == []


async def test_a_question_cannot_write_nor_ask_without_bounds(client: AsyncClient) -> None:
    time = RANGES["an hour"]
    for sql in (
        "TRUNCATE TABLE alert_raw",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT number FROM numbers(1e6)",
    ):
        with pytest.raises(QueryError):
            await ask(client, sql, time, {})


async def test_a_value_that_was_made_to_break_out_stays_a_value(client: AsyncClient) -> None:
    for value in ("') OR 1=1 --", "\\') OR 1=1 --", "x'; DROP TABLE alert_raw; --", "\\"):
        [found] = await asked(client, "overview/totals", RANGES["a day"], team=[value])
        assert found["calls"] == 0


async def test_a_replayed_trace_shows_what_its_rows_say(client: AsyncClient, filled: Secret) -> None:
    path = trace("azure-llm-2023/AzureLLMInferenceTrace_conv.csv.gz")
    events = list(formats.open_events(path, None, {"team": "azure"}, simulation_book).events)  # type: ignore[arg-type]
    await spending.land(filled, events, partition=5)
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    tokens = [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in rows]
    spent = float(sum((i * Decimal("0.03") + o * Decimal("0.06")) / 1000 for i, o in tokens))
    time = back(DAY, int(datetime(2023, 11, 17, tzinfo=UTC).timestamp()))
    [found] = await asked(client, "overview/totals", time, team=["azure"])
    assert (found["calls"], found["tokens"]) == (19_366, sum(map(sum, tokens)))
    assert found["spend"] == pytest.approx(spent, rel=1e-12)
    for _, panel in PANELS:
        check_shape(panel, await ask(client, panel.sql, time, {"team": ["azure"]}))


async def test_grafana_s_alert_rules_are_answered_by_one_number(client: AsyncClient) -> None:
    rules = yaml.safe_load(RULES)["groups"][0]["rules"]
    for rule in rules:
        answer = await ask(client, rule["data"][0]["model"]["rawSql"], RANGES["a day"], {})
        [[value]] = answer.rows
        assert [column.holds for column in answer.columns] == ["number"]
        assert (value > 0) == (rule["uid"] in ("spendstream-unpriced", "spendstream-silent"))
