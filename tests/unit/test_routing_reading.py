"""Definitions of routes: what TOML and JSON say, and every mistake at once."""

import json
import tomllib
from decimal import Decimal

import pytest

from spendstream.routing import BadRoutes, Candidate, Condition, Limit, Route, Rule, Weights, read_routes

WRITTEN = """
[[route]]
name = "smart"
strategy = "complexity"
models = ["gpt-4", "gpt-4-*"]
provider_limit = "70%"
provider_window = "5m"
weights = { cost = 2, latency = 1, quality = 0 }

[[route.candidates]]
provider = "anthropic"
model = "claude-haiku"
up_to = 0.5
share = 30

[[route.candidates]]
provider = "openai"
model = "gpt-4o"
quality = 90
context = 128000

[[route.rules]]
when = { team = "law", environment = ["prod"], at_least = 4000, tools = true }
use = ["gpt-4o"]
strategy = "quality-first"
"""
ROUTE = Route(
    name="smart",
    strategy="complexity",
    models=("gpt-4", "gpt-4-*"),
    limit=Limit(share=7_000, window=300 * 10**6),
    weights=Weights(cost=2, latency=1, quality=0),
    candidates=(
        Candidate(provider="anthropic", model="claude-haiku", up_to=0.5, share=30),
        Candidate(provider="openai", model="gpt-4o", quality=90, context=128_000),
    ),
    rules=(
        Rule(
            when=Condition(team=("law",), environment=("prod",), at_least=4_000, tools=True),
            use=("gpt-4o",),
            strategy="quality-first",
        ),
    ),
)
LEAST = {"name": "r", "strategy": "cheapest", "candidates": [{"provider": "p", "model": "m"}]}


def test_toml_and_json_say_the_same():
    document = tomllib.loads(WRITTEN, parse_float=Decimal)
    assert read_routes(document["route"]) == (ROUTE,)
    assert read_routes(json.loads(json.dumps(tomllib.loads(WRITTEN)))["route"]) == (ROUTE,)


def test_no_routes_are_fine():
    assert read_routes([]) == ()


def test_all_mistakes_are_told_together_each_with_its_place_and_field():
    wrong = {
        "name": "smart",
        "strategy": "chepest",
        "colour": "red",
        "candidates": [{"provider": "p", "up_to": 2, "share": -1}, {"provider": 3, "model": "m"}],
        "rules": [{"when": {"teem": "law"}, "use": []}],
        "weights": {"cost": True},
        "provider_limit": "120%",
    }
    with pytest.raises(BadRoutes) as error:
        read_routes([wrong, {}], "routes.toml")
    lines = str(error.value).splitlines()
    for start in (
        "routes.toml: route 1 (smart): strategy: expected one of cheapest, fastest",
        "routes.toml: route 1 (smart): colour: no such field",
        "routes.toml: route 1 (smart): candidate 1: up_to: expected a number from 0 to 1, found 2",
        "routes.toml: route 1 (smart): candidate 1: share: expected a whole number",
        "routes.toml: route 1 (smart): candidate 1: model: is missing",
        "routes.toml: route 1 (smart): candidate 2: provider: expected text",
        "routes.toml: route 1 (smart): rule 1: when: teem: no such field; did you mean team?",
        "routes.toml: route 1 (smart): rule 1: use: expected a text or a list",
        "routes.toml: route 1 (smart): weights: cost: expected a whole number",
        "routes.toml: route 1 (smart): provider_limit: expected at most 100%",
        "routes.toml: route 2: name: is missing",
    ):
        assert any(line.startswith(start) for line in lines), start


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"strategy": "mix"}, "a mix needs the share of at least one"),
        ({"strategy": "quality-first"}, "quality-first needs the quality of at least one"),
        ({"strategy": "complexity"}, "complexity needs candidates with different up_to"),
        ({"provider_limit": 50}, "need each other"),
        ({"candidates": []}, "expected at least one candidate"),
        ({"candidates": LEAST["candidates"] * 2}, "p/m is there twice"),
        ({"rules": [{"when": {}, "use": "n"}]}, "use: n: no such candidate"),
        ({"rules": [{"when": {}, "strategy": "mix"}]}, "a mix needs the share of at least one"),
        ({"rules": [{"when": {"at_least": 2, "at_most": 1}}]}, "this never holds"),
        ({"rules": {}}, "expected a list of at most 100 tables"),
        ({"weights": []}, "expected fields"),
        ({"provider_limit": 50, "provider_window": "5y"}, "expected a length like 30s"),
    ],
)
def test_what_does_not_fit_together_is_told(change, told):
    with pytest.raises(BadRoutes, match=told):
        read_routes([LEAST | change])


def test_two_routes_of_one_name_are_refused():
    with pytest.raises(BadRoutes, match=r"route 2 \(r\): name: another route has this name"):
        read_routes([LEAST, LEAST])


@pytest.mark.parametrize("raw", [None, 3, "route", {}, [3], [[]], [None]])
def test_what_is_no_list_of_tables_is_refused(raw):
    with pytest.raises(BadRoutes, match="expected a list"):
        read_routes(raw)
