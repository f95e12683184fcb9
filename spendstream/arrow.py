"""How a process uses pyarrow, and how values come out of it."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any

import numpy as np
import pyarrow as pa

__all__ = ["products", "values", "without_pandas"]

_WHOLE = pa.decimal128(38, 0)
_HALF = 32  # bits


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


def values(column: pa.ChunkedArray) -> list[Any]:
    """Return the values in Python; `to_pylist` does it by way of an object for each, and is slow.

    A decimal comes as the whole number that it is without its point.
    """
    array = column.combine_chunks()
    if not pa.types.is_decimal(array.type):
        plain: list[Any] = array.to_numpy(zero_copy_only=False).tolist()
        return plain
    # A decimal is two words in memory, of which the higher one has the sign, and is mostly 0.
    words = np.frombuffer(array.buffers()[1], np.uint64)[2 * array.offset : 2 * (array.offset + len(array))]
    low: list[Any] = words[0::2].tolist()
    high = words[1::2].view(np.int64)
    if not high.any():
        return low
    return [lower + (upper << 64) for lower, upper in zip(low, high.tolist(), strict=True)]


def products(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> pa.Array:
    """Return the products of whole numbers (uint64; below 2^32 in `other`) as decimals of 128 bits.

    Arrow has no product of so many digits: it wants a digit more for each factor than there are.
    """
    low, high = (one & 0xFFFF_FFFF) * other, (one >> _HALF) * other
    words = np.empty(2 * len(one), np.uint64)
    words[0::2] = low + (high << _HALF)
    words[1::2] = (high >> _HALF) + (words[0::2] < low)
    return pa.Array.from_buffers(_WHOLE, len(one), [None, pa.py_buffer(words)])
