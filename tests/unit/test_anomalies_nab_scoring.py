"""The benchmark's scoring keeps what NAB's definition promises."""

import math

import pytest

from benchmarks.nab import PROFILES, File, counts, score, score_at

FILE = File(
    name="made up", times=range(0, 60_000, 300), values=[0.0] * 200, first=30, windows=[(60, 79), (120, 139)]
)
QUIET = File(name="healthy", times=range(0, 60_000, 300), values=[0.0] * 200, first=30, windows=[])


def alerts(*rows):
    return [9.0 if row in rows else 0.0 for row in range(200)]


def sigmoid(position):
    return 2 / (1 + math.exp(5 * position)) - 1


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_silence_is_worth_nothing_and_a_detection_at_the_first_row_of_each_window_everything(profile):
    assert score([FILE, QUIET], [alerts(), alerts()], profile).score == 0
    assert score([FILE, QUIET], [alerts(60, 120), alerts()], profile).score == pytest.approx(100)


def test_only_the_earliest_detection_in_a_window_counts():
    standard = PROFILES["standard"]
    early = score_at([FILE], [alerts(65)], standard, 3)
    assert (
        score_at([FILE], [alerts(65, 70, 79)], standard, 3)
        == early
        > score_at([FILE], [alerts(79)], standard, 3)
    )
    worth = sigmoid(-15 / 20) / sigmoid(-1)
    assert early == pytest.approx(100 * (worth - 1 + 2) / 4)


def test_a_false_alarm_costs_less_right_after_a_window_and_nothing_in_the_probation():
    standard = PROFILES["standard"]
    costs = [-score_at([FILE], [alerts(row)], standard, 3) * 4 / 100 for row in (10, 40, 82, 119)]
    assert costs == pytest.approx([0, 0.11, -0.11 * sigmoid(3 / 19), -0.11 * sigmoid(40 / 19)])


def test_a_threshold_is_told_what_it_finds():
    found = counts([FILE, QUIET], [alerts(10, 65, 66, 100), alerts(50)], 3.0)
    assert (found.found, found.windows, found.false_alarms) == (1, 2, 2)


def test_the_best_threshold_is_taken():
    severities = [5.0 if row == 60 else 4.0 if row in (45, 50, 55) else 0.0 for row in range(200)]
    best = score([FILE], [severities], PROFILES["standard"])
    assert best.threshold == 5
    assert best.score == pytest.approx(50)
