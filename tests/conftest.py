"""Fixtures that all tests share."""

import gc

from hypothesis import settings

pytest_plugins = [
    "tests.fixtures.kafka",
    "tests.fixtures.clickhouse",
    "tests.fixtures.redis",
    "tests.fixtures.collector",
    "tests.fixtures.kubernetes",
    "tests.fixtures.focus_validator",
]

settings.register_profile("spendstream", deadline=None)  # how long an example takes is for benchmarks to say
settings.load_profile("spendstream")


def pytest_collection_finish() -> None:
    """Leave the thousands of tests out of every later collection of garbage: none of them is any."""
    gc.collect()
    gc.freeze()
