"""A worker does without pandas, which takes a second to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("pandas")


def ends(code: str) -> bool:
    """Tell whether a fresh Python runs `code` to its end."""
    ran = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    return ran.returncode == 0


def test_pyarrow_makes_arrays_without_importing_pandas() -> None:
    assert ends(
        "import sys, pyarrow as pa\n"
        "from spendstream.arrow import without_pandas\n"
        "without_pandas()\n"
        "assert pa.array([1, 2]).to_pylist() == [1, 2]\n"
        "assert 'pandas' not in sys.modules\n"
    )


def test_whoever_wants_pandas_can_still_import_it() -> None:
    assert ends("from spendstream.arrow import without_pandas\nwithout_pandas()\nimport pandas\n")
