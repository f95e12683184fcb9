"""How a peer tells what it has done: one number on a metrics endpoint, read when it is asked for.

Peers in an environment of their own import this too: it needs Python's own library alone.
"""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

__all__ = ["Count"]


class Count:
    """How many events are done. Counting costs the peer an addition, and no more."""

    def __init__(self) -> None:
        self.events = 0

    def serve(self) -> None:
        """Serve the number from a thread, and print the ready line."""
        count = self

        class Metrics(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = f"benchmark_events {count.events}\n".encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Say nothing of each look."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
        Thread(target=server.serve_forever, daemon=True).start()
        print(f"ready, metrics on http://127.0.0.1:{server.server_port}/metrics", flush=True)
