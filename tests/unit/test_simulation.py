"""The simulated cluster and its comparison: same demand in both phases, exact bills, causes that add up."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from io import StringIO
from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from producers.simulation.ai import MIX, SHORTEST_LIFE_S, demand, gateway_of
from producers.simulation.chart import bill, chart, requests
from producers.simulation.comparison import NotComparable, compared
from producers.simulation.figures import Account, CallPairs, Calls, Containers, Nodes
from producers.simulation.fleet import BUDGETS, Fleet, fixed, flexible, job_runs, pods_of
from producers.simulation.nodes import CAPACITIES, ON_DEMAND, WITH_SPOT, offers
from producers.simulation.rightsized import requests_from, sizings
from producers.simulation.samples import MONDAY, SAMPLE_S, Run, events, size
from producers.simulation.usage import series
from producers.simulation.workloads import DAEMONS, GIB, MILLI, WORKLOADS
from spendstream import config
from spendstream.caching.admission import Policy, Value, ttl
from spendstream.events import Event, NodeUsage, PodUsage, PurchaseOption
from spendstream.money import parse_usd
from spendstream.rightsizing.days import gathered
from spendstream.routing import read_routes
from spendstream.scheduling import Resources, least_price, overhead, price, total

_HOUR = 3600 * 10**6
DAY = 86_400 // SAMPLE_S
_PRICES = {
    ("m5.2xlarge", "on-demand"): "0.384",
    ("m5.2xlarge", "spot"): "0.188",
    ("g4dn.xlarge", "on-demand"): "0.526",
}
_SMALLER = {"legacy-app": Resources(cpu=400 * MILLI, memory=400 << 20)}


def cost_of(name: str, option: PurchaseOption) -> int:
    return parse_usd(_PRICES[name, option])


BEFORE = fixed(offers(ON_DEMAND, cost_of))
AFTER = flexible(offers(WITH_SPOT, cost_of), _SMALLER)
SUNDAY = MONDAY + 6 * 24 * _HOUR


def run(name: str = "unoptimized-1-x", *, seed: int = 1, start: int = MONDAY, days: int = 1) -> Run:
    return Run(name=name, seed=seed, start=start, days=days)


@cache
def unoptimized() -> Sequence[Event]:
    """Return the events of one unoptimized day, which several tests look at."""
    return tuple(events(run(), BEFORE, {}))


def containers(found: Iterable[Event]) -> list[PodUsage]:
    return [event for event in found if isinstance(event, PodUsage)]


def nodes(found: Iterable[Event]) -> list[NodeUsage]:
    return [event for event in found if isinstance(event, NodeUsage)]


class TestUsage:
    @pytest.mark.parametrize("workload", [*WORKLOADS, *DAEMONS], ids=lambda each: each.name)
    def test_no_container_uses_more_than_its_limit_or_less_than_nothing(self, workload) -> None:
        used = series(1, workload, 0, 7 * DAY, SAMPLE_S)
        assert min(*used.cpu, *used.memory, *used.gpu) >= 0
        assert all(
            average <= peak <= workload.limits.memory
            for average, peak in zip(used.memory, used.peak, strict=True)
        )
        assert max(used.cpu) <= (workload.limits.cpu or max(used.cpu))

    def test_usage_follows_the_seed_the_workload_and_the_pod(self) -> None:
        legacy, other = WORKLOADS[0], WORKLOADS[2]
        assert series(1, legacy, 0, 100, SAMPLE_S) == series(1, legacy, 0, 100, SAMPLE_S)
        found = {
            series(1, legacy, 0, 100, SAMPLE_S).cpu,
            series(2, legacy, 0, 100, SAMPLE_S).cpu,
            series(1, legacy, 1, 100, SAMPLE_S).cpu,
            series(1, other, 0, 100, SAMPLE_S).cpu,
        }
        assert len(found) == 4

    def test_a_legacy_app_uses_a_third_of_what_it_requests_and_more_by_day(self) -> None:
        legacy = WORKLOADS[0]
        used = series(1, legacy, 0, DAY, SAMPLE_S)
        assert sum(used.cpu) / len(used.cpu) < legacy.requests.cpu / 3
        assert sum(used.cpu[DAY // 2 : 2 * DAY // 3]) > 2 * sum(used.cpu[: DAY // 6])


class TestFleet:
    @pytest.mark.parametrize("fleet", [BEFORE, AFTER], ids=["before", "after"])
    @pytest.mark.parametrize("hours", ["awake", "awake_with_job", "asleep", "asleep_with_job"])
    def test_no_node_has_more_than_it_can_take(self, fleet: Fleet, hours: str) -> None:
        daemons = pods_of(DAEMONS, _SMALLER)
        for node in getattr(fleet, hours):
            taken, count = overhead(daemons, node.offer)
            assert (total(node.pods) + taken).within(node.offer.capacity)
            assert len(node.pods) + count <= node.offer.most_pods

    @pytest.mark.parametrize("fleet", [BEFORE, AFTER], ids=["before", "after"])
    def test_every_pod_runs_when_its_workload_does(self, fleet: Fleet) -> None:
        steady = {pod.name for pod in pods_of([one for one in WORKLOADS if one.runs == "always"], {})}
        jobs = {pod.name for pod in pods_of([one for one in WORKLOADS if one.runs == "nightly"], {})}
        for moment in range(MONDAY, MONDAY + 7 * 24 * _HOUR, _HOUR):
            there = {pod.name for node in fleet.at(moment) for pod in node.pods}
            assert steady <= there
            assert (jobs <= there) == job_runs(moment) == bool(jobs & there)

    def test_staging_sleeps_at_night_and_on_sundays_only_once_optimized(self) -> None:
        def staging(fleet: Fleet, moment: int) -> int:
            return sum(pod.workload == "staging-app" for node in fleet.at(moment) for pod in node.pods)

        noon, night, sunday = MONDAY + 12 * _HOUR, MONDAY + 22 * _HOUR, SUNDAY + 12 * _HOUR
        assert [staging(BEFORE, moment) for moment in (noon, night, sunday)] == [8, 8, 8]
        assert [staging(AFTER, moment) for moment in (noon, night, sunday)] == [8, 0, 0]
        assert price(AFTER.at(night)) <= price(AFTER.at(noon)) < price(BEFORE.at(noon))

    def test_what_does_not_tolerate_spot_is_on_demand(self) -> None:
        spot = [node for node in AFTER.awake_with_job if node.offer.purchase_option == "spot"]
        bear_it = {workload.name for workload in WORKLOADS if workload.tolerates_spot}
        assert spot
        assert {pod.workload for node in spot for pod in node.pods} <= bear_it

    def test_the_fleet_costs_hardly_more_than_what_no_packing_can_beat(self) -> None:
        pods = pods_of([one for one in WORKLOADS if one.runs != "nightly"], _SMALLER)
        bound = least_price(pods, offers(WITH_SPOT, cost_of), daemons=pods_of(DAEMONS, {}))
        assert bound <= price(AFTER.awake) < bound + 2 * cost_of("m5.2xlarge", "on-demand")

    def test_a_node_keeps_a_part_of_its_capacity_for_itself(self) -> None:
        large = CAPACITIES["m5.2xlarge"]
        assert large.whole == Resources(cpu=8000 * MILLI, memory=32 * GIB)
        assert large.allocatable == Resources(cpu=7910 * MILLI, memory=32 * GIB - (993 << 20))

    def test_every_workload_has_a_disruption_budget(self) -> None:
        assert {budget.workload for budget in BUDGETS} == {workload.name for workload in WORKLOADS}


class TestSamples:
    def test_nodes_are_billed_to_the_picodollar_and_containers_within_what_they_request(self) -> None:
        found = unoptimized()
        assert sum(node.cost or 0 for node in nodes(found)) == 24 * price(BEFORE.awake)
        allocated: dict[tuple[str, int], int] = defaultdict(int)
        for each in containers(found):
            assert each.cost is not None
            allocated[each.node, each.event_time] += each.cost
        over = [node for node in nodes(found) if allocated[node.node, node.event_time] > (node.cost or 0)]
        assert not over  # nothing uses more than its node has, so there is something idle on each

    def test_the_number_of_events_is_known_beforehand(self) -> None:
        assert size(run(days=2), AFTER) == sum(1 for _ in events(run(days=2), AFTER, _SMALLER))

    def test_the_same_run_has_the_same_events_and_another_has_other_ids(self) -> None:
        one, again, other = (list(events(each, AFTER, {})) for each in (run(), run(), run("other")))
        assert one == again
        assert not {event.id for event in one} & {event.id for event in other}
        assert len({event.id for event in one}) == len(one)

    def test_both_phases_have_the_same_demand(self) -> None:
        later = run("optimized-1-x", start=MONDAY + 7 * 24 * _HOUR)
        before = self.used(unoptimized(), MONDAY)
        after = self.used(events(later, AFTER, {}), later.start)
        assert after
        assert {key: before[key] for key in after} == after

    def used(self, found: Iterable[Event], start: int) -> dict[tuple[str, int], tuple[int, int, int]]:
        return {
            (each.pod, each.event_time - start): (each.cpu_usage, each.memory_usage, each.memory_peak)
            for each in containers(found)
            if each.workload_kind != "DaemonSet"
        }

    def test_new_requests_are_what_containers_are_billed_by(self) -> None:
        found = containers(events(run(), AFTER, _SMALLER))
        legacy = [each for each in found if each.workload == "legacy-app"]
        assert {each.cpu_request for each in legacy} == {400 * MILLI}
        assert {each.cpu_limit for each in legacy} == {2000 * MILLI}


class TestRightsizing:
    def test_the_recommender_lowers_the_legacy_app_and_leaves_what_a_scaler_sets(self) -> None:
        of = run(days=3)
        found = sizings(gathered(containers(events(of, BEFORE, {}))), of.end)
        requests = requests_from(found)
        assert requests["legacy-app"].cpu < 500 * MILLI
        assert requests["legacy-app"].memory < 800 << 20
        assert requests["order-worker"].cpu == 500 * MILLI
        assert found["order-worker"].cpu.reason == "autoscaled"
        assert requests["ai-service"].gpu == 1000

    def test_a_day_of_history_is_not_enough(self) -> None:
        found = sizings(gathered(containers(unoptimized())), run().end)
        assert {one.cpu.reason for one in found.values()} >= {"short-history"}
        assert requests_from(found)["legacy-app"] == WORKLOADS[0].requests


class TestAi:
    def test_both_phases_ask_the_same_in_the_same_order(self) -> None:
        one, two = (demand(1, name, 300) for name in ("before", "after"))
        same = [msgspec.structs.replace(call, environment="before") for call in two]
        assert list(one) == same
        assert {call.environment for call in two} == {"after"}
        assert {call.model for call in one} == {"gpt-4"}
        assert demand(2, "before", 300) != one

    def test_what_the_cache_keeps_lives_longer_than_the_calls_take(self) -> None:
        policy = Policy()
        for cost, reusability in product((0.5, 0.75, 1.0), (0.0, 0.25, 0.5, 1.0)):
            value = Value(cost=cost, reusability=reusability, stability=0.5)
            assert value.total >= policy.least_value
            assert ttl(policy, value) > SHORTEST_LIFE_S * 10**6

    @pytest.mark.parametrize("phase", ["unoptimized", "optimized"])
    def test_the_gateway_is_configured_validly(self, phase, tmp_path) -> None:
        gateway = gateway_of(phase)
        file = tmp_path / "gateway.toml"
        file.write_text(gateway.toml)
        found = config.load(gateway.settings, file)
        assert found.cache == ("semantic" if phase == "optimized" else "off")
        assert all(profile.error_rate == 0 for profile in found.provider[0].profiles.values())
        routes = read_routes(tomllib.loads(gateway.toml).get("route", []))
        assert len(routes) == (phase == "optimized")
        for route in routes:
            assert {one.model: one.share for one in route.candidates} == MIX


amounts = st.integers(0, 10**15)


def node_line(option: PurchaseOption, hourly: int, hours: int, *, unpriced: int = 0) -> Nodes:
    return Nodes("m5.2xlarge", option, hourly, hours * _HOUR, hourly * hours, unpriced)


def container_line(
    workload: str,
    cost: int,
    *,
    hours: int = 24,
    kind: str = "Deployment",
    spot: bool = False,
    hourly: int = 384,
) -> Containers:
    option, hourly = ("spot", 188) if spot else ("on-demand", hourly)
    return Containers(workload, kind, "m5.2xlarge", option, hourly, hours * _HOUR, cost, 0, 1, 1, 1, 0, 0)


def calls_line(number: int, cost: int, outcome: str = "none") -> Calls:
    return Calls("gpt-4", outcome, number, cost, 0, 10 * number, 20 * number)


def made(name: str, of_nodes: list[Nodes], of_containers: list[Containers], *calls: Calls) -> Account:
    return Account(run=name, nodes=tuple(of_nodes), containers=tuple(of_containers), calls=calls)


class TestComparison:
    @given(st.lists(amounts, min_size=8, max_size=8), st.integers(1, 48), st.integers(0, 48))
    def test_causes_add_up_to_what_was_saved_whatever_the_figures(
        self, costs: list[int], then: int, now: int
    ) -> None:
        before = made(
            "before",
            [node_line("on-demand", 384, then)],
            [
                container_line("app", costs[0], hours=then),
                container_line("agent", costs[1], hours=then, kind="DaemonSet"),
                container_line("gone", costs[2]),
            ],
            calls_line(30, costs[3]),
        )
        after = made(
            "after",
            [node_line("on-demand", 384, now), node_line("spot", 188, now)],
            [
                container_line("app", costs[4], hours=now, spot=True),
                container_line("app", costs[5], hours=now),
            ],
            calls_line(20, costs[6]),
            calls_line(10, 0, "exact"),
        )
        pairs = [CallPairs("exact", 10, 0, costs[3] // 3, 0)]
        pairs.append(CallPairs("none", 20, 0, costs[3] - costs[3] // 3, costs[6]))
        found = compared(before, after, pairs)
        assert sum(found.compute.values()) == found.compute_saving == before.compute - after.compute
        assert sum(found.ai.values()) == found.ai_saving == before.ai - after.ai
        assert found.saving == found.compute_saving + found.ai_saving

    def test_each_cause_is_named_for_what_it_did(self) -> None:
        before = made(
            "before",
            [node_line("on-demand", 384, 100)],
            [
                container_line("app", 10_000, hours=100),
                container_line("staging", 8_000, hours=100),
                container_line("agent", 1_000, hours=100, kind="DaemonSet"),
            ],
        )
        after = made(
            "after",
            [node_line("spot", 188, 50)],
            [
                container_line("app", 1_880, hours=100, spot=True),  # 3,840 on demand
                container_line("staging", 940, hours=25, spot=True),  # 1,920 on demand
                container_line("agent", 300, hours=50, kind="DaemonSet", spot=True),
            ],
        )
        found = compared(before, after, [])
        assert found.compute == {
            "rightsizing": (10_000 - 3_840) + (8_000 - 6_000 - 1_920),
            "packing": 38_400 - 9_400 - (6_160 + 80) - 6_000 - 50 * (384 - 188),
            "off hours": 6_000,
            "spot": 50 * (384 - 188),
        }

    def test_runs_of_other_demands_are_not_compared(self) -> None:
        before, after = made("b", [], [], calls_line(3, 1)), made("a", [], [], calls_line(2, 1))
        with pytest.raises(NotComparable, match="3 and 2 calls"):
            compared(before, after, [])
        with pytest.raises(NotComparable, match="of which 1 differ"):
            compared(before, before, [CallPairs("none", 3, 1, 1, 1)])

    def test_runs_with_events_without_a_price_are_not_compared(self) -> None:
        unpriced = made("b", [node_line("on-demand", 384, 1, unpriced=1)], [])
        with pytest.raises(NotComparable, match="1 events of b have no price"):
            compared(unpriced, unpriced, [])


class TestChart:
    def told(self, *pictures: RenderableType) -> str:
        console = Console(width=110, file=StringIO(), record=True)
        console.print(*pictures)
        return console.export_text()

    def test_a_person_reads_what_was_spent_what_was_saved_and_by_what(self) -> None:
        usd = 10**12
        before = made(
            "before",
            [node_line("on-demand", 4 * usd, 100)],
            [container_line("app", 300 * usd, hours=100, hourly=4 * usd)],
            calls_line(10, 40 * usd),
        )
        after = made(
            "after",
            [node_line("on-demand", 4 * usd, 50)],
            [container_line("app", 100 * usd, hours=100, hourly=4 * usd)],
            calls_line(4, 10 * usd),
            calls_line(6, 0, "exact"),
        )
        pairs = [CallPairs("exact", 6, 0, 24 * usd, 0), CallPairs("none", 4, 0, 16 * usd, 10 * usd)]
        lines = [
            " ".join(line.split()) for line in self.told(chart(compared(before, after, pairs))).splitlines()
        ]
        for expected in (
            "compute $400.00 $200.00 50.0%",
            "AI $40.00 $10.00 75.0%",
            "total $440.00 $210.00 52.3%",
            "compute rightsizing $200.00 50.0%",
            "AI cache, same words $24.00 60.0%",
            "routing $6.00 15.0%",
            "cache 60.0% of 10 calls: 6 in the same words, 0 of the same meaning",
            "node-hours 100 on demand -> 50 on demand",
            "idle $100.00 -> $100.00",
        ):
            assert any(line.startswith(expected) for line in lines), (expected, lines)

    def test_one_phase_is_shown_alone(self) -> None:
        told = self.told(bill(made("run", [node_line("spot", 10**12, 5)], [], calls_line(2, 10**12))))
        assert "$5.00" in told
        assert "node-hours: 5 spot" in told

    def test_every_workload_has_its_recommendation_and_the_reason(self) -> None:
        told = self.told(requests(sizings(gathered(containers(unoptimized())), run().end)))
        assert all(workload.name in told for workload in (*WORKLOADS, *DAEMONS))
        assert "short-history" in told
