"""The routing benchmark's arithmetic, on questions whose answer is known."""

import numpy as np
import pytest

from benchmarks.routellm import Question, apgr, calls_needed, curve, gains, halves

QUESTIONS = [
    Question("both right", cheap=True, strong=True),
    Question("worth it", cheap=False, strong=True),
    Question("also worth it", cheap=False, strong=True),
    Question("better not", cheap=True, strong=False),
    Question("worth it too", cheap=False, strong=True),
]


def test_a_gain_is_what_the_strong_model_adds():
    assert gains(QUESTIONS).tolist() == [0, 1, 1, -1, 1]


def test_the_curve_runs_from_the_cheap_models_quality_to_the_strong_ones():
    points = curve(np.array([1.0, 5, 4, 0, 3]), gains(QUESTIONS))
    assert points.tolist() == [0, 0.5, 1, 1.5, 1.5, 1]


def test_the_oracle_beats_the_strong_model_alone_and_needs_few_calls():
    gained = gains(QUESTIONS)
    assert apgr(gained, gained) == pytest.approx((0.25 + 0.75 + 1.25 + 1.5 + 1.25) / 5)
    assert calls_needed(gained, gained, 0.5) == 0.2
    assert apgr(gained, gained) > 0.5 > apgr(-gained, gained)


def test_random_order_recovers_half_on_average():
    rng, gained = np.random.default_rng(0), gains(QUESTIONS)
    areas = [apgr(rng.random(len(gained)), gained) for _ in range(4_000)]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.03)


def test_a_question_is_learned_from_or_judged_on_wherever_it_stands():
    learn, judge = halves(QUESTIONS)
    again_learn, again_judge = halves(QUESTIONS[::-1])
    assert learn == again_learn[::-1]
    assert judge == again_judge[::-1]
    assert len(learn) + len(judge) == len(QUESTIONS)
