"""The hot route, in process: what a request gets, and the one event it leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from gateway.calls import MAX_BODY_BYTES
from gateway.meter import EVENT_ROOM
from gateway.simulated import Piece
from gateway.testing import ScriptedModels
from gateway.usage import Usage
from spendstream.routing import read_routes
from tests.fixtures.calling import ANSWER, BUSY, COST, INPUT, MESSAGES, NOW, Client, Response, clients


@pytest.fixture
async def client() -> AsyncIterator[Callable[..., Client]]:
    async with clients() as make:
        yield make


class TestPlain:
    async def test_the_reply_is_a_chat_completion_with_usage(self, client):
        one = client()
        response = await one.post()
        assert response.status == 200
        reply = response.json
        assert reply["object"] == "chat.completion"
        assert reply["choices"][0]["message"]["content"] == "Three dollars"
        assert reply["choices"][0]["finish_reason"] == "stop"
        assert reply["usage"]["prompt_tokens"] == INPUT
        assert reply["usage"]["total_tokens"] == INPUT + 2
        assert int(response.headers["x-spendstream-overhead-us"]) >= 0
        assert response.headers["x-spendstream-cost"] == f"{COST / 10**12:.12f}"

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("script", [ANSWER, [BUSY], [ANSWER[0], ValueError("bug")]])
    async def test_the_reply_names_its_event_whatever_became_of_the_call(self, client, script, stream):
        one = client(script)
        response = await one.post(stream=stream)
        assert response.headers["x-request-id"] == str(one.event.id)

    async def test_the_event_says_who_what_and_how_much(self, client):
        one = client()
        names = ("org", "team", "project", "environment", "service", "user")
        await one.post(headers={f"x-spendstream-{name}": f"a {name}" for name in names})
        event = one.event
        assert [getattr(event, name) for name in names] == [f"a {name}" for name in names]
        assert (event.source, event.event_time) == ("gateway/one", NOW)
        assert (event.provider, event.model, event.request_model) == ("scripted", "gpt-4", "gpt-4")
        assert (event.input_tokens, event.output_tokens) == (INPUT, 2)
        assert event.cost == event.list_cost == COST
        assert (event.status, event.usage_source, event.cache_outcome) == (200, "provider", "none")
        assert 0 <= event.time_to_first_token <= event.duration

    async def test_the_record_goes_to_the_topic_keyed_by_team_with_its_cloudevents_headers(self, client):
        one = client(events_per_record=1)
        await one.post(headers={"x-spendstream-team": "växel"})
        ((topic, key, _, headers),) = one.publisher.records
        assert (topic, key) == ("usage.tokens", "växel".encode())
        assert dict(headers)["ce_id"] == str(one.event.id).encode()

    async def test_the_event_is_journalled_before_the_reply_ends(self, client):
        for stream in (False, True):
            response = await client().post(stream=stream)
            assert response.complete
            assert response.events_before_end == 1

    async def test_a_client_that_hangs_up_does_not_change_what_the_answer_costs(self, client):
        one = client()
        await one.post(hang_up_after=0)
        assert one.event.cost == COST
        assert one.event.status == 200

    async def test_what_a_cache_keeps_for_an_hour_has_its_own_price(self, client):
        usage = Usage(input_tokens=100, output_tokens=2, cache_write_tokens=60, cache_write_1h_tokens=40)
        script = [Piece(text="Three", finish_reason="stop", usage=usage)]
        for stream in (False, True):
            one = client(script)
            await one.post(path="/v1/messages", max_tokens=9, stream=stream)
            assert (one.event.cache_write_tokens, one.event.cache_write_1h_tokens) == (60, 40)
            assert one.event.cost == 40 * 30 * 10**6 + 20 * 0 + 40 * 50 * 10**6 + 2 * 60 * 10**6

    async def test_the_user_in_the_body_counts_unless_a_header_names_one(self, client):
        one = client()
        await one.post(user="ada")
        await one.post(user="ada", headers={"x-spendstream-user": "grace"})
        assert [event.user for event in one.publisher.events] == ["ada", "grace"]

    async def test_the_newer_name_of_the_token_limit_wins(self, client):
        one = client()
        await one.post(max_tokens=5, max_completion_tokens=7, temperature=0.5)
        await one.post(max_tokens=5)
        assert [call.max_tokens for call in one.models.calls] == [7, 5]
        assert json.loads(one.models.calls[0].body)["temperature"] == 0.5
        assert json.loads(one.models.calls[0].body)["max_tokens"] == 5


class TestRoom:
    async def test_without_room_for_the_event_the_provider_is_not_called(self, client):
        one = client()
        one.publisher.free_bytes = EVENT_ROOM - 1
        response = await one.post()
        assert response.status == 503
        assert response.headers["retry-after"] == "1"
        assert not one.models.calls
        assert not one.publisher.records
        assert one.metric("spendstream_gateway_discarded_total", reason="no_room") == 1
        assert (await one.post(path="/ready", method="GET")).status == 503

    async def test_each_call_under_way_has_its_room_reserved(self, client):
        gate = asyncio.Event()
        one = client([gate, *ANSWER])
        one.publisher.free_bytes = 2 * EVENT_ROOM
        await one.app()
        first, second = (asyncio.create_task(one.post()) for _ in range(2))
        async with asyncio.timeout(10):
            await one.until(lambda: len(one.models.calls) == 2)
            assert one.metric("ai_active_requests") == 2
            assert (await one.post()).status == 503
            gate.set()
            assert [(await task).status for task in (first, second)] == [200, 200]
            assert (await one.post()).status == 200


class TestRefused:
    @pytest.mark.parametrize(
        ("body", "param", "words"),
        [
            (b"", None, "not valid JSON"),
            (b"{", None, "not valid JSON"),
            (b"\xff", None, "not valid JSON"),
            (b"[" * 100_000, None, "Expected `object`"),
            (b'{"model": "gpt-4", "x": ' + b"[" * 100_000, None, "not valid JSON"),
            (b"[]", None, "Expected `object`"),
            ({"messages": MESSAGES}, "model", "missing required field `model`"),
            ({"model": "gpt-4"}, "messages", "missing required field `messages`"),
            ({"model": 4, "messages": MESSAGES}, "model", "Expected `str`"),
            ({"model": "", "messages": MESSAGES}, "model", "length >= 1"),
            ({"model": "gpt-4", "messages": []}, "messages", "length >= 1"),
            ({"model": "gpt-4", "messages": [{}]}, "messages[0].role", "missing required field `role`"),
            (
                {"model": "gpt-4", "messages": [{"role": "user", "content": 1}]},
                "messages[0].content",
                "Expected",
            ),
            ({"model": "gpt-4", "messages": MESSAGES, "max_tokens": 0}, "max_tokens", ">= 1"),
            ({"model": "gpt-4", "messages": MESSAGES, "temperature": 3}, "temperature", "<= 2"),
            ({"model": "gpt-4", "messages": MESSAGES, "user": "x" * 513}, "user", "<= 512"),
        ],
    )
    async def test_a_malformed_body_names_the_field_at_fault_and_calls_nobody(
        self, client, body, param, words
    ):
        one = client()
        response = await one.post(body)
        assert response.status == 400
        error = response.json["error"]
        assert error["type"] == "invalid_request_error"
        assert error["param"] == param
        assert words in error["message"]
        assert not one.models.calls
        assert not one.publisher.records
        assert one.metric("spendstream_gateway_discarded_total", reason="invalid") == 1

    async def test_fields_that_are_null_are_as_good_as_left_out(self, client):
        optional = ("stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "user")
        response = await client().post(**dict.fromkeys(optional))
        assert response.status == 200

    async def test_fields_that_are_not_read_are_handed_on(self, client):
        one = client()
        assert (await one.post(tools=[{"type": "function"}], seed=7)).status == 200
        assert json.loads(one.models.calls[0].body)["seed"] == 7

    async def test_a_model_that_is_not_served_is_not_found(self, client):
        one = client()
        response = await one.post(model="gpt-99")
        assert response.status == 404
        assert response.json["error"]["code"] == "model_not_found"
        assert not one.publisher.records

    @pytest.mark.parametrize("announced", [True, False])
    async def test_an_oversized_body_is_refused_announced_or_not(self, client, announced):
        one = client()
        headers = {"content-length": str(MAX_BODY_BYTES + 1)} if announced else {}
        response = await one.post(b" " * (10 if announced else MAX_BODY_BYTES + 1), headers)
        assert response.status == 413
        assert response.json["error"]["code"] == "request_too_large"

    async def test_a_name_that_no_event_could_hold_is_refused(self, client):
        one = client()
        response = await one.post(headers={"x-spendstream-team": "x" * 513})
        assert response.status == 400
        assert response.json["error"]["param"] == "x-spendstream-team"

    @pytest.mark.parametrize(("path", "method", "status"), [("/v2", "GET", 404), ("/health", "POST", 405)])
    async def test_unknown_paths_and_methods_have_the_same_shape_of_error(self, client, path, method, status):
        response = await client().post(path=path, method=method)
        assert response.status == status
        assert response.json["error"]["type"] == "invalid_request_error"


class TestPlainRoutes:
    async def test_models_are_listed(self, client):
        response = await client().post(path="/v1/models", method="GET")
        (model,) = response.json["data"]
        assert (model["id"], model["object"], model["owned_by"]) == ("gpt-4", "model", "scripted")

    async def test_probes_answer(self, client):
        one = client()
        assert (await one.post(path="/health", method="GET")).status == 200
        assert (await one.post(path="/ready", method="GET")).status == 200

    async def test_metrics_have_the_published_names(self, client):
        one = client()
        await one.post()
        exposed = (await one.post(path="/metrics", method="GET")).body
        assert exposed == generate_latest(one.registry)
        for name in (
            "ai_input_tokens_sum",
            "ai_output_tokens_sum",
            "ai_estimated_cost_sum",
            'ai_tokens_total{model="gpt-4",type="input"}',
            'ai_tokens_total{model="gpt-4",type="output"} 2.0',
            'ai_cost_total{model="gpt-4"}',
            'ai_request_duration_seconds_count{model="gpt-4"} 1.0',
            "ai_cache_hits_total 0.0",
            "ai_cache_misses_total 0.0",
            "ai_active_requests 0.0",
            "spendstream_gateway_received_total 1.0",
            "spendstream_gateway_sent_total 1.0",
        ):
            assert f"\n{name}" in exposed.decode()


texts = st.sampled_from(["a", " cost", " 1,024", "\n", "é"])
steps = st.lists(st.builds(Piece, text=texts) | st.just(BUSY) | st.just(ValueError("bug")), max_size=6)


@given(
    script=steps,
    finishes=st.booleans(),
    stream=st.booleans(),
    hang_up_after=st.none() | st.integers(0, 6),
    broken=st.booleans(),
)
def test_whatever_happens_a_call_leaves_exactly_one_event_and_no_room_reserved(
    script, finishes, stream, hang_up_after, broken
):
    one = Client(ScriptedModels([*script, ANSWER[-1]] if finishes else script))
    one.publisher.broken = broken

    async def post() -> Response:
        async with asyncio.timeout(30):
            try:
                return await one.post(stream=stream, hang_up_after=hang_up_after)
            finally:
                await one.until(lambda: one.models.closed == len(one.models.calls))
                await one.close()

    with capture_logs():
        response = asyncio.run(post())
    lost = one.metric("spendstream_gateway_errors_total", stage="journal")
    assert len(one.publisher.records) + lost == 1
    assert one.metric("ai_active_requests") == 0
    if response.complete and not broken:
        assert response.events_before_end == 1
        event = one.event
        assert event.cost == event.input_tokens * 30 * 10**6 + event.output_tokens * 60 * 10**6


async def test_a_mix_goes_on_with_whose_turn_it_is_when_its_topic_is_read_again(client):
    candidates = [{"provider": name, "model": "gpt-4", "share": 1} for name in ("scripted", "other")]
    route = {"name": "shared-out", "strategy": "mix", "candidates": candidates}
    one = client(route=(route,), spares={"other": ScriptedModels(ANSWER)})
    for _ in range(4):
        await one.post(model="shared-out")
        one.parts.choosing.use(read_routes([route]))
    assert sorted(event.provider for event in one.publisher.events) == ["other"] * 2 + ["scripted"] * 2
