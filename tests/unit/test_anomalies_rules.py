"""What is new, unpriced, failing or no longer cached is told once, and small numbers say nothing."""

import random

import pytest

from spendstream.anomalies.detector import WARN
from spendstream.anomalies.finds import Finds
from spendstream.anomalies.rules import CacheCollapse, ColdStart, ErrorSpike, NewNames, Unpriced
from spendstream.windows import Measures


def shares(rule, level, windows, calls=200, seed=0):
    """Feed windows in which each call is a hit with probability `level`; return the scores."""
    rng = random.Random(seed)
    return [rule.update(sum(rng.random() < level for _ in range(calls)), calls) for _ in range(windows)]


def test_names_are_new_only_after_a_warm_up_and_only_once():
    rule = NewNames(warm_up=2)
    assert rule.update(["a"]) == []
    assert rule.update(["b"]) == []
    assert rule.update(["c", "a", "c"]) == ["c"]
    assert rule.update(["a", "b", "c"]) == []


def test_of_very_many_names_the_one_not_seen_for_longest_is_forgotten():
    rule = NewNames(warm_up=0)
    rule.update(["old", "busy"])
    for place in range(4095):
        rule.update([f"n{place}", "busy"])
    assert len(rule.seen) == 4096
    assert rule.update(["busy"]) == []
    assert rule.update(["old"]) == ["old"]


def test_a_model_without_a_price_is_told_again_only_after_it_had_one():
    rule = Unpriced()
    told = [rule.update("m", 5, unpriced) for unpriced in (5, 3, 0, 1, 1)]
    assert told == [True, False, False, True, False]


def test_a_window_without_events_is_no_sign_of_a_price():
    rule = Unpriced()
    assert [rule.update("m", events, unpriced) for events, unpriced in ((5, 5), (0, 0), (5, 5))] == [
        True,
        False,
        False,
    ]


def test_a_collapsed_cache_is_severe_at_once_and_a_weaker_one_is_not():
    rule = CacheCollapse()
    shares(rule, 0.6, 40)
    assert rule.update(100, 200).severity == 0
    assert rule.update(10, 200).severity > 8


def test_a_collapse_stays_severe_for_hours_and_becomes_how_things_are():
    rule = CacheCollapse()
    shares(rule, 0.6, 40)
    after = [score.severity for score in shares(rule, 0.05, 600, seed=1)]
    assert min(after[:20]) >= WARN
    assert max(after[-20:]) < WARN


@pytest.mark.parametrize(("rule", "level"), [(CacheCollapse, 0.3), (CacheCollapse, 0.9), (ErrorSpike, 0.02)])
def test_healthy_shares_are_silent(rule, level):
    found = [score for seed in range(5) for score in shares(rule(), level, 400, seed=seed) if score]
    assert not [score for score in found if score.severity >= WARN]


def test_a_share_that_always_swings_is_not_believed_to_be_a_coin():
    rng = random.Random(3)
    rule = CacheCollapse()
    scores = [rule.update(rng.choice([60, 400, 500]), 1000) for _ in range(300)]
    assert sum(score.severity >= WARN for score in scores[50:]) == 0


def test_few_calls_say_nothing():
    rule = CacheCollapse()
    shares(rule, 0.6, 40)
    assert rule.update(0, 29) is None
    assert rule.update(0, 0) is None


def test_errors_that_rise_are_severe_and_a_few_are_not():
    rule = ErrorSpike()
    shares(rule, 0.01, 40)
    assert rule.update(10, 200).severity == 0  # 5 %: more than three times the level, but hardly any
    assert rule.update(60, 200).severity > 8


def test_first_errors_ever_are_severe_though_their_level_was_zero():
    rule = ErrorSpike()
    shares(rule, 0.0, 40)
    assert WARN <= rule.update(100, 200).severity < 301


def test_in_a_cold_start_four_times_the_largest_value_is_a_warning():
    rule = ColdStart()
    assert [rule.update(value, 0) for value in (1.0, 2.0, 1.0, 1.5, 1.0, 1.0)] == [None] * 6
    assert rule.update(7.9, 0).severity < WARN
    assert rule.update(31.6, 0).severity == pytest.approx(WARN)


def test_a_price_that_rose_by_a_fifth_is_of_high_severity():
    finds = Finds.after(0)

    def window(place, price):
        tokens = 1000 + 37 * place
        cost = price * tokens
        return {"m": Measures(events=1, input_tokens=tokens, cost=cost, list_cost=cost)}

    found = [list(finds.update({"model": window(place, 100 if place < 5 else 120)})) for place in range(10)]
    assert [find.type for find in found[0]] == ["new_model"]
    assert [len(finds) for finds in found[1:]] == [0] * 6 + [1, 0, 0]
    (find,) = found[7]
    assert (find.type, find.expected, find.value, find.score) == ("price_change", 100e6, 120e6, 5.0)
