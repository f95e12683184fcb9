"""What is set through the admin API takes effect in every running gateway, over a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from starlette.types import ASGIApp

from gateway.administering import administering
from gateway.app import create_app
from gateway.parts import Parts, assemble
from gateway.testing import RecordingPublisher
from gateway.upstream.provider import Provider
from gateway.upstream.serving import Serving
from infra.local.broker import EmbeddedBroker
from spendstream.adapters.budget_feed import BudgetFeed
from spendstream.budgets import BudgetFile
from spendstream.clock import now_micros
from spendstream.config import Config, ProviderSettings, Secret
from spendstream.keys import ApiKey
from spendstream.money import parse_usd
from spendstream.pricing import LivePrices, PriceBook, simulation_book
from tests.fixtures.administration import DIGEST, FILE_KEY, HASHER, KEY, SECRET, Answer, ask

DEADLINE_S = 30
PROVIDER = ProviderSettings(name="openai", kind="openai", base_url="http://127.0.0.1:1", models=("gpt-4",))
CONFIG = Config(
    admin_key_sha256=DIGEST,
    key_secret=Secret(SECRET),
    api_keys=(ApiKey(id="of-the-file", hash=HASHER.hash(FILE_KEY), team="search"),),
)


class Gateway(NamedTuple):
    app: ASGIApp
    parts: Parts
    prices: LivePrices

    async def ask(self, method: str, path: str, body: Any = None, key: str = KEY) -> Answer:
        return await ask(self.app, method, path, body, key=key)

    async def status(self, key: str) -> int:
        return (await self.ask("GET", "/v1/models", key=key)).status


@asynccontextmanager
async def gateway(servers: str) -> AsyncIterator[Gateway]:
    prices = LivePrices(PriceBook(), simulation_book())
    async with AsyncExitStack() as stack:
        serving = Serving([Provider(PROVIDER)])
        stack.push_async_callback(serving.close)
        parts = assemble(CONFIG, serving, RecordingPublisher(), prices, now_micros, more_keys=True)
        budgets = BudgetFeed(servers, BudgetFile())
        stack.push_async_callback(budgets.close)
        administration = await stack.enter_async_context(
            administering(parts, servers, budgets=budgets, prices=prices)
        )
        yield Gateway(create_app(parts, administration), parts, prices)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


async def done(gateway: Gateway, method: str, path: str, body: Any) -> Answer:
    """Ask until the topic was read for the first time."""
    answer = Answer(503, {}, b"")

    async def answered() -> bool:
        nonlocal answer
        answer = await gateway.ask(method, path, body)
        return answer.status != 503

    await until(answered)
    assert answer.status < 300, answer
    return answer


async def test_what_one_gateway_is_told_holds_in_all_of_them_without_a_restart(tmp_path: Path) -> None:
    with EmbeddedBroker(log=tmp_path / "broker.log") as broker:
        async with gateway(broker.servers) as here, gateway(broker.servers) as there:
            made = await done(here, "POST", "/admin/keys", {"id": "k1", "team": "ads"})
            await done(here, "PUT", "/admin/teams/ads", {"features": ["mask_pii"]})
            price = {"model": "gpt-4", "input_per_million": "1.25", "output_per_million": "0"}
            await done(here, "PUT", "/admin/prices/cheap", {"prices": [price]})
            route = {"strategy": "cheapest", "candidates": [{"provider": "openai", "model": "gpt-4"}]}
            await done(here, "PUT", "/admin/routes/smart", route)
            secret = made.json["key"]
            assert await here.status(secret) == 200, "who writes reads it at once"

            async def known_there() -> bool:
                return (
                    await there.status(secret) == 200
                    and there.parts.teams.have("ads", "mask_pii")
                    and there.prices.rates("openai", "gpt-4", 0).input == parse_usd("1.25")
                    and "smart" in there.parts.choosing.names
                )

            await until(known_there)
            await done(there, "POST", "/admin/keys/k1/revoke", {})

            async def revoked_here() -> bool:
                return await here.status(secret) == 401

            await until(revoked_here)
            unserved = {**route, "candidates": [{"provider": "openai", "model": "gpt-9"}]}
            assert (await here.ask("PUT", "/admin/routes/smart", unserved)).status == 400
            assert await here.status(FILE_KEY) == 200


async def test_without_kafka_keys_of_the_file_open_and_others_are_told_to_come_back() -> None:
    async with gateway("127.0.0.1:1") as alone:
        assert await alone.status(FILE_KEY) == 200
        assert await alone.status(FILE_KEY.replace("of-the-file", "k1")) == 503
        assert (await alone.ask("GET", "/admin/keys")).status == 503
