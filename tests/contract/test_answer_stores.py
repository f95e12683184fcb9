"""What every store of answers promises: in this process, and in Redis."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import hiredis
import pytest

from spendstream.adapters.redis_answers import RedisAnswers
from spendstream.caching.answers import Answer, AnswerStore, framed, unframed
from spendstream.caching.memory import MemoryAnswers
from spendstream.errors import TransientError

_SECOND = 10**6
_NOW = 1_700_000_000 * _SECOND


def _answer(**changes):
    fields = {
        "tenant": "acme",
        "digest": b"d" * 32,
        "provider": "openai",
        "model": "gpt-4",
        "body": b'{"choices": []}\n\xff',
        "finish_reason": "stop",
        "input_tokens": 12,
        "output_tokens": 3,
        "cache_read_tokens": 4,
        "reasoning_tokens": 2,
        "cost": 2**62,
        "created_at": _NOW,
    }
    return Answer(**(fields | changes))


class _Connection:
    """One command at a time to a real server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.sent: list[tuple[bytes | int | str, ...]] = []

    async def execute(self, *args: bytes | int | str) -> Any:
        self.sent.append(args)
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(hiredis.pack_command(args))
            replies = hiredis.Reader()
            while (reply := replies.gets()) is False:
                received = await reader.read(65_536)
                if not received:
                    raise ConnectionError("Redis hung up")
                replies.feed(received)
        except OSError as error:
            await self.close()
            raise TransientError(str(error)) from error
        if isinstance(reply, hiredis.ReplyError):
            raise TransientError(str(reply))
        return reply

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@pytest.fixture
def free_port() -> int:
    """A port at which nobody answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
async def redis(redis_server) -> AsyncIterator[_Connection]:
    connection = _Connection(redis_server.port)
    yield connection
    await connection.close()


@pytest.fixture
def in_redis(redis) -> Callable[[], RedisAnswers]:
    """Stores that share their answers, as those of several gateways do."""
    prefix = f"test:{secrets.token_hex(8)}"

    def store() -> RedisAnswers:
        def told(error: Exception) -> None:
            raise AssertionError from error

        return RedisAnswers(redis, prefix=prefix, on_error=told)

    return store


@pytest.fixture(params=["memory", "redis"])
def store(request) -> AnswerStore:
    if request.param == "memory":
        return MemoryAnswers(1 << 20)
    return request.getfixturevalue("in_redis")()


async def test_an_answer_is_found_as_it_was_kept(store):
    await store.keep(_answer(), 60 * _SECOND, _NOW)
    assert await store.find("acme", b"d" * 32, _NOW) == _answer()


async def test_an_answer_without_a_price_is_found_without_a_price(store):
    await store.keep(_answer(cost=None), 60 * _SECOND, _NOW)
    assert (await store.find("acme", b"d" * 32, _NOW)).cost is None


async def test_nothing_is_found_where_nothing_was_kept(store):
    assert await store.find("acme", b"d" * 32, _NOW) is None
    await store.keep(_answer(), 60 * _SECOND, _NOW)
    assert await store.find("acme", b"e" * 32, _NOW) is None


async def test_no_tenant_finds_anothers_answer(store):
    await store.keep(_answer(), 60 * _SECOND, _NOW)
    for stranger in ("", "acme ", "acm", "ACME", "acme:", "acme\ud800"):
        assert await store.find(stranger, b"d" * 32, _NOW) is None


async def test_a_newer_answer_takes_the_place_of_an_older_one(store):
    await store.keep(_answer(), 60 * _SECOND, _NOW)
    await store.keep(_answer(body=b"newer"), 60 * _SECOND, _NOW + 1)
    assert (await store.find("acme", b"d" * 32, _NOW + 1)).body == b"newer"


async def test_an_answer_is_not_kept_for_no_time(store):
    await store.keep(_answer(), 0, _NOW)
    assert await store.find("acme", b"d" * 32, _NOW) is None


async def test_a_purge_forgets_one_tenants_answers(store):
    await store.keep(_answer(), 60 * _SECOND, _NOW)
    await store.keep(_answer(tenant="umbrella"), 60 * _SECOND, _NOW)
    await store.purge("acme")
    assert await store.find("acme", b"d" * 32, _NOW) is None
    assert await store.find("umbrella", b"d" * 32, _NOW) is not None


async def test_a_purge_of_everything_forgets_all(store):
    await store.keep(_answer(), 60 * _SECOND, _NOW)
    await store.keep(_answer(tenant="umbrella"), 60 * _SECOND, _NOW)
    await store.purge(None)
    assert await store.find("acme", b"d" * 32, _NOW) is None
    assert await store.find("umbrella", b"d" * 32, _NOW) is None


async def test_after_a_purge_answers_are_kept_again(store):
    await store.keep(_answer(), 60 * _SECOND, _NOW)
    await store.purge("acme")
    await store.purge(None)
    await store.keep(_answer(body=b"again"), 60 * _SECOND, _NOW)
    assert (await store.find("acme", b"d" * 32, _NOW)).body == b"again"


async def test_a_purge_of_a_tenant_that_kept_nothing_is_no_error(store):
    await store.purge("nobody")


async def test_gateways_share_what_is_in_redis_and_its_purges(in_redis):
    here, there = in_redis(), in_redis()
    await here.keep(_answer(), 60 * _SECOND, _NOW)
    assert await there.find("acme", b"d" * 32, _NOW) == _answer()
    await there.purge("acme")
    assert await here.find("acme", b"d" * 32, _NOW) is None


async def test_redis_is_asked_one_command_to_find_an_answer(in_redis, redis):
    store = in_redis()
    await store.keep(_answer(), 60 * _SECOND, _NOW)
    redis.sent.clear()
    await store.find("acme", b"d" * 32, _NOW)
    assert len(redis.sent) == 1


async def test_redis_forgets_an_answer_when_its_time_is_over(in_redis, redis):
    await in_redis().keep(_answer(), 60 * _SECOND, _NOW)
    (key,) = [args[1] for args in redis.sent if args[0] == "SET" and "PX" in args]
    assert 0 < await redis.execute("PTTL", key) <= 60_000


async def test_an_answer_is_not_readable_again_after_redis_lost_what_was_purged(in_redis, redis):
    store = in_redis()
    await store.keep(_answer(), 60 * _SECOND, _NOW)
    generations = {args[1] for args in redis.sent if "NX" in args}
    await store.purge("acme")
    await redis.execute("DEL", *generations)
    assert await store.find("acme", b"d" * 32, _NOW) is None
    await store.keep(_answer(digest=b"e" * 32), 60 * _SECOND, _NOW)
    assert await store.find("acme", b"d" * 32, _NOW) is None


async def test_a_frame_that_is_not_ours_is_a_miss(in_redis, redis):
    store = in_redis()
    await store.keep(_answer(), 60 * _SECOND, _NOW)
    (key, value) = next(args[1:3] for args in redis.sent if args[0] == "SET" and "PX" in args)
    for foreign in (b"", b"x", value[:16] + b"\x02" + value[17:], value[:-1], value + b"\x00"):
        await redis.execute("SET", key, foreign)
        assert await store.find("acme", b"d" * 32, _NOW) is None


async def test_redis_away_is_a_miss_and_is_told(free_port):
    told = []
    store = RedisAnswers(_Connection(free_port), prefix="test", on_error=told.append)
    assert await store.find("acme", b"d" * 32, _NOW) is None
    await store.keep(_answer(), 60 * _SECOND, _NOW)
    assert len(told) == 2


async def test_a_purge_that_did_not_happen_is_an_error(free_port):
    store = RedisAnswers(_Connection(free_port), prefix="test", on_error=lambda _: None)
    with pytest.raises(TransientError):
        await store.purge("acme")


@pytest.mark.parametrize("damage", [b"", b"\x00", b"\x01", b"\x01\xc1", b"\x02" + framed(_answer())[1:]])
def test_an_unknown_frame_holds_no_answer(damage):
    assert unframed(damage) is None


def test_a_frame_holds_its_answer():
    assert unframed(framed(_answer())) == _answer()
