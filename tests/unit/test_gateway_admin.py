"""The admin API: budgets are set by whoever has the key, and every mistake is told with its field."""

from __future__ import annotations

from typing import Any

import pytest

from spendstream.budgets import entries
from spendstream.budgets.documents import decode
from spendstream.documents import MAX_DOCUMENT_BYTES
from spendstream.money import PICO
from spendstream.pricing import overrides
from tests.fixtures.administration import DIGEST, Admin, Answer

SEARCH = {"versions": [{"amount": "500 USD", "period": "month", "scope": {"team": "search"}}]}


async def put(admin: Admin, budget_id: str, document: Any = SEARCH, **headers: str) -> Answer:
    return await admin.ask("PUT", f"/admin/budgets/{budget_id}", document, **headers)


@pytest.fixture
def admin() -> Admin:
    return Admin()


async def test_a_budget_that_is_set_is_shown_as_it_was_written_until_it_is_deleted(admin: Admin) -> None:
    written = await put(admin, "search")
    assert (written.status, written.json) == (200, SEARCH)
    assert admin.kept.found["search"].budgets[0].amount == 500 * PICO
    shown = await admin.ask("GET", "/admin/budgets/search")
    assert (shown.json, shown.headers["etag"]) == (SEARCH, written.headers["etag"])
    listed = (await admin.ask("GET", "/admin/budgets")).json
    assert listed == {
        "budgets": [{"id": "search", "etag": shown.headers["etag"], "budget": SEARCH}],
        "in_file": ["of-the-file"],
    }
    assert (await admin.ask("DELETE", "/admin/budgets/search")).status == 204
    assert (await admin.ask("GET", "/admin/budgets/search")).status == 404
    assert (await admin.ask("DELETE", "/admin/budgets/search")).status == 404


@pytest.mark.parametrize("path", ["/admin/budgets", "/admin/openapi.json", "/admin"])
async def test_without_a_configured_key_there_is_no_admin_api(path: str) -> None:
    assert (await Admin("").ask("GET", path)).status == 404


@pytest.mark.parametrize("key", [None, "", "wrong", DIGEST, "of-the-admin\u00fc"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_who_lacks_the_key_sees_and_changes_nothing(admin: Admin, method: str, key: str | None) -> None:
    await put(admin, "search")
    answer = await admin.ask(method, "/admin/budgets/search", b"{}", key=key)
    assert (answer.status, answer.json["error"]["code"]) == (401, "invalid_admin_key")
    assert list(admin.kept.found) == ["search"]


async def test_every_mistake_is_told_at_once_with_its_field(admin: Admin) -> None:
    answer = await put(
        admin,
        "search",
        {
            "versions": [
                {"amount": "500", "period": "fortnight", "scope": {"teem": "search"}},
                {"amount": "5 EUR", "period": "month", "id": "other", "colour": "red"},
            ],
            "version": 3,
        },
    )
    assert answer.status == 400
    assert [mistake["field"] for mistake in answer.json["mistakes"]] == [
        "version",
        "versions[0].scope.teem",
        "versions[0].amount",
        "versions[0].period",
        "versions[1].id",
        "versions[1].colour",
    ]
    assert answer.json["error"]["param"] == "version"
    assert admin.kept.found == {}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "document"),
        (b"[]", "document"),
        (b"\xff", "document"),
        (b'{"versions": NaN}', "document"),
        (b'{"versions": [], "versions": []}', "document"),
        (b'{"versions": ["\\ud800"]}', "document"),
        (b"[" * 50_000, "document"),
        (b"{}", "versions"),
        (b'{"versions": []}', "versions"),
        (b'{"versions": [1]}', "versions[0].version"),
        (b'{"versions": [{"amount": "5 EUR", "period": "month"}]}', "versions[0].amount"),
        (
            b'{"versions": [{"amount": "5 USD", "period": "month"}, {"amount": "6 USD", "period": "month"}]}',
            "versions[1].effective_from",
        ),
    ],
)
async def test_what_is_no_budget_is_refused(admin: Admin, body: bytes, field: str) -> None:
    answer = await put(admin, "search", body)
    assert (answer.status, answer.json["mistakes"][0]["field"]) == (400, field)


async def test_a_name_that_cannot_be_one_and_a_document_that_is_too_long_are_refused(admin: Admin) -> None:
    answer = await put(admin, "-no")
    assert (answer.status, answer.json["mistakes"][0]["field"]) == (400, "id")
    assert (await put(admin, "search", b" " * (MAX_DOCUMENT_BYTES + 1))).status == 413


async def test_a_budget_of_the_file_is_changed_in_the_file_alone(admin: Admin) -> None:
    assert (await put(admin, "of-the-file")).status == 409
    assert (await admin.ask("DELETE", "/admin/budgets/of-the-file")).status == 409


async def test_a_change_can_be_bound_to_the_state_that_it_is_a_change_of(admin: Admin) -> None:
    assert (await put(admin, "search", if_match="*")).status == 412
    tag = (await put(admin, "search")).headers["etag"]
    raised = {"versions": [{**SEARCH["versions"][0], "amount": "600 USD"}]}
    assert (await put(admin, "search", raised, if_match=tag)).status == 200
    assert (await put(admin, "search", raised, if_match=tag)).status == 412
    assert (await admin.ask("DELETE", "/admin/budgets/search", if_match=tag)).status == 412
    assert (await admin.ask("DELETE", "/admin/budgets/search", if_match="*")).status == 204


async def test_while_kafka_is_away_a_caller_is_told_to_come_back(admin: Admin) -> None:
    admin.kept.away = True
    answer = await put(admin, "search")
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert answer.json["error"]["message"] == "Kafka is away"


async def test_the_description_names_every_field_that_a_budget_has(admin: Admin) -> None:
    described = (await admin.ask("GET", "/admin/openapi.json", key=None)).json
    put = described["paths"]["/budgets/{name}"]["put"]
    version = put["requestBody"]["content"]["application/json"]["schema"]["properties"]["versions"]["items"]
    assert {"400", "401", "409", "412", "413", "503"} <= put["responses"].keys()
    assert version["properties"].keys() == {*entries._PARSERS, "scope"}


async def test_the_description_says_of_every_answer_what_is_in_it(admin: Admin) -> None:
    described = (await admin.ask("GET", "/admin/openapi.json", key=None)).json
    operations = [one for path in described["paths"].values() for one in path.values()]
    assert len(operations) > 20
    for operation in operations:
        for status, answer in operation["responses"].items():
            said = answer.get("content", {}).get("application/json", {}).get("schema", {})
            assert status == "204" or said.get("properties"), (operation["summary"], status)
            assert status[0] == "2" or "error" in said["properties"], "all errors have one shape"


async def test_wrong_parameters_are_answered_as_described(admin: Admin) -> None:
    answer = await admin.ask("GET", "/admin/budgets/%20")
    described = (await admin.ask("GET", "/admin/openapi.json", key=None)).json
    assert str(answer.status) in described["paths"]["/budgets/{name}"]["get"]["responses"]
    assert answer.json["error"]["code"] == "invalid_document"
    assert "ValidationError" not in str(described)


async def test_the_description_names_every_field_that_a_price_has(admin: Admin) -> None:
    described = (await admin.ask("GET", "/admin/openapi.json", key=None)).json
    put = described["paths"]["/prices/{name}"]["put"]
    entry = put["requestBody"]["content"]["application/json"]["schema"]["properties"]["prices"]["items"]
    assert entry["properties"].keys() == set(overrides._KNOWN)


async def test_an_unknown_path_answers_in_the_same_shape(admin: Admin) -> None:
    answer = await admin.ask("GET", "/admin/nothing")
    assert (answer.status, set(answer.json["error"])) == (404, {"message", "type", "param", "code"})


def test_numbers_are_kept_exactly_as_written() -> None:
    value = b'{"versions":[{"amount":"5 USD","period":"month","thresholds":[50,95.55]}]}'
    document = decode("a", value, {})
    assert document.budgets[0].thresholds == (5000, 9555)
    assert decode("a", document.encoded, {}) == document
