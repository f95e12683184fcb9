"""What fails, of the provider, the account, the gateway or its journal: who is told, and what it costs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs

from gateway.simulated import Failure, Piece
from gateway.testing import ScriptedModels
from gateway.upstream.provider import Provider
from spendstream.codec import TOKENS
from tests.fixtures.calling import ANSWER, BUSY, COST, INPUT, NOW, Client, clients


@pytest.fixture
async def client() -> AsyncIterator[Callable[..., Client]]:
    async with clients() as make:
        yield make


class TestFailure:
    @pytest.mark.parametrize("stream", [False, True])
    async def test_of_the_provider_before_it_answers_has_its_status_and_costs_nothing(self, client, stream):
        one = client([BUSY])
        response = await one.post(stream=stream)
        assert response.status == 429
        assert response.headers["retry-after"] == "2"
        assert response.json["error"]["type"] == "rate_limit_error"
        assert response.json["error"]["code"] == "rate_limit_exceeded"
        event = one.event
        assert (event.status, event.error_type) == (429, "rate_limit_exceeded")
        assert (event.input_tokens, event.output_tokens, event.cost, event.list_cost) == (0, 0, 0, 0)
        assert one.metric("spendstream_gateway_errors_total", stage="provider") == 1

    async def test_of_the_provider_in_mid_stream_ends_it_with_an_error_and_costs_what_came(self, client):
        one = client([ANSWER[0], Failure(529, "overloaded", "no capacity")])
        response = await one.post(stream=True)
        assert response.status == 200
        assert response.complete
        assert response.sse[-1]["error"]["code"] == "overloaded"
        event = one.event
        assert (event.status, event.error_type) == (502, "overloaded")
        assert (event.usage_source, event.input_tokens, event.output_tokens) == ("interrupted", INPUT, 1)

    @pytest.mark.parametrize("status", [400, 404, 422, 529])
    async def test_of_the_request_is_told_in_the_provider_s_own_words(self, client, status):
        one = client([Failure(status, "context_length_exceeded", "too long")])
        response = await one.post()
        assert response.status == one.event.status == status
        assert response.json["error"]["message"] == "too long"

    @pytest.mark.parametrize("status", [401, 402, 403])
    async def test_of_our_own_account_is_not_the_caller_s_fault(self, client, status):
        one = client([Failure(status, "invalid_api_key", "sk-ours is not known")])
        response = await one.post()
        assert (response.status, one.event.status) == (502, status)
        assert b"sk-ours" not in response.body

    @pytest.mark.parametrize("stream", [False, True])
    async def test_of_our_own_account_is_told_to_the_operator_and_another_provider_answers(
        self, client, stream
    ):
        one = client(
            [Failure(401, "invalid_api_key", "sk-ours is not known")],
            spares={"other": ScriptedModels(ANSWER)},
        )
        with capture_logs() as lines:
            response = await one.post(stream=stream)
        assert (response.status, one.event.provider, one.event.retries) == (200, "other", 1)
        told = {"provider": "scripted", "model": "gpt-4", "status": 401, "error_type": "invalid_api_key"}
        assert [line | told == line for line in lines] == [True]
        assert "sk-ours" not in str(lines)
        refusals = "spendstream_gateway_account_refusals_total"
        assert one.metric(refusals, provider="scripted", status="401") == 1

    @pytest.mark.parametrize("bug", [ValueError("a bug"), TimeoutError()])
    @pytest.mark.parametrize("stream", [False, True])
    async def test_of_the_gateway_itself_still_leaves_one_event(self, client, monkeypatch, bug, stream):
        async def send(*_: object) -> None:
            raise bug

        monkeypatch.setattr(Provider, "send", send)
        one = client()
        with capture_logs() as lines:
            response = await one.post(stream=stream)
        assert [line["event"] for line in lines] == ["request failed"]
        assert response.status == 500
        assert "a bug" not in response.body.decode()
        assert (one.event.status, one.event.error_type, one.event.cost) == (500, "internal_error", 0)

    @pytest.mark.parametrize("stream", [False, True])
    async def test_of_the_provider_s_server_is_a_bad_gateway(self, client, stream):
        one = client([ANSWER[0], ConnectionResetError()])
        response = await one.post(stream=stream)
        event = one.event
        if stream:
            assert response.sse[-1]["error"]["code"] == "provider_broke_off"
            assert (event.status, event.output_tokens) == (502, 1)
        else:
            assert (response.status, event.status, event.output_tokens) == (500, 500, 0)

    async def test_of_the_journal_turns_the_reply_into_an_error_and_the_event_into_a_log_line(self, client):
        one = client()
        one.publisher.broken = True
        with capture_logs() as lines:
            response = await one.post()
        assert response.status == 503
        assert response.headers["retry-after"] == "3"
        assert "Three" not in response.body.decode()
        assert one.metric("spendstream_gateway_errors_total", stage="journal") == 1
        (line,) = lines
        assert TOKENS.decode(line["record"].encode()).cost == COST

    async def test_of_the_journal_in_a_stream_withholds_its_end(self, client):
        one = client()
        one.publisher.broken = True
        with capture_logs():
            response = await one.post(stream=True)
        assert response.sse[-1]["error"]["code"] == "service_unavailable"

    async def test_a_provider_that_does_not_say_what_it_used_is_estimated(self, client):
        one = client([Piece(text="Three dollars", finish_reason="stop")])
        response = await one.post()
        assert one.event.usage_source == "estimated"
        assert (one.event.input_tokens, one.event.output_tokens) == (INPUT, 2)
        assert "usage" not in response.json

    async def test_a_model_without_a_price_costs_null_and_is_counted(self, client):
        one = client(models=["brand-new"])
        response = await one.post(model="brand-new")
        assert response.status == 200
        assert "x-spendstream-cost" not in response.headers
        assert one.event.cost is None
        assert one.event.list_cost is None
        assert one.metric("spendstream_gateway_unpriced_total", model="brand-new") == 1
        assert one.metric("ai_cost_total", model="brand-new") == 0


async def test_a_journal_that_fails_is_not_held_against_the_provider(client):
    candidate = {"provider": "scripted", "model": "gpt-4"}
    one = client(route=({"name": "smart", "strategy": "fastest", "candidates": [candidate]},))
    one.publisher.broken = True
    with capture_logs():
        await one.post(model="smart")
    statistics, target = one.parts.choosing._router.statistics, ("scripted", "gpt-4")
    assert statistics.standing(target, NOW).error_rate == 0
    one.models.script = [ANSWER[0], Failure(500, "server_error", "it broke")]
    with capture_logs():
        await one.post(model="smart", stream=True)
    assert statistics.standing(target, NOW).error_rate > 0
