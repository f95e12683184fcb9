"""Every error that Spendstream raises, in one tree.

SpendstreamError
├── TransientError          try again after `retry_after` seconds
│   ├── BrokerUnavailable   Kafka does not answer
│   ├── ClusterUnavailable  a Kubernetes cluster's API does not answer, or refuses
│   ├── RedisUnavailable    Redis does not answer, or not in time
│   └── StoreUnavailable    ClickHouse does not answer, or is overloaded
└── TerminalError           trying again changes nothing
    ├── ConfigError         a flag, a file or a variable is wrong (exit code 2)
    ├── MalformedEvent      bytes that are no event of ours (dead letter)
    ├── RedisRefused        Redis refuses this command
    ├── RecordingError      a recording or trace that cannot be read
    ├── RowRejected         ClickHouse refuses this row, whenever it comes (dead letter)
    ├── QueryError          ClickHouse refuses this query
    ├── UnknownPrice        no price covers this model or instance at this time
    └── AlreadyRunning      another process owns this directory or port

Catch `TransientError` to wait, `TerminalError` to give up on the one thing at hand. A message names the
thing, what was expected, what was found and what to do.
"""

from __future__ import annotations

__all__ = [
    "AlreadyRunning",
    "BrokerUnavailable",
    "ClusterUnavailable",
    "ConfigError",
    "MalformedEvent",
    "QueryError",
    "RecordingError",
    "RedisRefused",
    "RedisUnavailable",
    "RowRejected",
    "SpendstreamError",
    "StoreUnavailable",
    "TerminalError",
    "TransientError",
    "UnknownPrice",
]


class SpendstreamError(Exception):
    """The root of all errors raised on purpose."""


class TransientError(SpendstreamError):
    """The same call can succeed later; `retry_after` says in how many seconds to try."""

    def __init__(self, message: str, *, retry_after: float = 0.5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BrokerUnavailable(TransientError):
    """Kafka does not answer."""


class ClusterUnavailable(TransientError):
    """A Kubernetes cluster's API, or what measures its usage, does not answer, or refuses for now."""


class RedisUnavailable(TransientError):
    """Redis does not answer, or not in time; whether it did what it was told is not known."""


class StoreUnavailable(TransientError):
    """ClickHouse does not answer, or asks for patience."""


class TerminalError(SpendstreamError):
    """The same call fails again, whenever it is tried."""


class ConfigError(TerminalError):
    """One or several settings are wrong; the message holds one line for each."""


class MalformedEvent(TerminalError):
    """Bytes on a topic that do not decode to a valid event; the message is the dead letter's reason."""


class RedisRefused(TerminalError):
    """Redis refuses this command: a wrong password, a script that fails, a key of another type."""


class RecordingError(TerminalError):
    """A recording or trace file that cannot be read; the message names file and row."""


class RowRejected(TerminalError):
    """ClickHouse cannot store this row: wrong type, violated constraint, out of range."""


class QueryError(TerminalError):
    """ClickHouse refuses this query."""


class UnknownPrice(TerminalError):
    """No price covers this model or instance at this time. Never read it as zero."""


class AlreadyRunning(TerminalError):
    """Another process owns this data directory or port."""
