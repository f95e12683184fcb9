"""The scripts in infra/scripts: they lint clean, explain themselves, and delete only what is theirs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "infra" / "scripts"
OPTIMIZATION = SCRIPTS / "test-ai-optimization.sh"


def ran(*arguments: str, cwd: Path, data: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [OPTIMIZATION, *arguments],
        check=False,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "SIMULATION_DIR": str(data or cwd / "data")},
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck: apt-get install shellcheck")
def test_shellcheck_finds_nothing() -> None:
    found = subprocess.run(
        ["shellcheck", *SCRIPTS.glob("*.sh")], check=False, capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 0, found.stdout


def test_help_names_every_command_from_any_directory(tmp_path: Path) -> None:
    told = ran("--help", cwd=tmp_path)
    assert told.returncode == 0
    for command in ("all", "build", "phase1", "phase2", "monitoring", "cleanup"):
        assert f"\n  {command} " in told.stdout


@pytest.mark.parametrize("arguments", [(), ("phase3",)])
def test_what_is_no_command_is_a_usage_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert ran(*arguments, cwd=tmp_path).returncode == 2


def test_there_is_nothing_to_watch_before_a_phase_was_played(tmp_path: Path) -> None:
    told = ran("monitoring", cwd=tmp_path)
    assert told.returncode == 1
    assert "run phase1 first" in told.stderr


class TestCleanup:
    def test_what_a_simulation_left_is_removed_and_nothing_left_is_no_mistake(self, tmp_path: Path) -> None:
        data = tmp_path / "data"
        (data / "clickhouse").mkdir(parents=True)
        assert ran("cleanup", cwd=tmp_path, data=data).returncode == 0
        assert not data.exists()
        assert ran("cleanup", cwd=tmp_path, data=data).returncode == 0

    def test_what_is_not_a_simulations_is_left_alone(self, tmp_path: Path) -> None:
        precious = tmp_path / "home"
        precious.mkdir()
        (precious / "thesis.txt").write_text("all of it")
        told = ran("cleanup", cwd=tmp_path, data=precious)
        assert told.returncode == 1
        assert "remove it yourself" in told.stderr
        assert (precious / "thesis.txt").exists()

    def test_a_stack_that_runs_keeps_its_files(self, tmp_path: Path) -> None:
        data = tmp_path / "data"
        (data / "clickhouse").mkdir(parents=True)
        (data / "running.json").write_text("{}")
        assert ran("cleanup", cwd=tmp_path, data=data).returncode == 1
        assert data.exists()
