"""Limits on the hot route: what a call sets aside, what it is charged, and what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.simulated import Failure, Piece
from gateway.testing import ScriptedModels, Step
from gateway.usage import Usage
from spendstream.budgets import Budget, BudgetBook, Rolling
from spendstream.budgets.rates import RateLimit
from spendstream.limits.claims import Account
from tests.fixtures.calling import ANSWER, COST, INPUT, NOW, Client

DAY = 24 * 3600 * 10**6
OUTPUT_PRICE = 60 * 10**6
INPUT_PRICE = 30 * 10**6
BREACHES = "spendstream_gateway_limit_breaches_total"

Make = Callable[..., Client]


def budget(amount: int, **more: Any) -> Budget:
    fields = {
        "id": "all",
        "name": "All",
        "scope": {},
        "amount": amount,
        "period": Rolling(length=DAY),
        "enforce": "hard",
        "on_breach": "reject",
    }
    return Budget(**{**fields, **more})  # type: ignore[arg-type]


@pytest.fixture
async def client() -> AsyncIterator[Make]:
    clients: list[Client] = []

    def make(
        *budgets: Budget,
        script: Sequence[Step] = ANSWER,
        limits: Sequence[RateLimit] = (),
        models: Sequence[str] = ("gpt-4",),
    ) -> Client:
        one = Client(ScriptedModels(script, models=models))
        one.guard.use(BudgetBook(budgets), limits)
        clients.append(one)
        return one

    yield make
    for one in clients:
        await one.close()


async def used(one: Client) -> tuple[int, int]:
    """Return what of the one budget is spent, and what is set aside."""
    (name,) = [name for name in one.store._totals if name.startswith("budget:")]
    standing = await one.store.standing(Account(name, slot=DAY // 60), NOW)
    return standing.settled, standing.open


async def settled(one: Client) -> tuple[int, int]:
    await asyncio.sleep(0)
    return await used(one)


async def test_a_call_is_charged_what_it_cost_and_holds_nothing_after_it(client):
    one = client(budget(10**15))
    assert (await one.post(max_tokens=10)).status == 200
    assert await settled(one) == (COST, 0)


async def test_a_call_that_might_cost_more_than_is_left_is_refused_without_an_event(client):
    one = client(budget(9 * OUTPUT_PRICE))
    response = await one.post(max_tokens=10)
    assert response.status == 402
    assert response.json["error"]["code"] == "budget_exhausted"
    assert int(response.headers["retry-after"]) >= 1
    assert not one.publisher.records
    assert not one.models.calls
    assert one.metric(BREACHES, limit="all", kind="budget", mode="reject") == 1
    assert one.metric("ai_active_requests") == 0


async def test_tokens_are_counted_before_a_call_is_refused_for_its_length(client):
    one = client(budget(INPUT * INPUT_PRICE + 10 * OUTPUT_PRICE))
    assert (await one.post(max_tokens=10)).status == 200


async def test_a_picture_sets_aside_what_it_can_cost_however_short_its_address(client):
    one = client(budget(1000 * INPUT_PRICE))
    text, picture = (
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    )
    for content, status in (([text], 200), ([text, picture], 402)):
        response = await one.post(messages=[{"role": "user", "content": content}], max_tokens=10)
        assert response.status == status
    assert len(one.models.calls) == 1


async def test_a_conversation_that_the_provider_remembers_sets_aside_all_that_the_model_takes(client):
    one = client(budget(8000 * INPUT_PRICE))
    body = {"model": "gpt-4", "input": "And?", "max_output_tokens": 10}
    assert (await one.post(body, path="/v1/responses")).status == 200
    body["previous_response_id"] = "resp_1"
    assert (await one.post(body, path="/v1/responses")).status == 402


async def test_a_failed_call_gives_back_what_it_held(client):
    one = client(budget(10**15), script=[Failure(400, "bad", "no")])
    assert (await one.post()).status == 400
    assert await settled(one) == (0, 0)


async def test_a_call_that_nobody_can_price_is_not_held_up(client):
    one = client(budget(1), models=["brand-new"])
    assert (await one.post(model="brand-new")).status == 200


async def test_a_stream_whose_client_hangs_up_is_charged_what_came(client):
    one = client(budget(10**15), script=[*ANSWER[:2], asyncio.Event()])
    async with asyncio.timeout(10):
        await one.post(stream=True, hang_up_at=b"dollars")
    assert await settled(one) == (COST, 0)


async def test_a_breach_can_send_a_call_to_a_cheaper_model(client):
    cheap = budget(10**9, on_breach="downgrade", downgrade_to="brand-new")
    one = client(cheap, models=["gpt-4", "brand-new"])
    assert (await one.post(max_tokens=1000)).status == 200
    event = one.event
    assert (event.model, event.request_model) == ("brand-new", "gpt-4")
    assert event.route_reason == "budget all: downgraded"


async def test_too_many_requests_a_minute_are_told_when_to_come_again(client):
    one = client(limits=[RateLimit(id="slow", requests_per_minute=2)])
    statuses = [(await one.post()).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    response = await one.post()
    assert response.json["error"]["code"] == "request_rate_exceeded"
    assert response.headers["retry-after"] == "30"


async def test_a_shadow_limit_refuses_nothing_and_counts(client):
    one = client(limits=[RateLimit(id="slow", requests_per_minute=1, enforce="shadow")])
    assert [(await one.post()).status for _ in range(3)] == [200] * 3
    assert one.metric(BREACHES, limit="slow", kind="requests", mode="shadow") == 2


async def test_a_long_stream_sets_more_aside_as_it_grows(client):
    words = [Piece(text=" cost" * 200) for _ in range(100)]
    last = Piece(finish_reason="stop", usage=Usage(input_tokens=INPUT, output_tokens=20_000))
    one = client(budget(30_000 * OUTPUT_PRICE), script=[*words, last])
    response = await one.post(stream=True)
    assert response.complete
    assert await settled(one) == (INPUT * INPUT_PRICE + 20_000 * OUTPUT_PRICE, 0)


async def test_a_stream_that_outruns_the_budget_is_cut_and_pays_for_what_came(client):
    words = [Piece(text=" cost" * 200) for _ in range(200)]
    last = Piece(finish_reason="stop", usage=Usage(input_tokens=INPUT, output_tokens=40_000))
    amount = 12_000 * OUTPUT_PRICE
    one = client(budget(amount), script=[*words, last])
    response = await one.post(stream=True)
    assert response.sse[-1]["error"]["code"] == "budget_exhausted"
    event = one.event
    assert (event.status, event.usage_source) == (402, "interrupted")
    assert 4096 < event.output_tokens < 40_000
    spent, held = await settled(one)
    assert (spent, held) == (event.cost, 0)
    assert spent <= amount


async def test_calls_side_by_side_never_spend_more_than_there_is(client):
    answer = Piece(text="Three dollars", finish_reason="stop", usage=ANSWER[-1].usage)
    one = client(budget(5 * COST + 1000), script=[answer])
    await one.app()
    responses = await asyncio.gather(*(one.post(max_tokens=2) for _ in range(40)))
    answered = sum(response.status == 200 for response in responses)
    spent, held = await settled(one)
    assert spent == answered * COST <= 5 * COST + 1000
    assert held == 0
    assert answered >= 1


async def test_a_fault_before_the_call_is_told_in_the_api_s_shape_and_leaves_nothing_reserved(client):
    class Broken:
        def begin(self, *_: object) -> None:
            raise ZeroDivisionError

    one = client(budget(10**15))
    one._tracing = Broken()
    with capture_logs() as lines:
        response = await one.post()
    assert (response.status, response.json["error"]["type"]) == (500, "server_error")
    assert [line["event"] for line in lines] == ["request not admitted"]
    assert await settled(one) == (0, 0)
    assert one.metric("ai_active_requests") == 0
    assert not one.models.calls
