"""A second opinion comes from another process, and nobody waits for one that cannot come."""

import random

import pytest

from spendstream.anomalies.detector import WARN
from spendstream.anomalies.outlier import opinion
from stream_processors.second_opinion import second_opinion


@pytest.fixture(scope="module")
def usual():
    rng = random.Random(1)
    return [100 + rng.gauss(0, 5) for _ in range(300)]


@pytest.mark.timeout(120)
async def test_a_spike_is_severe_and_a_usual_value_is_not(usual):
    severe = await second_opinion([*usual, 400.0])
    assert severe is not None
    assert severe >= WARN
    calm = opinion([*usual, 101.0])
    assert calm is not None
    assert calm < WARN


def test_the_same_values_get_the_same_opinion(usual):
    assert opinion([*usual, 130.0]) == opinion([*usual, 130.0])


def test_too_few_values_have_none():
    assert opinion([1.0] * 50) is None
    assert opinion([1.0]) is None


@pytest.mark.timeout(120)
async def test_values_that_nobody_can_judge_have_none():
    assert await second_opinion([float("nan")] * 200) is None
