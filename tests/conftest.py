"""Fixtures that all tests share."""

pytest_plugins = ["tests.fixtures.kafka", "tests.fixtures.clickhouse"]
