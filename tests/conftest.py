"""Fixtures that all tests share."""

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
