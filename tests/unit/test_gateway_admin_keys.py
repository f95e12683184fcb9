"""Keys through the admin API: a secret is shown once, opens the gateway, and is exchanged or revoked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures.administration import DIGEST, FILE_KEY, HASHER, Admin, Answer


@pytest.fixture
def admin() -> Admin:
    return Admin()


async def make(admin: Admin, **fields: Any) -> Answer:
    return await admin.ask("POST", "/admin/keys", {"id": "k1", "team": "search", **fields})


async def test_a_key_that_is_made_opens_the_gateway_and_is_shown_once(admin: Admin) -> None:
    made = await make(admin, models=["gpt-4*"], expires_at="2027-01-01T00:00:00Z")
    assert (made.status, made.headers["location"], made.headers["cache-control"]) == (
        201, "/admin/keys/k1", "no-store",
    )  # fmt: skip
    secret = made.json["key"]
    assert await admin.opens(secret)
    shown = await admin.ask("GET", "/admin/keys/k1")
    assert shown.json == made.json["api_key"] == {
        "id": "k1",
        "team": "search",
        "models": ["gpt-4*"],
        "created_at": "2026-11-18T11:06:40Z",
        "expires_at": "2027-01-01T00:00:00Z",
    }  # fmt: skip
    listed = await admin.ask("GET", "/admin/keys")
    assert listed.json == {
        "keys": [{"id": "k1", "etag": shown.headers["etag"], "api_key": shown.json}],
        "in_file": ["of-the-file"],
    }
    everything = b"".join((shown.body, listed.body, repr(admin.audit.entries).encode()))
    for hidden in (secret, secret.rpartition("-")[2], HASHER.hash(secret)):
        assert hidden.encode() not in everything


async def test_an_id_is_made_up_where_none_is_given(admin: Admin) -> None:
    made = await admin.ask("POST", "/admin/keys", {"team": "search"})
    assert made.json["key"].startswith(f"sk-spend-{made.json['api_key']['id']}-")


async def test_an_id_is_given_once(admin: Admin) -> None:
    await make(admin)
    assert (await make(admin)).status == 409
    assert (await make(admin, id="of-the-file")).status == 409


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"team": ""}, "team"),
        ({"id": "-k"}, "id"),
        ({"id": 7}, "id"),
        ({"apis": ["chats"]}, "apis[0]"),
        ({"hash": "ab" * 32}, "hash"),
        ({"colour": "red"}, "colour"),
        ({"expires_at": "2027-01-01T00:00:00"}, "expires_at"),
    ],
)
async def test_what_is_no_key_is_refused_with_its_field(
    admin: Admin, fields: dict[str, Any], field: str
) -> None:
    answer = await make(admin, **fields)
    assert (answer.status, answer.json["mistakes"][0]["field"]) == (400, field)
    assert admin.keys.found == {}


async def test_a_key_is_exchanged_with_an_overlap(admin: Admin) -> None:
    old = (await make(admin)).json["key"]
    rotated = await admin.ask("POST", "/admin/keys/k1/rotate", {"overlap_s": 60})
    new = rotated.json["key"]
    assert (await admin.opens(old), await admin.opens(new)) == (True, True)
    admin.now += 60_000_000
    assert (await admin.opens(old), await admin.opens(new)) == (False, True)
    newest = (await admin.ask("POST", "/admin/keys/k1/rotate", {"overlap_s": 0})).json["key"]
    assert (await admin.opens(new), await admin.opens(newest)) == (False, True)


async def test_a_revoked_key_opens_nothing_stays_listed_and_cannot_be_exchanged(admin: Admin) -> None:
    secret = (await make(admin)).json["key"]
    revoked = await admin.ask("POST", "/admin/keys/k1/revoke")
    assert revoked.json["revoked_at"] == "2026-11-18T11:06:40Z"
    assert not await admin.opens(secret)
    assert (await admin.ask("POST", "/admin/keys/k1/rotate")).status == 409
    assert (await make(admin)).status == 409, "its id stays its own"
    admin.now += 10**6
    again = await admin.ask("POST", "/admin/keys/k1/revoke")
    assert again.json == revoked.json


async def test_a_key_is_changed_where_it_is_as_expected(admin: Admin) -> None:
    tag = (await make(admin, name="batch", models=["gpt-4"])).headers["etag"]
    changed = await admin.ask("PATCH", "/admin/keys/k1", {"models": None, "apis": ["chat"]}, if_match=tag)
    assert (changed.status, changed.json["apis"], changed.json["name"]) == (200, ["chat"], "batch")
    assert "models" not in changed.json
    assert (await admin.ask("PATCH", "/admin/keys/k1", {"name": "x"}, if_match=tag)).status == 412
    assert (await admin.ask("PATCH", "/admin/keys/k1", {"team": None})).status == 400
    assert (await admin.ask("PATCH", "/admin/keys/k1", {"id": "k2"})).status == 400
    assert (await admin.ask("POST", "/admin/keys/k1/revoke", if_match=tag)).status == 412


@pytest.mark.parametrize(
    ("method", "verb"), [("GET", ""), ("PATCH", ""), ("POST", "/rotate"), ("POST", "/revoke")]
)
async def test_a_key_that_is_not_there_cannot_be_shown_or_changed(
    admin: Admin, method: str, verb: str
) -> None:
    answer = await admin.ask(method, f"/admin/keys/k9{verb}", {} if method != "GET" else None)
    assert answer.status == 404


@pytest.mark.parametrize(("method", "verb"), [("PATCH", ""), ("POST", "/rotate"), ("POST", "/revoke")])
async def test_a_key_of_the_file_is_changed_in_the_file_alone(admin: Admin, method: str, verb: str) -> None:
    assert (await admin.ask(method, f"/admin/keys/of-the-file{verb}", {})).status == 409
    assert await admin.opens(FILE_KEY)


async def test_every_change_is_audited_with_who_what_and_from_where(admin: Admin) -> None:
    tag = (await make(admin)).headers["etag"].strip('"')
    await admin.ask("POST", "/admin/keys/k1/revoke")
    created, revoked = admin.audit.entries
    who = {"who": f"admin key {DIGEST[:8]}", "address": "127.0.0.1", "id": "k1"}
    assert created == ("key_created", {**who, "before": None, "after": tag})
    assert revoked[0] == "key_revoked"
    assert revoked[1]["before"] == tag != revoked[1]["after"]


async def test_what_cannot_be_audited_is_not_done(admin: Admin) -> None:
    admin.audit.broken = True
    answer = await make(admin)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert admin.keys.found == {}


async def test_a_change_that_fails_is_audited_as_one(admin: Admin) -> None:
    admin.keys.full = True
    assert (await make(admin)).status == 503
    assert [kind for kind, _ in admin.audit.entries] == ["key_created", "key_created_failed"]


async def test_guesses_at_the_admin_key_are_audited_and_told_to_wait(admin: Admin) -> None:
    statuses = [(await admin.ask("GET", "/admin/keys", key=f"guess {n}")).status for n in range(25)]
    assert statuses == [401] * 20 + [429] * 5
    assert [kind for kind, _ in admin.audit.entries] == ["admin_refused"] * 20 + ["key_guessing"]
    assert (await admin.ask("GET", "/admin/keys")).status == 200


async def test_two_keys_in_one_request_are_refused(admin: Admin) -> None:
    assert (await admin.ask("GET", "/admin/keys", x_api_key="other")).status == 400
