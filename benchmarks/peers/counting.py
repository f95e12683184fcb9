"""How a peer tells what it has done: one number on a metrics endpoint, read when it is asked for."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, start_http_server

__all__ = ["Count"]


class Count:
    """How many events are done. Counting costs the peer an addition, and no more."""

    def __init__(self) -> None:
        self.events = 0

    def serve(self) -> None:
        """Serve the number from a thread, and print the ready line."""
        registry = CollectorRegistry()
        Gauge("benchmark_events", "Events done", registry=registry).set_function(lambda: self.events)
        server, _ = start_http_server(0, "127.0.0.1", registry)
        print(f"ready, metrics on http://127.0.0.1:{server.server_port}/metrics", flush=True)
