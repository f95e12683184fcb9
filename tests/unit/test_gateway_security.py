"""Misuse of the hot route: refused before any call, in the API's own shape, and noted without secrets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.caching import Caching
from gateway.calls import MAX_BODY_BYTES
from gateway.testing import ScriptedModels
from spendstream.caching.memory import MemoryAnswers
from spendstream.config import Secret
from spendstream.keys import ApiKey, KeyHasher, new_key
from tests.fixtures.calling import ANSWER, MESSAGES, Client

SECRET = "of the server, and long enough for one"
KEY = new_key("k1")
API_KEY = ApiKey(
    id="k1",
    hash=KeyHasher(SECRET).hash(KEY),
    team="search",
    apis=("chat", "messages", "models"),
    models=("gpt-4",),
)
BEARER = {"authorization": f"Bearer {KEY}"}
PROMPT = "the moon is made of green cheese"


def client_with(**config: Any) -> Client:
    models = ScriptedModels(ANSWER, models=("gpt-4", "gpt-3.5-turbo"))
    return Client(models, key_secret=Secret(SECRET), api_keys=(API_KEY,), **config)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    found = client_with()
    yield found
    await found.close()


@pytest.fixture
async def audited() -> AsyncIterator[Client]:
    found = client_with(audit_calls=True)
    yield found
    await found.close()


async def test_a_key_opens_what_it_is_for(client: Client) -> None:
    assert (await client.post(headers=BEARER)).status == 200
    assert (await client.post(headers={"x-api-key": KEY})).status == 200
    assert [event.key_id for event in client.publisher.events] == ["k1", "k1"]
    assert client.audit.entries == []


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/chat/completions", "gpt-3.5-turbo"),
        ("/v1/embeddings", "gpt-4"),
        ("/v1/messages", "gpt-3.5-turbo"),
    ],
)
async def test_what_a_key_is_not_for_is_forbidden_and_noted(client: Client, path: str, model: str) -> None:
    body = {"model": model, "messages": MESSAGES, "input": "x", "max_tokens": 5}
    answer = await client.post(body, BEARER, path=path)
    assert answer.status == 403
    if path == "/v1/messages":
        assert answer.json["error"]["type"] == "permission_error"
    else:
        assert answer.json["error"]["code"] == "key_scope"
    [(kind, fields)] = client.audit.entries
    assert (kind, fields["key_id"], fields["model"]) == ("scope_refused", "k1", model)
    assert client.models.calls == []  # type: ignore[attr-defined]


async def test_only_the_models_that_a_key_is_for_are_listed(client: Client) -> None:
    answer = await client.post(b"", BEARER, path="/v1/models", method="GET")
    assert [model["id"] for model in answer.json["data"]] == ["gpt-4"]


@pytest.mark.parametrize(
    ("path", "outer"), [("/v1/chat/completions", {"error"}), ("/v1/messages", {"type", "error"})]
)
async def test_two_keys_in_one_request_are_refused_in_the_shape_of_the_api(
    client: Client, path: str, outer: set[str]
) -> None:
    answer = await client.post(headers={**BEARER, "x-api-key": KEY}, path=path)
    assert (answer.status, set(answer.json)) == (400, outer)
    assert "one header" in answer.json["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings"])
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
        b'{"model":"gpt-4","messages":' + b"[" * 100_000,
        b"\xff",
        b"",
        b"null",
    ],
    ids=["lists", "objects", "messages", "no text", "nothing", "null"],
)
async def test_bodies_that_nobody_can_mean_are_bad_requests(client: Client, path: str, body: bytes) -> None:
    assert (await client.post(body, BEARER, path=path)).status == 400


async def test_at_no_depth_is_a_nested_body_more_than_a_bad_request() -> None:
    caching = Caching(MemoryAnswers(max_bytes=1 << 20), clock=lambda: 0)
    client = Client(ScriptedModels(ANSWER), caching=caching)
    statuses = []
    for depth in range(900, 1010, 3):
        nested = b"[" * depth + b"]" * depth
        body = b'{"model":"gpt-4","messages":[{"role":"user","content":"x"}],"metadata":%b}' % nested
        statuses.append((await client.post(body)).status)
    assert statuses == sorted(statuses)
    assert {*statuses} == {200, 400}
    await client.close()


async def test_an_oversized_body_is_noted(client: Client) -> None:
    assert (await client.post(b" " * (MAX_BODY_BYTES + 1), BEARER)).status == 413
    assert client.audit.entries == [("oversized_body", {"key_id": "k1", "address": ""})]


async def test_a_burst_of_bad_json_is_noted_once(client: Client) -> None:
    for _ in range(60):
        await client.post(b"{", BEARER)
    assert client.audit.entries == [("bad_json_burst", {"key_id": "k1", "address": ""})]


async def test_a_flood_of_events_of_one_kind_is_cut_short_in_the_log(client: Client) -> None:
    for _ in range(60):
        await client.post(headers=BEARER, model="gpt-3.5-turbo")
    assert len(client.audit.entries) == 21
    assert client.audit.entries[-1][1]["more"] == "not listed in this minute"


async def test_decisions_on_calls_are_audited_where_that_is_wanted(audited: Client) -> None:
    said = {"messages": [{"role": "user", "content": PROMPT}]}
    await audited.post(headers=BEARER, **said)
    await audited.post(headers=BEARER, model="gpt-3.5-turbo", **said)
    await audited.post(headers={"authorization": "Bearer nonsense"}, **said)
    decisions = [fields for kind, fields in audited.audit.entries if kind == "call"]
    [event] = audited.publisher.events
    who = {"key_id": "k1", "team": "search", "api": "chat", "address": ""}
    assert decisions == [
        {"decision": "allowed", **who, "call": str(event.id), "model": "gpt-4"},
        {"decision": "refused", **who, "why": "key_scope"},
        {"decision": "refused", **who, "key_id": "", "team": "", "why": "invalid_api_key"},
    ]
    everything = json.dumps(audited.audit.entries)
    assert not any(hidden in everything for hidden in (PROMPT, KEY, "nonsense"))
