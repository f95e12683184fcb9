"""What is deployed to clusters is valid, reads and never writes, and has no more rights than it needs."""

from pathlib import Path

import pytest
import yaml

from producers.cluster.kinds import followed
from spendstream.config import load
from spendstream.workloads import Attribution
from spendstream.workloads.account import Account
from spendstream.workloads.samples import Samples
from spendstream.workloads.tenure import Billed
from tests.fixtures.manifests import PRICES

FOLDER = Path(__file__).parents[2] / "infra" / "kubernetes" / "collector"
MANIFESTS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}


def test_all_are_valid_and_have_no_field_that_does_not_exist():
    validate = pytest.importorskip("kubernetes_validate", reason="needs pip install kubernetes-validate")
    for name, manifest in MANIFESTS.items():
        if name != "kustomization":
            validate.validate(manifest, "1.37", strict=True)


def test_kustomize_takes_all_of_them():
    named = {Path(name).stem for name in MANIFESTS["kustomization"]["resources"]}
    assert named == set(MANIFESTS) - {"kustomization"}


def test_the_collector_may_read_what_it_follows_and_may_write_nothing():
    rules = MANIFESTS["cluster-role"]["rules"]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "watch"}
    allowed = {(group, one) for rule in rules for group in rule["apiGroups"] for one in rule["resources"]}
    samples = Samples(cluster="c", source="s", region="", prices=PRICES)
    account = Account(samples, Billed.nothing(0), attribution=Attribution())
    needed = {("metrics.k8s.io", "pods"), ("metrics.k8s.io", "nodes")}
    for kind, _ in followed(account, Attribution(), lambda: 0):
        parts = kind.path.split("/")
        needed.add((parts[2] if parts[1] == "apis" else "", kind.name))
    assert allowed == needed


def test_the_pod_runs_without_rights_on_its_node():
    pod = MANIFESTS["deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"requests", "limits"} <= set(container["resources"])


def test_the_configuration_is_one_that_the_collector_takes(tmp_path):
    path = tmp_path / "spendstream.toml"
    path.write_text(MANIFESTS["config"]["data"]["spendstream.toml"])
    config = load({}, path)
    pod = MANIFESTS["deployment"]["spec"]["template"]["spec"]
    assert config.collector.cluster == "production"
    assert config.collector.metrics_port == pod["containers"][0]["ports"][0]["containerPort"]
    assert str(config.data_dir) in [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]
