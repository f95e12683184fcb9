"""Teams, prices, routes and the cache through the admin API."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.caching import tenant_of
from spendstream.money import parse_usd
from spendstream.pricing import LivePrices, PriceBook, simulation_book
from spendstream.pricing.documents import layer_of
from spendstream.teams import Teams
from tests.fixtures.administration import Admin

TEAM = {"name": "Search", "owner": "ann@example.com", "features": ["mask_pii"]}
PRICE = {
    "prices": [
        {
            "provider": "openai",
            "model": "gpt-4o",
            "effective_from": "2026-01-01",
            "input_per_million": "2.00",
            "output_per_million": "8.00",
        }
    ]
}
ROUTE = {
    "strategy": "cheapest",
    "models": ["gpt-4*"],
    "candidates": [{"provider": "openai", "model": "gpt-4o"}, {"provider": "openai", "model": "gpt-4"}],
}
KINDS = [("teams", "team", TEAM), ("prices", "price", PRICE), ("routes", "route", ROUTE)]


@pytest.fixture
def admin() -> Admin:
    return Admin()


@pytest.mark.parametrize(("plural", "singular", "document"), KINDS)
async def test_a_document_is_set_shown_listed_bound_to_its_state_and_deleted(
    admin: Admin, plural: str, singular: str, document: dict[str, Any]
) -> None:
    path = f"/admin/{plural}/search"
    written = await admin.ask("PUT", path, document)
    assert (written.status, written.json) == (200, document)
    tag = written.headers["etag"]
    assert (await admin.ask("GET", path)).json == document
    listed = (await admin.ask("GET", f"/admin/{plural}")).json
    assert listed[plural] == [{"id": "search", "etag": tag, singular: document}]
    assert (await admin.ask("PUT", path, document, if_match='"another"')).status == 412
    assert (await admin.ask("DELETE", path, if_match=tag)).status == 204
    assert (await admin.ask("DELETE", path)).status == 404
    assert (await admin.ask("GET", path)).status == 404
    assert [(kind, fields["before"], fields["after"]) for kind, fields in admin.audit.entries] == [
        (f"{singular}_set", None, tag.strip('"')),
        (f"{singular}_deleted", tag.strip('"'), None),
    ]


@pytest.mark.parametrize(
    ("plural", "document", "field"),
    [
        ("teams", {"features": ["mask_all"]}, "features[0]"),
        ("teams", {"colour": "red"}, "colour"),
        ("teams", [], "document"),
        ("prices", {}, "prices"),
        ("prices", {"prices": [7]}, "prices[0]"),
        ("prices", {"prices": [{**PRICE["prices"][0], "input_per_million": "-1"}]}, "prices[0]"),
        ("prices", {"prices": [{**PRICE["prices"][0], "effective_from": "soon"}]}, "prices[0]"),
        ("prices", {"prices": [PRICE["prices"][0]] * 2}, "prices"),
        ("prices", {**PRICE, "price": []}, "price"),
        ("routes", {**ROUTE, "strategy": "dearest"}, "strategy"),
        ("routes", {**ROUTE, "name": "other"}, "name"),
        ("routes", {**ROUTE, "candidates": [{"provider": "p"}]}, "candidate 1.model"),
        ("routes", {**ROUTE, "candidates": [{"provider": "p", "model": "nobody-serves-it"}]}, "document"),
    ],
)
async def test_what_is_wrong_is_told_with_its_field(
    admin: Admin, plural: str, document: Any, field: str
) -> None:
    answer = await admin.ask("PUT", f"/admin/{plural}/search", document)
    assert (answer.status, answer.json["mistakes"][0]["field"]) == (400, field)


async def test_a_route_of_the_configuration_is_changed_there_alone(admin: Admin) -> None:
    assert (await admin.ask("PUT", "/admin/routes/of-the-file", ROUTE)).status == 409


async def test_answers_of_a_team_or_of_all_are_forgotten(admin: Admin) -> None:
    assert (await admin.ask("POST", "/admin/cache/purge", {"team": "search", "org": "acme"})).status == 204
    assert (await admin.ask("POST", "/admin/cache/purge", {"team": None})).status == 204
    assert admin.cache.tenants == [tenant_of("acme", "search"), None]
    assert [kind for kind, _ in admin.audit.entries] == ["cache_purged"] * 2
    for wrong in ({}, {"org": "acme"}, {"team": None, "org": "acme"}, {"team": 7}, b"", b"["):
        assert (await admin.ask("POST", "/admin/cache/purge", wrong)).status == 400
    assert len(admin.cache.tenants) == 2


async def test_prices_that_are_set_beat_the_shipped_ones_and_not_those_of_the_file(admin: Admin) -> None:
    for name, dollars in (("set", "1.25"), ("in-file", "7")):
        price = {"model": "gpt-4", "input_per_million": dollars, "output_per_million": "0"}
        await admin.ask("PUT", f"/admin/prices/{name}", {"prices": [price]})
    layer, in_file = (layer_of([admin.prices.found[name]]) for name in ("set", "in-file"))
    shipped = simulation_book()
    book, below_a_file = LivePrices(PriceBook(), shipped), LivePrices(PriceBook(in_file), shipped)
    assert book.rates("openai", "gpt-4", 0) == shipped.rates("openai", "gpt-4", 0)
    for each in (book, below_a_file):
        each.use(layer)
    found = book.rates("openai", "gpt-4", 0)
    assert (found.input, found.output, found.source) == (parse_usd("1.25"), 0, "price set")
    assert below_a_file.rates("openai", "gpt-4", 0).input == parse_usd(7)
    book.use(layer_of([]))
    assert book.rates("openai", "gpt-4", 0) == shipped.rates("openai", "gpt-4", 0)


async def test_a_team_has_what_it_opted_in_to_and_no_other_team_has_it(admin: Admin) -> None:
    await admin.ask("PUT", "/admin/teams/search", TEAM)
    teams = Teams()
    teams.use(admin.teams.found.values())
    assert teams.have("search", "mask_pii")
    assert not teams.have("search", "optimise_prompts")
    assert not teams.have("ads", "mask_pii")
