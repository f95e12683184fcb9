"""What every command needs first: the configuration, and the addresses it or a running stack gives."""

from __future__ import annotations

import os

from spendstream import logs, running
from spendstream.config import Config, Secret, load
from spendstream.errors import ConfigError

__all__ = ["clickhouse_url", "kafka_servers", "load_config", "log_to_stderr"]


def load_config() -> Config:
    """Return the configuration from the environment and the file it names."""
    return load(os.environ)


def log_to_stderr(config: Config) -> None:
    """Send logs to standard error, as the configuration says."""
    logs.log_to_stderr(config.log_level)


def kafka_servers(config: Config) -> str:
    """Return the configured Kafka, or that of the stack that runs on the data directory."""
    return config.kafka or _from_running_stack(config, "kafka")


def clickhouse_url(config: Config) -> Secret:
    """Return the configured ClickHouse, or that of the stack that runs on the data directory."""
    return config.clickhouse or Secret(_from_running_stack(config, "clickhouse"))


def _from_running_stack(config: Config, part: str) -> str:
    addresses = running.find(config.data_dir)
    if addresses is None or not getattr(addresses, part):
        raise ConfigError(
            f"no {part} to talk to: run `spendstream up` in another terminal "
            f"or set SPENDSTREAM_{part.upper()} (looked in {config.data_dir})"
        )
    found: str = getattr(addresses, part)
    return found
