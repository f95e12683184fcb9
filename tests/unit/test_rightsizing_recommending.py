"""Recommendations: what they save, how they are applied, and what people should know before."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spendstream.allocation import OPENCOST, Rates
from spendstream.errors import MalformedEvent
from spendstream.recommendations import MAX_RECOMMENDATION_BYTES, decode, encode, headers
from spendstream.rightsizing.amounts import cpu_quantity, memory_quantity
from spendstream.rightsizing.days import NANO, Container
from spendstream.rightsizing.patch import targeted
from spendstream.rightsizing.recommending import recommend
from spendstream.rightsizing.savings import NodesGone
from spendstream.rightsizing.sizing import size
from tests.fixtures.containers import GIB, MIB, container_day, history

LEGACY = Container("prod", "shop", "Deployment", "legacy-app", "app")


def recommended(days, *, kind="Deployment", rates=OPENCOST, gone=None):
    return recommend(LEGACY._replace(workload_kind=kind), days, days[-1].last, rates, gone)


def test_what_is_freed_is_that_of_all_replicas():
    days = history(14, cores=0.1, memory=200 * MIB)
    one = recommended(days)
    three = recommended([*days, container_day(14, cores=0.1, memory=200 * MIB)])
    assert one.cpu_freed == one.cpu.current - one.cpu.target
    assert one.state == three.state == "open"
    assert one.memory_freed == one.memory.current - one.memory.target


def test_freed_requests_become_idle_until_nodes_go():
    days = history()
    alone = recommended(days)
    assert alone.nodes is None
    assert alone.idle_per_hour == alone.freed_per_hour > 0
    packed = recommended(days, gone=NodesGone(nodes=1, per_hour=384 * 10**9))
    assert (packed.nodes, packed.nodes_per_hour) == (1, 384 * 10**9)
    assert packed.idle_per_hour == packed.freed_per_hour - 384 * 10**9 < 0


def test_money_is_what_the_rates_make_of_the_amounts_exactly():
    found = recommended(history())
    exact = found.cpu_freed * 31_611_000_000 / NANO + found.memory_freed * 4_237_000_000 / GIB
    assert found.freed_per_hour == pytest.approx(exact, abs=1)


def test_without_prices_no_money_is_told():
    found = recommended(history(), rates=Rates())
    assert found.freed_per_hour is None
    assert found.idle_per_hour is None
    assert found.cpu_freed > 0


def test_a_deployment_is_patched_by_strategic_merge_and_limits_stay():
    found = recommended(history(14, cpu_limit=2 * NANO, memory_limit=2 * GIB))
    assert yaml.safe_load(found.patch) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "legacy-app", "namespace": "shop"},
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "app",
                            "resources": {
                                "requests": {
                                    "cpu": cpu_quantity(found.cpu.target),
                                    "memory": memory_quantity(found.memory.target),
                                }
                            },
                        }
                    ]
                }
            }
        },
    }


def test_a_cron_job_is_patched_in_its_job_template():
    document = yaml.safe_load(recommended(history(), kind="CronJob").patch)
    assert document["apiVersion"] == "batch/v1"
    assert "containers" in document["spec"]["jobTemplate"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("kind", ["Pod", "Job"])
def test_what_cannot_be_changed_has_no_patch_and_says_so(kind):
    found = recommended(history(), kind=kind)
    assert found.patch == ""
    assert any("cannot be changed" in caveat for caveat in found.caveats)


def test_what_stays_is_not_in_the_patch():
    document = yaml.safe_load(recommended(history(14, scaled_on="cpu")).patch)
    (container,) = document["spec"]["template"]["spec"]["containers"]
    assert list(container["resources"]) == ["requests"]
    assert list(container["resources"]["requests"]) == ["memory"]


def test_a_limit_below_the_request_is_raised_with_it_and_told():
    found = recommended(history(14, memory=3 * GIB, memory_limit=2 * GIB, memory_request=GIB))
    (container,) = yaml.safe_load(found.patch)["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": memory_quantity(found.memory.target)}
    assert any("raised as well" in caveat for caveat in found.caveats)


def test_after_an_oom_kill_the_limit_it_was_killed_at_is_raised():
    days = [*history(7, memory_limit=GIB), container_day(7, oom_kills=1, memory_limit=GIB)]
    assert targeted(size(days, days[-1].last)).memory_limit >= GIB * 1.2


def test_a_limit_close_to_the_request_is_told():
    found = recommended(history(14, memory=300 * MIB, memory_limit=600 * MIB))
    assert any("is close to the request" in caveat for caveat in found.caveats)


def test_memory_that_never_falls_is_told_to_look_like_a_heap():
    steady = recommended(history())
    assert any("JVM" in caveat for caveat in steady.caveats)
    peaks = [100 * MIB, 300 * MIB] * 7
    moving = recommended([container_day(number, memory=peak) for number, peak in enumerate(peaks)])
    assert not any("JVM" in caveat for caveat in moving.caveats)


def test_reasons_are_sentences_for_each_resource():
    cpu, memory = recommended(history(14, scaled_on="cpu")).reasons
    assert cpu == "CPU is left alone: an autoscaler scales on it, and its request decides when"
    assert memory == "memory is requested above what its usage needs"


def test_what_is_refused_saves_nothing():
    found = recommended(history(2))
    assert (found.state, found.cpu_freed, found.memory_freed, found.freed_per_hour) == ("refused", 0, 0, 0)
    assert found.patch == ""


def test_the_same_proposal_has_one_id_whenever_it_is_made():
    days = history()
    later = recommend(LEGACY, days, days[-1].last + 10**9, OPENCOST)
    assert recommended(days).id == later.id
    assert recommended(history(14, memory=400 * MIB)).id != later.id


@given(st.floats(0, 8), st.floats(0, 8e9), st.integers(1, 20), st.sampled_from(["", "cpu", "cpu,memory"]))
def test_a_recommendation_survives_the_wire(cores, memory, days, scaled_on):
    found = recommended(history(days, cores=cores, memory=memory, scaled_on=scaled_on))
    assert decode(encode(found)) == found
    assert dict(headers(found))["ce_type"] == b"spendstream.recommendation"


@pytest.mark.parametrize(
    "value", [None, b"", b"{}", b"\xff", b'{"v":2}', b" " * (MAX_RECOMMENDATION_BYTES + 1)]
)
def test_what_is_no_recommendation_is_refused(value):
    with pytest.raises(MalformedEvent):
        decode(value)
