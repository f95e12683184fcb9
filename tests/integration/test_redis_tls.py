"""Redis over TLS: a real server with a certificate of an authority that only this test knows."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from structlog.testing import capture_logs

from spendstream.adapters.redis import Redis, RedisAddress
from spendstream.adapters.redis_reservations import RedisReservations
from spendstream.config import Secret
from spendstream.limits.claims import Account, Hold
from tests.fixtures.redis import RedisServer

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs openssl: apt-get install openssl"
)

SETTINGS = """
[req]
distinguished_name = names
[names]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1
authorityKeyIdentifier = keyid
"""


class Authority(NamedTuple):
    """An authority's certificate, and a server's for 127.0.0.1 with its key."""

    certificate: Path
    server: Path
    key: Path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("authority")
    settings, own, own_key = folder / "openssl.cnf", folder / "ca.pem", folder / "ca.key"
    made = Authority(own, folder / "redis.pem", folder / "redis.key")
    settings.write_text(SETTINGS)
    by_authority = ["-CA", str(own), "-CAkey", str(own_key)]
    for name, certificate, key, signed in (
        ("authority", own, own_key, []),
        ("server", made.server, made.key, by_authority),
    ):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
             "-config", str(settings), "-extensions", name, *signed, "-out", str(certificate),
             "-keyout", str(key)],
            check=True, capture_output=True,
        )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def url(
    redis_server: RedisServer, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Where a server speaks TLS. It speaks without at another port, which the fixture needs."""
    plain, port = _free_ports()
    server = RedisServer(
        binary=redis_server.binary,
        directory=tmp_path_factory.mktemp("redis-tls"),
        port=plain,
        arguments=(
            *("--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file"),
            *(str(authority.certificate), "--tls-cert-file", str(authority.server)),
            *("--tls-key-file", str(authority.key)),
        ),
    )
    server.start()
    yield f"rediss://127.0.0.1:{port}/0"
    server.stop()


@pytest.fixture
def trusting(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))


@pytest.mark.usefixtures("trusting")
async def test_a_server_of_a_trusted_authority_is_spoken_to(url: str) -> None:
    redis = Redis(RedisAddress.of(Secret(url)), timeout=10)
    await redis.start()
    assert await redis.execute("SET", "k", b"\x00" * 100_000) == b"OK"
    assert await redis.execute("STRLEN", "k") == 100_000
    await redis.close()


@pytest.mark.usefixtures("trusting")
async def test_money_is_reserved_over_tls(url: str) -> None:
    redis = Redis(RedisAddress.of(Secret(url)), timeout=10)
    await redis.start()
    store = RedisReservations(redis, ttl=60_000_000, memory=60_000_000)
    hold = Hold(Account("budget:month:1"), 60, 100)
    answers = [await store.reserve(request, [hold], [], 1) for request in ("one", "two")]
    assert [answer.granted for answer in answers] == [True, False]
    await redis.close()


async def test_a_server_that_cannot_prove_who_it_is_is_away_and_hears_no_password(url: str) -> None:
    redis = Redis(RedisAddress.of(Secret(url.replace("//", "//:pw7@"))), timeout=10)
    with capture_logs() as lines:
        await redis.start()
    assert not redis.is_up
    [line] = lines
    assert "certificate verify failed" in line["why"]
    assert "pw7" not in str(line)
    await redis.close()


@pytest.mark.usefixtures("trusting")
async def test_a_certificate_is_for_the_address_that_it_names_only(url: str) -> None:
    redis = Redis(RedisAddress.of(Secret(url.replace("127.0.0.1", "localhost"))), timeout=10)
    with capture_logs() as lines:
        await redis.start()
    assert not redis.is_up
    assert "localhost" in lines[0]["why"]
    await redis.close()


@pytest.mark.usefixtures("trusting")
async def test_tls_to_a_server_without_it_fails(redis_server: RedisServer) -> None:
    redis = Redis(RedisAddress.of(Secret(redis_server.url.replace("redis:", "rediss:"))), timeout=10)
    await redis.start()
    assert not redis.is_up
    await redis.close()


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
