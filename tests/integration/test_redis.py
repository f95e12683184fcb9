"""The Redis client against a real server: order, errors, and what happens when the server goes."""

import asyncio
import contextlib
import socket
import time

import pytest

from spendstream.adapters.redis import Redis, RedisAddress, Script
from spendstream.config import Secret
from spendstream.errors import ConfigError, RedisRefused, RedisUnavailable
from tests.fixtures.redis import RedisServer

PATIENCE_S = 20


@pytest.fixture
async def redis(redis_server):
    redis = Redis(RedisAddress.of(Secret(redis_server.url)), timeout=10)
    await redis.start()
    await redis.execute("FLUSHALL")
    yield redis
    await redis.close()


@pytest.fixture
def own_server(redis_server, tmp_path):
    """A server that a test may stop."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = RedisServer(binary=redis_server.binary, directory=tmp_path, port=port)
    server.start()
    yield server
    server.stop()


async def until(condition):
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # the server tells nobody
            await asyncio.sleep(0.01)


async def test_many_callers_get_each_its_own_answer(redis):
    async def ask(number):
        await redis.execute("SET", f"k{number}", number)
        return int(await redis.execute("GET", f"k{number}"))

    assert await asyncio.gather(*map(ask, range(500))) == list(range(500))


async def test_answers_are_bytes_numbers_lists_and_none(redis):
    assert await redis.execute("SET", "k", b"\x00\xff") == b"OK"
    assert await redis.execute("GET", "k") == b"\x00\xff"
    assert await redis.execute("GET", "none") is None
    assert await redis.execute("INCRBY", "n", 2**62) == 2**62
    assert await redis.execute("MGET", "n", "none") == [str(2**62).encode(), None]


async def test_a_refused_command_fails_alone(redis):
    good, bad, after = redis.execute("SET", "k", "v"), redis.execute("INCR", "k"), redis.execute("GET", "k")
    assert await good == b"OK"
    with pytest.raises(RedisRefused, match="not an integer"):
        await bad
    assert await after == b"v"


async def test_a_cancelled_caller_leaves_the_answers_of_others_alone(redis):
    first = redis.execute("SET", "k", "v")
    first.cancel()
    assert await redis.execute("GET", "k") == b"v"


async def test_a_script_is_sent_whole_where_it_is_not_known(redis):
    script = Script("return {KEYS[1], ARGV[1]}")
    await redis.execute("SCRIPT", "FLUSH")
    for _ in range(2):
        assert await script.run(redis, 1, "k", 5) == [b"k", b"5"]
    with pytest.raises(RedisRefused, match="wrong"):
        await Script("return redis.error_reply('wrong')").run(redis, 0)


async def test_a_database_of_the_url_is_selected(redis, redis_server):
    other = Redis(RedisAddress.of(Secret(redis_server.url.replace("/0", "/3"))), timeout=10)
    await other.start()
    await other.execute("SET", "k", "third")
    assert await redis.execute("GET", "k") is None
    await other.close()


async def test_a_password_is_asked_for_and_never_shown(own_server):
    admin = Redis(RedisAddress.of(Secret(own_server.url)), timeout=10)
    await admin.start()
    await admin.execute("CONFIG", "SET", "requirepass", "s3cr/t")
    await admin.close()
    url = own_server.url.replace("redis://", "redis://:s3cr%2Ft@")
    redis = Redis(RedisAddress.of(Secret(url)), timeout=10)
    await redis.start()
    assert await redis.execute("PING") == b"PONG"
    await redis.close()
    wrong = Redis(RedisAddress.of(Secret(url.replace("s3", "S3"))), timeout=10)
    with pytest.raises(RedisRefused, match="WRONGPASS") as refused:
        await wrong.start()
    assert "cr/t" not in str(refused.value).lower()
    assert "s3cr" not in repr(RedisAddress.of(Secret(url)))


@pytest.mark.parametrize(
    "url", ["http://:pw7@host", "redis://", "redis://:pw7@host/name", "rediss://:pw7@host:port"]
)
def test_an_address_that_is_none_is_told_without_repeating_its_password(url):
    with pytest.raises(ConfigError, match=r"^redis: expected redis") as refused:
        RedisAddress.of(Secret(url))
    assert "pw7" not in str(refused.value)


async def test_while_the_server_is_away_commands_fail_at_once_and_then_work_again(own_server):
    redis = Redis(RedisAddress.of(Secret(own_server.url)), timeout=10)
    await redis.start()
    blocked = redis.execute("BLPOP", "never", 0)
    own_server.stop()
    with pytest.raises(RedisUnavailable):
        await blocked
    await until(lambda: not redis.is_up)
    with pytest.raises(RedisUnavailable, match="no connection"):
        await redis.execute("PING")
    own_server.start()
    await until(lambda: redis.is_up)
    assert await redis.execute("PING") == b"PONG"
    await redis.close()


async def test_a_server_that_is_not_there_at_the_start_is_found_later(own_server):
    own_server.stop()
    redis = Redis(RedisAddress.of(Secret(own_server.url)), timeout=10)
    await redis.start()
    assert not redis.is_up
    own_server.start()
    await until(lambda: redis.is_up)
    await redis.close()


async def test_a_server_that_does_not_answer_in_time_is_given_up(redis_server):
    redis = Redis(RedisAddress.of(Secret(redis_server.url)), timeout=0.1)
    await redis.start()
    slow, behind = redis.execute("BLPOP", "never", 0), redis.execute("PING")
    for late in (slow, behind):
        with pytest.raises(RedisUnavailable, match=r"no answer within 0\.1 s"):
            await late
    await until(lambda: redis.is_up)
    assert await redis.execute("PING") == b"PONG"
    await redis.close()


async def test_a_server_of_another_kind_is_not_taken_for_redis():
    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError):
            await reader.read(100)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    redis = Redis(RedisAddress(host="127.0.0.1", port=port), timeout=1)
    await redis.start()
    assert not redis.is_up
    await redis.close()
    server.close()


async def test_closing_fails_what_waits(redis_server):
    redis = Redis(RedisAddress.of(Secret(redis_server.url)), timeout=10)
    await redis.start()
    blocked = redis.execute("BLPOP", "never", 0)
    await asyncio.sleep(0)
    await redis.close()
    with pytest.raises(RedisUnavailable, match="closed"):
        await blocked


async def test_an_answer_that_came_while_we_were_busy_is_not_late(redis_server):
    redis = Redis(RedisAddress.of(Secret(redis_server.url)), timeout=0.1)
    await redis.start()
    answer = redis.execute("PING")
    await asyncio.sleep(0)  # it is sent
    await asyncio.sleep(0)
    time.sleep(0.5)  # noqa: ASYNC251 - the loop does not run, which is the point
    assert await answer == b"PONG"
    assert redis.is_up
    await redis.close()
