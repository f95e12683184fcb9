"""The HTTP client of the way to a provider, against a server that says exactly what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from gateway.upstream.client import Address, BrokenOff, Client, TooSlow

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nthree"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
Act = bytes | float | None
"""What to send, how long to wait, or to end the connection."""


class Server:
    """Plays one script for each request, the last one again and again; counts connections and requests."""

    def __init__(self) -> None:
        self.scripts: list[Sequence[Act]] = [[WHOLE]]
        self.connections = 0
        self.requests: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                for act in script:
                    if act is None:
                        return
                    if isinstance(act, float):
                        await asyncio.sleep(act)
                    else:
                        writer.write(act)
                        await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    played = Server()
    serving = await asyncio.start_server(played.serve, "127.0.0.1", 0)
    played.port = serving.sockets[0].getsockname()[1]
    yield played
    serving.close()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(timeout: float = 10) -> Client:
        made.append(Client(Address.of(f"http://127.0.0.1:{server.port}/v1"), timeout=timeout))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def ask(client: Client, body: bytes = b"{}") -> bytes:
    answer = await client.post(client.head("/chat", {"x-one": "1"}), body)
    return await answer.read_all()


async def test_a_request_has_the_path_the_headers_and_the_body(client, server):
    assert await ask(client(), b'{"a":1}') == b"three"
    (request,) = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nx-one: 1\r\n" % server.port)
    assert body == b'{"a":1}'


async def test_a_connection_is_kept_for_the_next_request(client, server):
    one = client()
    assert [await ask(one) for _ in range(3)] == [b"three"] * 3
    assert server.connections == 1


async def test_requests_side_by_side_have_a_connection_each(client, server):
    one = client()
    server.scripts = [[0.05, WHOLE]]
    assert await asyncio.gather(*(ask(one) for _ in range(5))) == [b"three"] * 5
    assert server.connections == 5


async def test_an_answer_comes_part_by_part(client, server):
    server.scripts = [[CHUNKED, b"3\r\none\r\n", 0.05, b"3\r\ntwo\r\n", 0.05, b"0\r\n\r\n"]]
    one = client()
    answer = await one.post(one.head("/chat", {}), b"{}")
    assert (answer.status, answer.headers[b"transfer-encoding"]) == (200, b"chunked")
    assert [await answer.read(), await answer.read(), await answer.read()] == [b"one", b"two", b""]


async def test_a_kept_connection_that_the_server_closed_meanwhile_is_replaced(client, server):
    one = client()
    server.scripts = [[WHOLE, None], [WHOLE]]
    assert await ask(one) == b"three"
    assert await ask(one) == b"three"
    assert server.connections == 2


async def test_a_kept_connection_that_ends_as_the_request_comes_is_replaced(client, server):
    one = client()
    server.scripts = [[WHOLE], [None], [WHOLE]]
    assert await ask(one) == b"three"
    assert await ask(one) == b"three"
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "script",
    [[None], [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nthree", None], [CHUNKED, b"3\r\none\r\n", None]],
)
async def test_an_answer_that_ends_before_its_end_is_broken_off(client, server, script):
    server.scripts = [script]
    with pytest.raises(BrokenOff, match="the connection ended"):
        await ask(client())


async def test_what_is_no_http_is_broken_off(client, server):
    server.scripts = [[b"SSH-2.0-OpenSSH_9.2\r\n"]]
    with pytest.raises(BrokenOff, match="no HTTP answer"):
        await ask(client())


async def test_a_body_without_a_length_ends_with_its_connection(client, server):
    server.scripts = [[b"HTTP/1.1 200 OK\r\n\r\nthree", None]]
    assert await ask(client()) == b"three"


async def test_a_server_that_wants_no_other_request_gets_none(client, server):
    server.scripts = [[b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nthree"]]
    one = client()
    assert [await ask(one), await ask(one)] == [b"three", b"three"]
    assert server.connections == 2


@pytest.mark.parametrize("script", [[3600.0], [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nthree", 3600.0]])
async def test_silence_that_lasts_too_long_is_an_error(client, server, script):
    server.scripts = [script]
    with pytest.raises(TooSlow, match=r"nothing came for 0\.1 s"):
        await ask(client(timeout=0.1))


async def test_nobody_there_is_an_error_that_names_the_server():
    one = Client(Address.of("http://127.0.0.1:1/v1"), timeout=1)
    with pytest.raises(BrokenOff, match=r"cannot connect to 127\.0\.0\.1:1"):
        await ask(one)


async def test_a_reader_that_is_slow_keeps_the_server_waiting_and_loses_nothing(client, server):
    parts = [b"%x\r\n%b\r\n" % (1 << 16, b"x" * (1 << 16)) for _ in range(64)]
    server.scripts = [[CHUNKED, *parts, b"0\r\n\r\n"]]
    one = client()
    answer = await one.post(one.head("/chat", {}), b"{}")
    size = 0
    while data := await answer.read():
        assert len(data) <= 1 << 20
        size += len(data)
        await asyncio.sleep(0.005)
    assert size == 64 << 16


async def test_closing_an_answer_before_its_end_ends_the_connection(client, server):
    server.scripts = [[CHUNKED, b"3\r\none\r\n", 3600.0], [WHOLE]]
    one = client()
    answer = await one.post(one.head("/chat", {}), b"{}")
    assert await answer.read() == b"one"
    answer.close()
    assert await ask(one) == b"three"
    assert server.connections == 2


@pytest.mark.parametrize("url", ["ftp://host/v1", "host/v1", "http://", ""])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ValueError, match="expected an address like"):
        Address.of(url)


def test_addresses_know_their_defaults():
    assert Address.of("https://api.openai.com/v1/").authority == "api.openai.com"
    assert Address.of("https://api.openai.com/v1/").prefix == "/v1"
    assert Address.of("http://[::1]:8080").authority == "[::1]:8080"


def test_a_header_cannot_bring_another_with_it():
    one = Client(Address.of("http://127.0.0.1:1"), timeout=1)
    with pytest.raises(ValueError, match="line break"):
        one.head("/chat", {"x": "a\r\nhost: elsewhere"})
