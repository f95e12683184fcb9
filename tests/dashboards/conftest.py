"""The console on two days of spend, in a headless Chromium."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.local.broker import die_with_parent
from sinks.clickhouse.migrations import migrate
from spendstream.clock import now_micros
from spendstream.config import Config, Secret
from tests.fixtures import spending
from tests.fixtures.clickhouse import read_line, running_endpoint

_READY_S = 60
_CHROMIUM = os.environ.get("TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")


@contextmanager
def running_console(clickhouse: str) -> Iterator[str]:
    """Run `spendstream api` on a ClickHouse; give its address."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("SPENDSTREAM_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "spendstream", "api", "--port", "0"],
        env={**inherited, "SPENDSTREAM_CLICKHOUSE": clickhouse},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call
    )
    assert process.stdout is not None
    try:
        line = read_line(process.stdout, time.monotonic() + _READY_S)
        assert line.startswith("console ready on "), "the console did not start"
        yield line.split()[-1]
    finally:
        process.terminate()
        assert process.wait(20) == 0
        process.stdout.close()


@pytest.fixture(scope="session")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a console with something to show."""
    with running_endpoint(tmp_path_factory.mktemp("console")) as endpoint:
        url = Secret(endpoint.url)
        asyncio.run(migrate(url, Config()))
        asyncio.run(spending.spend(url, now_micros() // 10**6))
        with running_console(endpoint.url) as address:
            yield address


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; Playwright's own needs a host that not every machine may reach."""
    if _CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium, or set TEST_CHROMIUM to its path")
    return _CHROMIUM


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: TEST_SCREENSHOTS, or a folder of the test's."""
    folder = Path(os.environ.get("TEST_SCREENSHOTS") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
