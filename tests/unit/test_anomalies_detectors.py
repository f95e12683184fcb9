"""What holds for every detector: it can be stored anywhere, minds no unit, and tells a spike once."""

import math
import random
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spendstream.anomalies.detector import WARN
from spendstream.anomalies.holt_winters import HoltWinters
from spendstream.anomalies.iqr import InterquartileRange
from spendstream.anomalies.novelty import Novelty
from spendstream.anomalies.outlier import Outlier, fit
from spendstream.anomalies.robust_z import RobustZ
from spendstream.anomalies.rules import ColdStart

HOUR = 3600
MODELS = {}


class Fitted:
    """An outlier detector together with the caller who fits its models when it asks."""

    def __init__(self):
        self.detector = Outlier("knn", every=200)
        self.snapshot, self.restore = self.detector.snapshot, self.detector.restore

    def update(self, value, at):
        score = self.detector.update(value, at)
        if self.detector.needs_refit():
            training = self.detector.training()
            if training.rows not in MODELS:  # hypothesis asks for the same one over and over
                MODELS[training.rows] = fit(training)
            self.detector.adopt(MODELS[training.rows])
        return score


DETECTORS = {
    "robust_z": RobustZ,
    "iqr": InterquartileRange,
    "novelty": partial(Novelty.remembering, 500),
    "novelty_of_values": partial(Novelty.remembering, 500, only_values=True),
    "hourly": HoltWinters.hourly,
    "daily": HoltWinters.daily,
    "outlier": Fitted,
    "cold_start": ColdStart,
}

QUICK = {name: make for name, make in DETECTORS.items() if name != "outlier"}

every_detector = pytest.mark.parametrize("make", DETECTORS.values(), ids=DETECTORS)
amounts = st.floats(0, 1e12, allow_subnormal=False)


def steady(seed, count=400):
    rng = random.Random(seed)
    return [1e9 * rng.lognormvariate(0, 0.1) for _ in range(count)]


def scores(detector, values, first=0):
    return [detector.update(value, (first + i) * HOUR) for i, value in enumerate(values)]


@every_detector
def test_a_detector_stored_in_the_middle_goes_on_as_if_nothing_had_happened(make):
    values = [*steady(1), 9e9, *steady(2, 60)]
    whole = scores(make(), values)
    for cut in (0, 1, 30, 150, 401, 450):
        first, second = make(), make()
        before = scores(first, values[:cut])
        second.restore(first.snapshot())
        assert before + scores(second, values[cut:], cut) == whole


@pytest.mark.parametrize("make", QUICK.values(), ids=QUICK)
@settings(max_examples=25)
@given(values=st.lists(amounts, max_size=80), cut=st.integers(0, 80))
def test_any_series_can_be_cut_anywhere(make, values, cut):
    first, second = make(), make()
    before = scores(first, values[:cut])
    second.restore(first.snapshot())
    assert before + scores(second, values[cut:], min(cut, len(values))) == scores(make(), values)
    assert second.snapshot() == second.snapshot()


@every_detector
@pytest.mark.parametrize("factor", [2.0**-30, 2.0**40, 1e-9, 1e6])
def test_dollars_or_picodollars_are_scored_alike(make, factor):
    values = [*steady(3), 7e9, 0.0, *steady(4, 40)]
    plain, scaled = scores(make(), values), scores(make(), [value * factor for value in values])
    for one, other in zip(plain, scaled, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert other.severity == pytest.approx(one.severity, rel=1e-4, abs=1e-4)
            assert other.expected == pytest.approx(one.expected * factor, rel=1e-6)
            assert other.low == pytest.approx(one.low * factor, rel=1e-6, abs=1e3 * factor)
            assert other.high == pytest.approx(one.high * factor, rel=1e-6, abs=1e3 * factor)


@every_detector
def test_a_lasting_spike_is_told_once(make):
    values = [*steady(5), *[12e9] * 6]
    alerts = [score.alert >= WARN for score in scores(make(), values)[-6:] if score]
    assert alerts == [True, False, False, False, False, False]


@every_detector
def test_the_expected_range_surrounds_what_is_expected(make):
    for score in scores(make(), steady(7)):
        if score is not None:
            assert 0 <= score.severity < 300
            assert score.low <= score.expected <= score.high
            assert score.alert in (0, score.severity)


@every_detector
def test_healthy_noise_is_as_rarely_severe_as_the_severity_says(make):
    found = [score for seed in range(4) for score in scores(make(), steady(seed + 50, 600)) if score]
    assert sum(score.severity >= WARN for score in found) <= max(len(found) * 10**-WARN * 5, 1)


@every_detector
@pytest.mark.parametrize("value", [0.0, 5.0, 1e15])
def test_a_flat_series_is_silent(make, value):
    assert not any(score.alert >= WARN for score in scores(make(), [value] * 400) if score)


@every_detector
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e100])
def test_what_cannot_be_measured_is_refused_and_leaves_no_trace(make, value):
    detector = make()
    scores(detector, steady(8, 100))
    before = detector.snapshot()
    with pytest.raises(ValueError, match="below 1e100"):
        detector.update(value, 100 * HOUR)
    assert detector.snapshot() == before


@every_detector
def test_memory_is_bounded(make):
    detector = make()
    sizes = set()
    for turn in range(6):
        scores(detector, steady(turn, 700), turn * 700)
        sizes.add(len(detector.snapshot()))
    assert max(sizes) < 300_000


@every_detector
@pytest.mark.parametrize("data", [b"", b"\x00", b"no snapshot"])
def test_what_is_no_snapshot_is_refused(make, data):
    with pytest.raises(ValueError, match="snapshot"):
        make().restore(data)


def test_a_snapshot_of_another_detector_is_refused():
    with pytest.raises(ValueError, match="RobustZ cannot restore InterquartileRange"):
        InterquartileRange().restore(RobustZ().snapshot())
