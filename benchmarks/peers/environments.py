"""Environments of their own for peers whose packages do not go with ours, made at first use.

Each is a folder under .cache/benchmarks: a virtual environment, from the pinned requirements file beside this
module, or Node's packages, from the lock file in the folder of that name.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path

from benchmarks.children import BenchmarkError

__all__ = ["ROOT", "node_package", "node_version", "python_of", "python_version"]

ROOT = Path(__file__).parents[2]
"""The checkout."""

_CACHE = ROOT / ".cache" / "benchmarks"
_UV = Path(sys.executable).with_name("uv")
_INSTALL_S = 600


def python_of(name: str) -> str:
    """Return the Python of environment `name`; raise BenchmarkError when it cannot be made.

    It is made anew when its requirements have changed.
    """
    requirements = Path(__file__).with_name(f"{name}.txt")
    folder = _CACHE / name
    python = str(folder / "bin" / "python")

    def make() -> None:
        _run(name, str(_UV), "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        _run(name, str(_UV), "pip", "install", "--quiet", "--python", python, "-r", str(requirements))

    _make(folder, requirements.read_bytes() + sys.version.encode(), make)
    return python


def python_version(name: str, package: str) -> str:
    """Return the version of a package in the Python environment `name`."""
    packages = [str(found) for found in (_CACHE / name / "lib").glob("python*/site-packages")]
    return next(found.version for found in distributions(name=package, path=packages))


def node_package(name: str, package: str) -> Path:
    """Return the folder of one of Node's packages in environment `name`.

    It is made anew when its lock file has changed. Raises BenchmarkError when it cannot be made.
    """
    wanted = Path(__file__).with_name(name)
    lock = (wanted / "package-lock.json").read_bytes()
    folder = _CACHE / name

    def make() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for file in ("package.json", "package-lock.json"):
            (folder / file).write_bytes((wanted / file).read_bytes())
        _run(name, "npm", "ci", "--silent", "--ignore-scripts", "--prefix", str(folder))

    _make(folder, lock, make)
    return folder / "node_modules" / package


def node_version(name: str, package: str) -> str:
    """Return the version of one of Node's packages in environment `name`."""
    described = (_CACHE / name / "node_modules" / package / "package.json").read_text()
    return str(json.loads(described)["version"])


def _make(folder: Path, source: bytes, make: Callable[[], None]) -> None:
    """Make an environment unless it was made from the same source."""
    made = folder / "made-from"
    digest = hashlib.sha256(source).hexdigest()
    if not made.is_file() or made.read_text() != digest:
        make()
        made.write_text(digest)


def _run(name: str, *command: str) -> None:
    try:
        ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_INSTALL_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchmarkError(f"the environment of {name} cannot be made: {error}") from error
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["no word"])[-1]
        raise BenchmarkError(f"the environment of {name} cannot be made: {last.strip()}")
