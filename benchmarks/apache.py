"""One Apache Kafka node from its jars, on loopback, that can be killed and finds what it had acknowledged.

The jars are those that infra/kafka/pom.xml pins, fetched by Maven once, into .cache/kafka.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import uuid
from pathlib import Path

from benchmarks.children import BenchmarkError, Child, free_port

__all__ = ["ApacheKafka"]

_ROOT = Path(__file__).parents[1]
_POM = _ROOT / "infra" / "kafka" / "pom.xml"
_PROPERTIES = _POM.with_name("server.properties")
_CACHE = _ROOT / ".cache" / "kafka"
_FETCH_S = 900
_FORMAT_S = 60
_HOW_TO_GET = "Apache Kafka needs Java 17 or newer and Maven: apt-get install openjdk-17-jdk-headless maven"
_LOG = "-Dorg.slf4j.simpleLogger."


class ApacheKafka(Child):
    """Broker and controller in one process, with its data in `folder`; `servers` is its address."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        port = free_port()
        self.servers = f"127.0.0.1:{port}"
        properties = folder / "server.properties"
        properties.write_text(
            _PROPERTIES.read_text()
            .replace("@port@", str(port))
            .replace("@controller-port@", str(free_port()))
            .replace("@data@", str(folder / "data"))
        )
        java = ["-Xmx512m", f"{_LOG}defaultLogLevel=warn", f"{_LOG}log.kafka.server.KafkaRaftServer=info"]
        java += ["-cp", f"{_jars()}/*"]
        _format(java, properties)
        super().__init__(
            "broker",
            [*java, "kafka.Kafka", str(properties)],
            ready="(Kafka Server started)",
            folder=folder,
            env={},
            program="java",
        )


def _format(java: list[str], properties: Path) -> None:
    identity = ["--standalone", "--cluster-id", uuid.uuid4().hex[:22]]
    command = ["java", *java, "kafka.tools.StorageTool", "format", *identity, "--config", str(properties)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_FORMAT_S)
    if ran.returncode:
        raise BenchmarkError(f"Apache Kafka could not make its folder: {ran.stderr[-500:]}")


def _jars() -> Path:
    """Return the directory with Kafka's jars."""
    jars = _CACHE / hashlib.sha256(_POM.read_bytes()).hexdigest()[:16]
    if shutil.which("java") is None or (not jars.is_dir() and shutil.which("mvn") is None):
        raise BenchmarkError(_HOW_TO_GET)
    if not jars.is_dir():
        _fetch(jars)
    return jars


def _fetch(jars: Path) -> None:
    draft = jars.with_suffix(".part")
    shutil.rmtree(draft, ignore_errors=True)
    command = ["mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={draft}"]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_FETCH_S)
    if ran.returncode:
        raise BenchmarkError(f"Maven could not fetch Apache Kafka: {ran.stdout[-500:]}{ran.stderr[-500:]}")
    draft.rename(jars)
