"""What a batch adds to the days of containers is what its samples add one by one."""

from functools import reduce

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spendstream.batches import Batch
from spendstream.ledger import Ledger
from spendstream.rightsizing.days import ContainerDay, container_of, day_of
from spendstream.rightsizing.histogram import CPU, MEMORY
from spendstream.tally import tally
from spendstream.windows import DAY, Entry, WindowKey, windows_of
from tests.fixtures.containers import sample

SAMPLES = st.lists(
    st.builds(
        sample,
        st.integers(0, 600),
        pod=st.sampled_from(["one", "two"]),
        workload=st.sampled_from(["", "legacy-app"]),
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


def entries(samples):
    return [Entry(position, event, 0) for position, event in enumerate(samples)]


def days_of(added):
    return {key: add for key, add in added.items() if isinstance(add.measures, ContainerDay)}


@given(SAMPLES)
def test_a_batch_adds_what_its_samples_add_one_by_one(samples):
    expected = {}
    for event in samples:
        day = day_of(event)
        key = WindowKey(DAY, day.start // 10**6, container_of(event))
        expected[key] = expected[key].plus(day) if key in expected else day
    added = days_of(tally(Batch(entries(samples))))
    assert {key: add.measures for key, add in added.items()} == expected


@given(SAMPLES)
def test_a_sample_falls_into_the_windows_that_it_is_counted_in(samples):
    assert {key for event in samples for key in windows_of(event)} == set(tally(Batch(entries(samples))))


@given(SAMPLES, st.integers(0, 12))
def test_days_are_the_same_wherever_blocks_begin_and_end(samples, cut):
    distinct = {event.id: event for event in samples}
    ordered = entries(distinct.values())

    def counted(*blocks):
        ledger, states = Ledger(horizon=10**15), {}
        for block in filter(None, blocks):
            batch = ledger.admit(block, {}).counted
            for state in ledger.count(batch, tally(batch), ()):
                states[state.key] = state
        return states

    whole = counted(ordered)
    assert counted(ordered[:cut], ordered[cut:]) == whole
    assert counted(ordered[:cut], ordered) == whole  # read again from the start


def test_many_values_are_found_in_the_buckets_of_each():
    for buckets in (CPU, MEMORY):
        values = np.array(
            [buckets.start(bucket) * factor for bucket in range(176) for factor in (0.99, 1, 1.01)]
        )
        assert buckets.find_all(values).tolist() == [buckets.find(value) for value in values.tolist()]


def test_days_of_a_pod_add_up_over_its_samples():
    added = days_of(tally(Batch(entries([sample(0), sample(1)]))))
    (day,) = (add.measures for add in added.values())
    assert day == reduce(ContainerDay.plus, [day_of(sample(0)), day_of(sample(1))])
