"""The ledger against the provider's own invoice: the same money for every model, to the picodollar."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import Any

import pytest
import uvloop
from msgspec.structs import replace

from gateway.simulated import Call, Piece, Profile, SimulatedModels, serving
from tests.fixtures.billing import Clients, ListedInvoice, Prices, Request, listing, metric, pico, price_file
from tests.fixtures.stack import Pipeline, running

CALLS, AT_ONCE = 10_000, 48
PRICES: Prices = {  # the second has parts of a picodollar, so that each call has to be rounded as it should
    "gpt-4": {"input": "30", "output": "60", "cache_read": "15", "cache_write": "30"},
    "gpt-3.5-turbo": {
        "input": "0.123456789012", "output": "0.5000005", "cache_read": "0.0312345", "cache_write": "0.125",
    },
    "o1": {"input": "15", "output": "60", "cache_read": "7.5", "cache_write": "15"},
    "claude-haiku": {
        "input": "0.25", "output": "1.25",
        "cache_read": "0.03", "cache_write": "0.30", "cache_write_1h": "0.50",
    },
    "text-embedding-3-small": {"input": "0.02", "output": "0", "cache_read": "0.02", "cache_write": "0.02"},
}  # fmt: skip


def profile(**more: Any) -> Profile:
    at_once = {"time_to_first_token": 0.0, "tokens_per_second": math.inf, "mean_output_tokens": 12}
    return Profile(**{**at_once, **more})


PROFILES = {
    "gpt-4": profile(tokens_per_second=2000.0, error_rate=0.02, break_rate=0.05),
    "gpt-3.5-turbo": profile(cached_input=0.3, error_rate=0.01),
    "o1": profile(mean_reasoning_tokens=40, cached_input=0.5, error_rate=0.01),
    # it says what the input has used when it begins, so that it may break off as well
    "claude-haiku": profile(time_to_first_token=0.005, cached_input=0.25, error_rate=0.01, break_rate=0.05),
}
"""OpenAI's streams tell of cached input and of reasoning at their end only: those that break have none."""


class CachingModels(SimulatedModels):
    """Models of which Claude writes a part of its input to its cache, and half of that for an hour."""

    async def answer(self, call: Call) -> AsyncGenerator[Piece, None]:
        """Yield an answer."""
        async with aclosing(super().answer(call)) as pieces:
            async for piece in pieces:
                used = piece.usage
                if used is None or call.model != "claude-haiku":
                    yield piece
                else:
                    kept = (used.input_tokens - used.cache_read_tokens) // 2
                    more = replace(used, cache_write_tokens=kept, cache_write_1h_tokens=kept // 2)
                    yield replace(piece, usage=more)


CALLED = [
    ("/v1/chat/completions", "gpt-4"),
    ("/v1/chat/completions", "gpt-3.5-turbo"),
    ("/v1/chat/completions", "o1"),
    ("/v1/completions", "gpt-4"),
    ("/v1/responses", "gpt-4"),
    ("/v1/responses", "o1"),
    ("/v1/messages", "claude-haiku"),
    ("/v1/embeddings", "text-embedding-3-small"),
]


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    with running(tmp_path, "worker") as fresh:
        yield fresh


def start_gateway(pipeline: Pipeline, provider: str, **settings: str) -> None:
    """Start a gateway before a provider at `provider`, its base URL."""
    prices, config = pipeline.directory / "prices.toml", pipeline.directory / "gateway.toml"
    prices.write_text(price_file(PRICES))
    openai = [model for model in PRICES if "claude" not in model]
    chosen = "\n".join(f'{name} = "{value}"' for name, value in settings.items())
    config.write_text(
        f"""
        price_file = "{prices}"
        {chosen}
        [[provider]]
        name = "openai"
        kind = "openai"
        base_url = "{provider}"
        models = {openai}
        [[provider]]
        name = "anthropic"
        kind = "anthropic"
        base_url = "{provider.removesuffix("/v1")}"
        models = ["claude-haiku"]
        """
    )
    pipeline.environment["SPENDSTREAM_CONFIG"] = str(config)
    pipeline.start("gateway")


def mixed(count: int) -> Iterator[Request]:
    """Yield calls of all APIs, whole and streamed; some are repeated, and some clients hang up."""
    rnd = Random(2)
    for number in range(count):
        again = rnd.random() < 0.05
        yield call(Random(rnd.randrange(number + 1) if again else number))


def call(rnd: Random) -> Request:
    path, model = rnd.choice(CALLED)
    stream = path != "/v1/embeddings" and rnd.random() < 0.6
    return Request(
        path=path,
        body=body(path, model, rnd, stream=stream),
        patience=0.004 if stream and rnd.random() < 0.02 else None,
        parts=rnd.randrange(1, 4) if stream and rnd.random() < 0.08 else None,
    )


def body(path: str, model: str, rnd: Random, *, stream: bool, limit: int = 0) -> dict[str, Any]:
    number = rnd.randrange(10**12)
    text = f"What did the team spend in month {number}? " * rnd.randrange(1, 4)
    limit = limit or rnd.choice([5, 20, 400])
    common: dict[str, Any] = {"model": model, **({"stream": True} if stream else {})}
    if path == "/v1/embeddings":
        return {**common, "input": [text, "again"], "user": str(number)}
    if path == "/v1/responses":
        return {**common, "input": text, "max_output_tokens": limit, "user": str(number)}
    if path == "/v1/messages":
        messages = [{"role": "user", "content": text}]
        return {**common, "messages": messages, "max_tokens": limit, "metadata": {"user_id": str(number)}}
    if stream and rnd.random() < 0.5:
        common["stream_options"] = {"include_usage": True}
    if path == "/v1/completions":
        return {**common, "prompt": text, "max_tokens": limit, "user": str(number)}
    return {
        **common,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": limit,
        "user": str(number),
    }


async def idle(pipeline: Pipeline) -> None:
    """Wait until the gateway has no call under way, none on its way to it, and owes Kafka nothing.

    A gateway that is stopped sooner leaves in its spool what Kafka has not taken within some seconds.
    """
    async with asyncio.timeout(60):
        before = (-1.0, -1.0, -1.0)
        while (now := await asyncio.to_thread(_activity, pipeline)) != before or any(now[:2]):
            before = now
            await asyncio.sleep(0.1)


def _activity(pipeline: Pipeline) -> tuple[float, float, float]:
    """Return how many calls are under way, how many events Kafka has not acknowledged, and all calls."""
    return (
        metric(pipeline.gateway, "ai_active_requests"),
        metric(pipeline.gateway, "spendstream_publisher_owed_frames"),
        metric(pipeline.gateway, "spendstream_gateway_received_total"),
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_ledger_has_the_cost_that_the_provider_charges(pipeline: Pipeline) -> None:
    clients = Clients(addresses=[pipeline.gateway], headers={"x-spendstream-org": "invoice"})
    provider, invoice = listing(CachingModels(PROFILES))

    async def call() -> int:
        async with serving(provider) as address:
            start_gateway(pipeline, address, deserted_streams="drain", cache="exact")
            await clients.send(mixed(CALLS), AT_ONCE)
            await idle(pipeline)
            refused = metric(pipeline.gateway, "spendstream_gateway_discarded_total")
            admitted = metric(pipeline.gateway, "spendstream_gateway_received_total") - refused
            assert await asyncio.to_thread(pipeline.stop, "gateway") == 0
            return int(admitted)

    admitted = uvloop.run(call())
    pipeline.wait_drained()
    assert clients.statuses[200] > CALLS * 0.8
    assert {abs(status) for status in clients.statuses} <= {0, 200, 429, 500, 503}
    assert pipeline.rows("SELECT count(), uniqExact(event_id), countIf(cost IS NULL) FROM token_usage") == [
        [admitted, admitted, 0]
    ]
    assert CALLS * 0.98 < admitted <= CALLS
    rows = pipeline.rows("SELECT model, sum(cost) FROM token_usage GROUP BY model")
    assert {model: pico(cost) for model, cost in rows} == invoice.priced(PRICES)
    check_that_there_was_some_of_each(pipeline)


def check_that_there_was_some_of_each(pipeline: Pipeline) -> None:
    """Fail if the calls were not as mixed as they have to be."""
    conditions = (
        "retries > 0",
        "status = 499",
        "error_type = 'server_error' AND output_tokens > 0",
        "usage_source = 'interrupted'",
        "reasoning_tokens > 0",
        "cache_read_tokens > 0",
        "cache_write_1h_tokens > 0",
        "cache_outcome = 'exact'",
        "operation = 'embeddings'",
        "operation = 'text_completion'",
    )
    counts = pipeline.rows(f"SELECT {', '.join(f'countIf({one})' for one in conditions)} FROM token_usage")
    assert all(count >= 20 for count in counts[0]), dict(zip(conditions, counts[0], strict=True))


@pytest.mark.slow
def test_an_aborted_stream_is_never_counted_higher_than_the_provider_charges(pipeline: Pipeline) -> None:
    slow = profile(tokens_per_second=200.0, mean_output_tokens=400, cached_input=0.0)
    early = profile(tokens_per_second=200.0, mean_output_tokens=400, cached_input=0.25)
    provider, invoice = listing(SimulatedModels({"gpt-4": slow, "claude-haiku": early}))
    rnd = Random(5)
    streams = [
        Request(path=path, body=body(path, model, rnd, stream=True, limit=400), parts=rnd.randrange(1, 20))
        for path, model in CALLED * 5
        if model in ("gpt-4", "claude-haiku")
    ]
    clients = Clients(addresses=[pipeline.gateway], headers={})

    async def call() -> None:
        async with serving(provider) as address:
            start_gateway(pipeline, address, deserted_streams="abort")
            for number, stream in enumerate(streams, 1):
                await clients.send([stream], 1)
                await idle(pipeline)
                await charged(invoice, number)
            assert await asyncio.to_thread(pipeline.stop, "gateway") == 0

    uvloop.run(call())
    pipeline.wait_drained()
    rows = pipeline.rows(
        "SELECT input_tokens, cache_read_tokens, output_tokens, status FROM token_usage ORDER BY event_time"
    )
    due = [(used.input_tokens, used.cache_read_tokens, used.output_tokens) for _, used in invoice.calls]
    assert [row[:2] for row in rows] == [list(one[:2]) for one in due]
    assert all(row[2] <= one[2] for row, one in zip(rows, due, strict=True))
    assert sum(row[3] == 499 for row in rows) > len(rows) / 2


async def charged(invoice: ListedInvoice, calls: int) -> None:
    """Wait until the provider has noticed that nobody reads on."""
    async with asyncio.timeout(30):
        while len(invoice.calls) < calls:  # noqa: ASYNC110  # the provider tells nobody
            await asyncio.sleep(0.001)
