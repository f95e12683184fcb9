"""Environments of their own for peers whose packages do not go with ours, made at first use.

Each is a virtual environment under .cache/benchmarks, from the pinned requirements file beside this module.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.children import BenchmarkError

__all__ = ["ROOT", "python_of"]

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
    made = folder / "made-from"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    python = folder / "bin" / "python"
    if not made.is_file() or made.read_text() != digest:
        _uv(name, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        _uv(name, "pip", "install", "--quiet", "--python", str(python), "-r", str(requirements))
        made.write_text(digest)
    return str(python)


def _uv(name: str, *arguments: str) -> None:
    try:
        ran = subprocess.run(
            [_UV, *arguments], check=False, capture_output=True, text=True, timeout=_INSTALL_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchmarkError(f"the environment of {name} cannot be made: {error}") from error
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["no word"])[-1]
        raise BenchmarkError(f"the environment of {name} cannot be made: {last.strip()}")
