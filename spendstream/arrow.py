"""How a process uses pyarrow."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder

import pyarrow as pa

__all__ = ["without_pandas"]


class _Hides(MetaPathFinder):
    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ImportError("pandas is not needed here")


def without_pandas() -> None:
    """Let pyarrow find no pandas in this process.

    It looks for it with the first array that it makes. Importing it takes a second, which a worker that is
    started again after a crash does not have.
    """
    hides = _Hides()
    sys.meta_path.insert(0, hides)
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(hides)
