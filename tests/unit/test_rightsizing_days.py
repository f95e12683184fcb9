"""Days of containers add up in any order, and forget nothing that a recommendation needs."""

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from spendstream.rightsizing.days import DAY, ContainerDay, day_of, gathered
from spendstream.rightsizing.histogram import MEMORY
from tests.fixtures.containers import GIB, MIB, START, sample

SAMPLES = st.lists(
    st.builds(
        sample,
        st.integers(0, 287),
        cpu_usage=st.integers(0, 10**10),
        memory_usage=st.integers(0, 10**10),
        memory_peak=st.integers(0, 10**10),
        oom_kills=st.integers(0, 2),
        revision=st.sampled_from(["", "one", "two"]),
        cpu_request=st.sampled_from([10**8, 10**9]),
    ),
    min_size=1,
    max_size=12,
)


@given(SAMPLES, st.randoms())
def test_the_order_of_samples_changes_nothing(samples, chance):
    shuffled = [*samples]
    chance.shuffle(shuffled)
    assert gathered(samples) == gathered(shuffled)


@given(SAMPLES, st.integers(0, 12))
def test_days_of_two_sources_add_up_to_the_day_of_both(samples, cut):
    def added(part: list) -> ContainerDay:
        return reduce(ContainerDay.plus, map(day_of, part))

    cut = min(cut, len(samples))
    parts = [added(part) for part in (samples[:cut], samples[cut:]) if part]
    assert reduce(ContainerDay.plus, parts) == added(samples)
    assert reduce(ContainerDay.plus, reversed(parts)) == added(samples)


def test_replicas_of_a_workload_are_one_container():
    samples = [sample(0, pod=f"legacy-app-{number}") for number in range(3)]
    ((container, days),) = gathered(samples).items()
    assert container == ("prod", "shop", "Deployment", "legacy-app", "app")
    assert days[0].replicas == 3


def test_a_pod_without_a_workload_is_one_of_its_own():
    (container,) = gathered([sample(workload="", workload_kind="")])
    assert container == ("prod", "shop", "Pod", "legacy-app-1", "app")


def test_days_are_those_of_the_calendar_in_utc_oldest_first():
    (days,) = gathered([sample(300), sample(0), sample(287)]).values()
    assert [day.start for day in days] == [START, START + DAY]
    assert days[0].seconds == 600


def test_the_peak_within_a_sample_counts_where_it_is_known():
    (days,) = gathered([sample(memory_usage=100 * MIB, memory_peak=GIB)]).values()
    assert GIB <= days[0].memory_peak <= GIB * 1.05 + MEMORY.first


def test_the_newest_settings_are_told_and_since_when_a_revision_is_there():
    samples = [sample(0), sample(1, revision="two", memory_request=GIB // 2), sample(2, revision="two")]
    (days,) = gathered(samples).values()
    assert days[0].settings.revision == "two"
    assert days[0].settings.memory_request == GIB
    assert days[0].revisions == {"one": START, "two": START + 300 * 10**6}


def test_a_sample_of_less_than_a_second_counts_as_one():
    (days,) = gathered([sample(end_time=START + 5)]).values()
    assert days[0].seconds == 1


def test_a_replica_that_was_there_for_less_than_a_second_is_one():
    assert day_of(sample(0, end_time=START + 10_000)).replicas == 1
