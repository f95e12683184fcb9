"""Quix Streams as its documentation shows it: a StreamingDataFrame with a tumbling window, and state on disk.

Windows belong to the record's key, which is the team, so that nothing is sent through a topic a second time;
a window's value holds the sums by model. It runs in an environment of its own and imports nothing of ours but
the count.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from quixstreams import Application

from benchmarks.peers.counting import Count

_SUMS = ("cost", "input_tokens", "output_tokens", "cache_read_tokens")


def add(sums: dict[str, dict[str, int]], usage: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Return a team's window with one more event in it."""
    window = sums.setdefault(usage["model"], {"events": 0, **dict.fromkeys(_SUMS, 0)})
    window["events"] += 1
    for name in _SUMS:
        window[name] += usage.get(name, 0)
    return sums


def first(usage: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Return a team's window with its first event in it."""
    return add({}, usage)


def create_app(servers: str, count: Count) -> Application:
    """Return the application; it counts each event when its window has it."""
    app = Application(
        broker_address=servers,
        consumer_group=f"benchmark-{os.getpid()}",  # its own group and changelog: every run starts anew
        auto_offset_reset="earliest",
        state_dir="quix-state",
        producer_extra_config={"enable.idempotence": False},  # the embedded broker gives no producer ids
        loglevel="WARNING",
    )
    usage = app.topic("usage.tokens", value_deserializer="json", timestamp_extractor=_event_time)
    frame = app.dataframe(usage)
    windows = frame.tumbling_window(timedelta(minutes=1)).reduce(reducer=add, initializer=first).current()

    def counted(_: Any) -> None:
        count.events += 1

    windows.update(counted)
    return app


def _event_time(value: Any, _headers: Any, _timestamp: float, _kind: Any) -> int:
    milliseconds: int = value["event_time"] // 1000
    return milliseconds


def main() -> None:
    """Run until SIGTERM."""
    count = Count()
    app = create_app(os.environ["SPENDSTREAM_KAFKA"], count)
    count.serve()
    app.run()


if __name__ == "__main__":
    main()
