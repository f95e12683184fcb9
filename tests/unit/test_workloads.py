"""What is read of Kubernetes' objects: amounts, runs, owners, and how nodes were bought."""

from fractions import Fraction
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.allocation.requests import Request
from spendstream.cluster_prices import ClusterPrice, ClusterPrices
from spendstream.money import PICO
from spendstream.workloads import (
    Attribution,
    Autoscaler,
    Node,
    Owner,
    Owners,
    Pod,
    Reading,
    Readings,
    Timeline,
)
from spendstream.workloads.devices import devices, share
from spendstream.workloads.manifests import (
    AutoscalerManifest,
    Metadata,
    NodeManifest,
    OwnerReference,
    PodManifest,
)
from spendstream.workloads.prices import ListPrices
from spendstream.workloads.quantities import NANO, amount
from spendstream.workloads.timeline import HOUR
from tests.fixtures.manifests import (
    GIB,
    NOON,
    SECOND,
    container,
    life,
    node,
    node_manifest,
    pod,
    pod_manifest,
)

MILLICORE = 10**6


@pytest.mark.parametrize(
    ("quantity", "per_unit", "expected"),
    [
        ("250m", NANO, 250 * MILLICORE),
        ("137123456n", NANO, 137_123_456),
        (2, NANO, 2 * NANO),
        ("0.5", NANO, NANO // 2),
        ("1Gi", 1, GIB),
        ("1.5Gi", 1, 3 * GIB // 2),
        ("129e6", 1, 129_000_000),
        ("12E2", 1, 1200),
        ("1E", 1, 10**18),
        ("1Ei", 1, 1 << 60),
        ("128974848", 1, 128_974_848),
        ("1m", 1, 1),
        ("0", 1, 0),
    ],
)
def test_quantities_are_read_as_kubernetes_reads_them(quantity, per_unit, expected):
    assert amount(quantity, per_unit) == expected


@pytest.mark.parametrize("quantity", ["", "a lot", "1 Gi", "1gi", "-1", "1e", "nan", "1Mi2"])
def test_what_is_no_quantity_is_told(quantity):
    with pytest.raises(ValueError, match=r"quantity|negative"):
        amount(quantity)


@given(st.integers(0, 10**15), st.sampled_from(["", "m", "u", "n", "k", "M", "Ki", "Mi"]))
def test_a_fraction_of_a_unit_is_rounded_up(number, suffix):
    factor = {"": 1, "m": Fraction(1, 10**3), "u": Fraction(1, 10**6), "n": Fraction(1, 10**9)}
    factor |= {"k": 10**3, "M": 10**6, "Ki": 2**10, "Mi": 2**20}
    exact = number * factor[suffix]
    assert 0 <= amount(f"{number}{suffix}") - exact < 1


def test_gpus_are_whole_or_slices_or_shared_in_time():
    assert share(devices({"nvidia.com/gpu": "2", "cpu": "1"}), 1) == 2000
    assert share(devices({"nvidia.com/mig-1g.5gb": "7"}), 1) == 1000
    assert share(devices({"nvidia.com/mig-3g.20gb": 1}), 1) == 429
    assert share(devices({"nvidia.com/gpu.shared": "1"}), 4) == 250
    assert share(devices({"amd.com/gpu": "1"}), 1) == 1000
    assert share(devices(None), 1) == 0


def test_a_native_sidecar_is_one_and_counts_from_its_start():
    status = {"initContainerStatuses": [{"name": "proxy", "state": life(NOON)}]}
    read = pod(init=[container("proxy", cpu="1", restartPolicy="Always")], status=status)
    assert [one.kind for one in read.containers] == ["sidecar", "app"]
    assert read.containers[0].runs[0].started == NOON
    assert read.reserved == Request(cpu=1500 * MILLICORE, memory=2 * GIB)


def test_overhead_and_requests_of_the_whole_pod_count():
    spec = {"overhead": {"cpu": "100m"}, "resources": {"requests": {"cpu": "3"}}}
    assert pod(spec=spec).reserved == Request(cpu=3100 * MILLICORE, memory=GIB)


def test_while_a_container_is_resized_it_holds_the_larger_unless_that_can_never_be():
    given_ = {"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}
    status = [{"name": "main", "restartCount": 0, "state": life(NOON), **given_}]
    wanted = [container(cpu="4", memory="512Mi")]
    (main,) = pod(containers=wanted, statuses=status).containers
    assert (main.amounts.request.cpu, main.amounts.request.memory) == (4 * NANO, GIB)
    never = [{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]
    (main,) = pod(containers=wanted, statuses=status, status={"conditions": never}).containers
    assert main.amounts.request.cpu == 500 * MILLICORE


def test_a_pod_without_a_node_has_no_room_and_one_with_a_node_since_it_was_scheduled():
    assert pod(spec={"nodeName": None}).scheduled is None
    condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2027-01-15T12:00:00Z"}
    assert pod(status={"conditions": [condition]}).scheduled is not None


def test_a_run_that_never_began_is_none():
    zero = {"terminated": {"startedAt": "0001-01-01T00:00:00Z", "finishedAt": "0001-01-01T00:00:00Z"}}
    assert pod(states={"main": zero}).containers[0].runs == ()
    assert pod(states={"main": life(None)}).containers[0].runs == ()


def test_labels_of_one_pod_alone_are_left_out_and_its_revision_is_kept():
    labels = {"app": "web", "pod-template-hash": "abc", "statefulset.kubernetes.io/pod-name": "web-1"}
    read = pod(metadata={"labels": labels})
    assert (read.labels, read.revision) == ({"app": "web"}, "abc")


def test_claims_are_named_or_made_for_the_pod():
    volumes = [
        {"name": "a", "persistentVolumeClaim": {"claimName": "files"}},
        {"name": "b", "ephemeral": {"volumeClaimTemplate": {}}},
        {"name": "c", "emptyDir": {}},
    ]
    assert pod(spec={"volumes": volumes}).claims == ("files", "web-1-b")


def test_nulls_in_a_manifest_are_like_what_is_not_there():
    manifest = pod_manifest(
        metadata={"labels": None, "annotations": None, "ownerReferences": None, "creationTimestamp": None},
        spec={"initContainers": None, "volumes": None, "nodeName": None},
        status={"conditions": None, "containerStatuses": None},
    )
    read = Pod.of(msgspec.convert(manifest, PodManifest), Attribution())
    assert (read.node, read.containers[0].runs) == ("", ())


@pytest.mark.parametrize(
    ("labels", "provider", "option"),
    [
        ({"karpenter.sh/capacity-type": "spot"}, "aws:///x", "spot"),
        ({"eks.amazonaws.com/capacityType": "ON_DEMAND"}, "aws:///x", "on-demand"),
        ({"cloud.google.com/gke-spot": "true"}, "gce://x", "spot"),
        ({}, "gce://x", "on-demand"),
        ({"kubernetes.azure.com/scalesetpriority": "spot"}, "azure:///x", "spot"),
        ({}, "azure:///x", "on-demand"),
        ({}, "aws:///x", "unknown"),
        ({}, "", "unknown"),
    ],
)
def test_how_a_node_was_bought_is_told_by_its_labels_or_not_known(labels, provider, option):
    manifest = node_manifest()
    manifest["metadata"]["labels"] = labels
    manifest["spec"] = {"providerID": provider}
    assert Node.of(msgspec.convert(manifest, NodeManifest)).purchase_option == option


def test_a_node_has_what_it_is_sold_with():
    read = node(**{"nvidia.com/gpu.replicas": "4"})
    assert (read.cpu, read.memory, read.gpu_replicas) == (8 * NANO, 32 * GIB, 4)
    assert (read.instance_type, read.region) == ("m5.2xlarge", "us-east-1")


def test_gpus_that_are_sold_apart_are_added_and_price_changes_are_told():
    def price(kind, of, dollars, since=0):
        return ClusterPrice(kind=kind, type=of, region="r", price=dollars * PICO, effective_from=since)

    listed = ClusterPrices([price("node", "n1", 1), price("node", "n1", 2, 50), price("gpu", "t4", 3, 60)])
    prices = ListPrices(listed, traffic="zone")
    plain = msgspec.structs.replace(node(), instance_type="n1")
    with_gpus = msgspec.structs.replace(plain, accelerator="t4", gpu=2000)
    assert prices.node(plain, "r", 10) == PICO
    assert prices.node(with_gpus, "r", 10) is None
    assert prices.node(with_gpus, "r", 70) == 8 * PICO
    assert prices.changes(with_gpus, "r", 0, 100) == [50, 60]
    assert prices.network("r", 10) is None


def owned(name, uid, kind, owner, owner_uid):
    reference = OwnerReference(kind=kind, name=owner, uid=owner_uid, controller=True)
    return Metadata(name=name, uid=uid, owner_references=(reference,))


def test_the_chain_of_owners_ends_at_what_nobody_owns():
    owners = Owners()
    owners.learn(owned("nightly-1", "j", "CronJob", "nightly", "c"))
    job = Owner(kind="Job", name="nightly-1", uid="j")
    assert owners.workload(job) == Owner(kind="CronJob", name="nightly", uid="c")
    assert owners.workload(None) is None
    owners.forget("j")
    assert owners.workload(job) == job


def test_a_replica_set_that_is_not_known_is_a_deployments_if_it_is_called_so():
    replica_set = Owner(kind="ReplicaSet", name="web-abc", uid="r")
    found = Owners().workload(replica_set, "abc")
    assert (found.kind, found.name) == ("Deployment", "web")
    assert Owners().workload(replica_set, "xyz") == replica_set


def test_owners_that_own_each_other_are_no_endless_chain():
    owners = Owners()
    owners.learn(owned("a", "a", "B", "b", "b"))
    owners.learn(owned("b", "b", "A", "a", "a"))
    assert owners.workload(Owner(kind="A", name="a", uid="a")) is not None


def test_owners_that_were_not_asked_for_the_longest_are_forgotten():
    owners = Owners(limit=2)
    for uid in ("a", "b"):
        owners.learn(owned(uid, uid, "Deployment", f"of {uid}", f"d{uid}"))
    owners.workload(Owner(kind="ReplicaSet", name="a", uid="a"))
    owners.learn(owned("c", "c", "Deployment", "of c", "dc"))
    names = [owners.workload(Owner(kind="ReplicaSet", name=uid, uid=uid)).name for uid in ("a", "b", "c")]
    assert (names, len(owners)) == (["of a", "b", "of c"], 2)


def test_attributes_are_read_from_labels_then_annotations_and_defaults_come_last():
    attribution = msgspec.convert(
        {"team": {"labels": ["squad"], "annotations": ["acme.com/owner"], "default": "nobody"}}, Attribution
    )
    of_pod = attribution.read({}, {"acme.com/owner": "o" * 600})
    assert of_pod.team == "o" * 512
    nothing = attribution.read(None, None)
    assert attribution.settle(nothing, attribution.read({"squad": "web"}, None)).team == "web"
    assert attribution.settle(nothing, nothing).team == "nobody"


def test_an_autoscaler_tells_what_it_scales_on():
    def scaled(metrics):
        spec = {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "metrics": metrics}
        manifest = {"metadata": {"name": "h", "namespace": "shop"}, "spec": spec}
        return Autoscaler.of(msgspec.convert(manifest, AutoscalerManifest)).scaled_on

    memory = {"type": "Resource", "resource": {"name": "memory", "target": {}}}
    cpu = {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "main"}}
    assert scaled([memory, cpu]) == "cpu,memory"
    assert scaled([{"type": "External", "external": {}}]) == ""
    assert scaled(None) == "cpu"


moments = st.integers(0, 3 * HOUR)


@given(
    start=moments,
    steps=st.lists(
        st.tuples(st.sampled_from(["cut", "change", "end"]), moments, st.integers(0, 2)), max_size=20
    ),
)
def test_a_timeline_is_cut_without_hole_or_overlap_and_never_across_an_hour(start, steps):
    timeline, pieces = Timeline(start, 0), []
    for step, at, facts in [*steps, ("cut", 4 * HOUR, 0)]:
        if step == "cut":
            pieces += timeline.cut(at)
        elif step == "change":
            timeline.change(at, facts)
        else:
            timeline.end(at)
    assert [piece.start for piece in pieces[:1]] in ([], [start])
    assert all(one.end == following.start for one, following in pairwise(pieces))
    assert all(piece.start < piece.end for piece in pieces)
    assert all(piece.start // HOUR == (piece.end - 1) // HOUR for piece in pieces)
    end = 4 * HOUR if timeline.ended is None else timeline.ended
    assert sum(piece.end - piece.start for piece in pieces) == end - start


def test_facts_hold_from_when_they_were_told():
    timeline = Timeline(0, "a")
    timeline.change(10, "b")
    timeline.change(20, "b")
    timeline.change(30, "c")
    assert [tuple(piece) for piece in timeline.cut(25)] == [(0, 10, "a"), (10, 25, "b")]
    timeline.change(5, "d")
    assert [tuple(piece) for piece in timeline.cut(40)] == [(25, 30, "b"), (30, 40, "d")]


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=60))
def test_the_mean_of_readings_is_that_of_all_however_many_came(values):
    readings = Readings()
    for number, value in enumerate(values, 1):
        readings.add(Reading(number * SECOND, cpu=value, memory=value, peak=value))
    mean = readings.take(0, 100 * SECOND)
    assert mean.cpu == sum(values) // len(values)
    assert mean.peak == max(values)
