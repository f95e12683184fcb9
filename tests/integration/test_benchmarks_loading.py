"""The load that gateways are measured with: it counts what it should, and no reply slips by that is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from benchmarks.children import (
    BenchmarkError,
    Child,
    cpu_seconds,
    resident_mib,
    tree_cpu_seconds,
    tree_resident_mib,
)
from benchmarks.loading import BODY_BYTES, Load, load, requests
from benchmarks.proxying import upstream

CHILD = "import sys; sum(range(10**7)); print('ready', flush=True); sys.stdin.read()"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {CHILD!r}], stdin=-1).wait()"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    with upstream(tmp_path_factory.mktemp("provider")) as found:
        yield found


def wanted(provider: Child, path: str = "/v1/chat/completions", **more: object) -> Load:
    settings = {
        "url": f"{provider.address}{path}",
        "headers": {},
        "model": "gpt-4o-mini",
        "stream": False,
        "chunks": 5,
        "connections": 4,
        "requests": 40,
        "seconds": 30.0,
        "first": 7,
        "same": False,
        "pids": {"provider": provider.pid},
    }
    return msgspec.convert({**settings, **more}, Load)


@pytest.mark.parametrize("stream", [False, True])
def test_all_requests_are_answered_and_counted(provider, stream):
    loaded = load(wanted(provider, stream=stream))
    assert loaded.requests == 40
    assert 0 < loaded.first_p50_us <= loaded.p50_us <= loaded.p99_us
    assert loaded.cpu_us["provider"] >= 0


def test_a_reply_without_the_usage_that_was_asked_for_ends_the_measuring(provider):
    with pytest.raises(BenchmarkError, match="status 200"):
        load(wanted(provider, "/v1/messages"))


def test_a_gateway_that_is_away_ends_the_measuring(provider):
    with pytest.raises(BenchmarkError):
        load(wanted(provider, url="http://127.0.0.1:1/v1/chat/completions"))


@pytest.mark.parametrize("same", [False, True])
def test_requests_have_900_bytes_and_differ_unless_they_are_to_be_the_same(provider, same):
    made = requests(wanted(provider, same=same))
    bodies = [next(made).partition(b"\r\n\r\n")[2] for _ in range(600)]
    assert {len(body) for body in bodies} == {BODY_BYTES}
    assert len(set(bodies)) == (1 if same else 600)
    assert msgspec.json.decode(bodies[0])["messages"][1]["content"].startswith("000000000007: ")


def test_what_a_process_started_counts_as_its_own(tmp_path):
    with Child("parent", ["-c", PARENT], ready="(ready)", folder=tmp_path, env={}) as parent:
        assert tree_resident_mib(parent.pid) > 1.5 * resident_mib(parent.pid)
        assert tree_cpu_seconds(parent.pid) > cpu_seconds(parent.pid)
