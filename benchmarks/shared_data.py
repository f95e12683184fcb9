"""Where the recorded data sets are that benchmarks read, none of which is part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.children import BenchmarkError

__all__ = ["folder", "located"]

_BESIDE = Path(__file__).parents[2] / "shared" / "data"


def folder() -> Path:
    """Return PUBLIC_DATA, or the folder shared/data beside the repository."""
    return Path(os.environ.get("PUBLIC_DATA", _BESIDE))


def located(name: str) -> Path:
    """Return the path of a file in there. Raises BenchmarkError if it is not."""
    path = folder() / name
    if not path.is_file():
        raise BenchmarkError(f"no {path}: set PUBLIC_DATA to the folder that holds {name}")
    return path
