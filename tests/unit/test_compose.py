"""What `docker compose up` starts: valid, complete, on loopback only, waiting for what it needs."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from compose_spec import PyCompose

from spendstream.config import load
from spendstream.keys import KeyHasher

INFRA = Path(__file__).parents[2] / "infra"
FILE = INFRA / "compose.yaml"
SERVICES = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
ONCE = {"setup", "migrate"}
each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def test_it_is_valid():
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", FILE.read_text(encoding="utf-8"))
    found = PyCompose.from_yaml(json.dumps(yaml.safe_load(text)))  # it does not know YAML's merge keys
    found.validate()
    assert set(found.to_spec().services) == set(SERVICES)


def test_docker_reads_it():
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no docker compose: get it from docs.docker.com")
    subprocess.run(["docker", "compose", "-f", FILE, "config", "--quiet"], check=True)


def test_everything_is_there():
    assert set(SERVICES) >= {
        "kafka",
        "clickhouse",
        "redis",
        "prometheus",
        "grafana",
        "gateway",
        "worker",
        "sink",
    }
    assert any(name.startswith("load") for name in SERVICES)


@each_service
def test_ports_are_published_on_loopback(service):
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


@each_service
def test_images_of_others_are_pinned(service):
    assert service["image"] == "spendstream" or re.search(r":v?\d", service["image"])


def test_who_stays_up_says_how_it_is():
    for name, service in SERVICES.items():
        assert name in ONCE or "healthcheck" in service, name
        assert (service.get("restart") == "no") == (name in ONCE)


def test_nobody_waits_for_what_will_not_come():
    for service in SERVICES.values():
        for name, how in service.get("depends_on", {}).items():
            expected = (
                {"service_completed_successfully"} if name in ONCE else {"service_healthy", "service_started"}
            )
            assert how["condition"] in expected
            assert how["condition"] != "service_healthy" or "test" in SERVICES[name]["healthcheck"]


def test_files_that_are_mounted_exist():
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (INFRA / source).exists(), source


def test_settings_are_known():
    for service in SERVICES.values():
        environment = service.get("environment", {})
        names = {name: text for name, text in environment.items() if name.startswith("SPENDSTREAM_")}
        names.pop("SPENDSTREAM_CONFIG", None)
        assert load(names | {"SPENDSTREAM_KEY_SECRET": "s" * 32})


def test_the_setup_makes_keys_that_the_gateway_knows(tmp_path):
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, line in (
        ("spendstream", f'{sys.executable} -m spendstream "$@"'),
        ("python", f'{sys.executable} "$@"'),
    ):
        (commands / name).write_text(f"#!/bin/sh\nexec {line}\n")
        (commands / name).chmod(0o755)
    folder = tmp_path / "keys"
    folder.mkdir()
    run = ["sh", str(INFRA / "compose" / "setup.sh"), str(folder)]
    environment = {"PATH": f"{commands}:/usr/bin:/bin", "PYTHONPATH": str(INFRA.parent)}
    subprocess.run(run, check=True, env=environment)
    config = load({}, folder / "config.toml")
    assert [key.team for key in config.api_keys] == ["search", "support", "growth"]
    for key in config.api_keys:
        text = (folder / f"{key.team}.key").read_text().strip()
        assert KeyHasher(config.key_secret).hash(text) == key.hash
    before = (folder / "config.toml").read_text()
    assert tomllib.loads(before)["key_secret"] == config.key_secret
    subprocess.run(run, check=True, env=environment)
    assert (folder / "config.toml").read_text() == before, "once"
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.toml", "growth.key", "search.key", "support.key",
    ]  # fmt: skip
