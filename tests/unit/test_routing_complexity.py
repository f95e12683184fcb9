"""Complexity: what asks for more scores higher, on any text, and always the same."""

from importlib.resources import files

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.routing.complexity import Term, Weighing, complexity, shipped
from spendstream.routing.features import NAMES, features

EASY = ("hi", "What is 2+2?", "What is the capital of France?", "Translate 'good morning' to French", "你好")
HARD = (
    "Prove that there are infinitely many primes, and explain why each step of the proof holds.",
    "Refactor this and explain the trade-offs step by step:\n```python\ndef f(x):\n    return x\n```",
    (
        "Ann has twice as many coins as Bob, who has 3/4 as many as Carl. Carl gives 15% of his 1,200 coins "
        "to Dora, half of the rest to Eve, and then, if Eve has fewer than Ann, 20 more. Dora then sells all "
        "but twelve. How many coins do Ann, Bob, Carl, Dora and Eve have together after that?"
    ),
)


@pytest.mark.parametrize("easy", EASY)
@pytest.mark.parametrize("hard", HARD)
def test_a_hard_prompt_scores_higher_than_an_easy_one(easy, hard):
    judge = shipped()
    assert judge(easy) < 0.2
    assert judge(hard) > 0.5


@given(st.text(max_size=300))
def test_any_text_has_a_score_from_nought_to_one(text):
    judge = shipped()
    assert 0 <= judge(text) <= 1
    assert judge(text) == judge(text)
    assert all(value >= 0 for value in features(text))


@given(
    before=st.sampled_from(HARD + EASY),
    more=st.sampled_from([" Then compare both.", " Why?", "\n1. One\n2. Two", ", and 3/4 of 7"]),
)
def test_asking_for_more_never_makes_a_prompt_simpler(before, more):
    assert shipped()(before + more) >= shipped()(before)


def test_a_prompt_of_megabytes_is_judged_by_its_ends():
    ends = "Explain why this holds." + "x" * 5_000 + "Prove it."
    values = dict(zip(NAMES, features("Explain why." + "x 1, " * 10**6 + "Prove it."), strict=True))
    assert values["reasoning"] > 0
    assert values["commas"] < dict(zip(NAMES, features("x 1, " * 1_700), strict=True))["commas"]
    assert shipped()(ends) > shipped()("x" * 5_000)


def test_no_weight_that_is_shipped_is_negative():
    text = msgspec.json.decode(_shipped_bytes(), type=Weighing)
    assert min(term.weight for term in text.terms.values()) >= 0
    assert {name for name, term in text.terms.items() if not term.learned} == {"reasoning", "items", "code"}


def test_weights_that_miss_a_feature_are_refused():
    with pytest.raises(ValueError, match="a term with a positive scale for each"):
        Weighing(terms={"length": Term(centre=0, scale=1, weight=1, learned=True)}, steepness=1)


def test_a_single_feature_cannot_outweigh_all_others():
    terms = {name: Term(centre=0, scale=1, weight=0, learned=True) for name in NAMES}
    judge = complexity(
        Weighing(terms=terms | {"commas": Term(centre=0, scale=0.1, weight=1, learned=True)}, steepness=1)
    )
    assert judge("," * 100) == judge("," * 1000)


def _shipped_bytes():
    return files("spendstream.routing").joinpath("complexity.json").read_bytes()
