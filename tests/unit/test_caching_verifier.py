"""Taking questions apart, and comparing them."""

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.caching.embedding import DIMENSIONS, Embedding
from spendstream.caching.features import Rarity, certainty, features, wordings
from spendstream.caching.phrases import phrase, stem
from spendstream.caching.verifier import Verifier
from spendstream.caching.weights import Trees, load, save

_RARITY = Rarity({"price": 3.0}, 6.0)
_VERIFIER = Verifier()


def _embedding(text):
    """A made-up model: each word has a direction of its own, whatever its context."""
    words = text.split()
    ends = np.cumsum([len(word) + 1 for word in words])
    tokens = [np.random.default_rng(list(word.lower().encode())).normal(size=DIMENSIONS) for word in words]
    stacked = np.array(tokens, dtype=np.float32).reshape(-1, DIMENSIONS)
    mean = stacked.mean(axis=0) if words else np.ones(DIMENSIONS, dtype=np.float32)
    return Embedding(
        vector=(mean / np.linalg.norm(mean)).astype(np.float32),
        tokens=stacked,
        spans=[(int(end) - len(word) - 1, int(end) - 1) for word, end in zip(words, ends, strict=True)],
    )


def _phrase(text):
    return phrase(text, _embedding(text))


_texts = st.lists(
    st.sampled_from(
        ["What", "is", "the", "price", "of", "2", "cats", "Paris", "not", "don't", "\u00e9t\u00e9", "x"]
    ),
    min_size=1,
    max_size=8,
).map(" ".join)


def test_a_question_is_taken_apart():
    taken = _phrase("Why don\u2019t the 3 Cats in Paris sleep")
    assert taken.words == ("why", "don't", "the", "3", "cats", "in", "paris", "sleep")
    assert taken.numbers == {"3"}
    assert taken.names == {"cat", "pari"}
    assert taken.negations == 1
    assert taken.question == 2
    assert taken.vectors.shape == (8, DIMENSIONS)


@pytest.mark.parametrize(
    ("word", "inflected"),
    [("price", "prices"), ("city", "cities"), ("run", "running"), ("learn", "learned"), ("dog", "dog's")],
)
def test_inflections_have_one_stem(word, inflected):
    assert stem(word) == stem(inflected)


def test_words_that_the_model_did_not_read_have_no_direction():
    read = _embedding("What is this")
    taken = phrase("What is this about?", read)
    assert not taken.vectors[3].any()
    assert taken.vectors[2].any()


@given(_texts, _texts)
def test_the_order_of_two_questions_does_not_matter(one, other):
    a, b = _phrase(one), _phrase(other)
    np.testing.assert_allclose(features(a, b, _RARITY), features(b, a, _RARITY), atol=1e-5)
    assert sorted(wordings(a, b)) == sorted(wordings(b, a))
    first, second = (_VERIFIER.prepare(text, _embedding(text)) for text in (one, other))
    assert _VERIFIER.score(first, second) == pytest.approx(_VERIFIER.score(second, first), abs=0.3)


@given(_texts, _texts)
def test_every_pair_has_the_same_number_of_features_all_of_them_numbers(one, other):
    found = features(_phrase(one), _phrase(other), _RARITY)
    assert len(found) == len(features(_phrase("a"), _phrase("a"), _RARITY))
    assert not any(map(math.isinf, found))


@given(st.text(max_size=40))
def test_any_text_can_be_prepared_or_has_no_words(text):
    prepared = _VERIFIER.prepare(text, _embedding("x"))
    assert prepared is None or _VERIFIER.score(prepared, prepared) == math.inf


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("What is X?", "what is x", True),
        ("What is 12 times 7", "What is 13 times 7", False),
        ("The 3 best cats", "The three best cats", None),
        ("Is coffee good", "Is coffee not good", False),
        ("How do I enable it", "How do I disable it", False),
        ("Is more better or less", "Is less better or more", None),
        ("Where is the zoo of Paris", "Where is the zoo of Rome", False),
        ("Where is the zoo of Paris", "Where is the zoo", None),
        ("What is x", "Who is x", None),
    ],
)
def test_words_that_leave_no_doubt_are_not_left_to_the_trees(one, other, expected):
    a, b = (_VERIFIER.prepare(text, _embedding(text)) for text in (one, other))
    assert certainty(a.phrase, b.phrase) is certainty(b.phrase, a.phrase) is expected
    assert math.isinf(_VERIFIER.score(a, b)) == (expected is not None)


def test_words_in_common_apart_and_in_the_place_of_others_are_told():
    told = wordings(_phrase("What is the price of x"), _phrase("What is the cost of x"))
    assert {"- pric", "- cost", "= what", "~ cost pric", "? what is | what is"} <= set(told)
    assert "+ cheap" in wordings(_phrase("a car"), _phrase("a cheap car"))


def test_weights_are_the_same_after_a_file():
    file = io.BytesIO()
    save(load(), file)
    file.seek(0)
    again = load(file)
    assert again.rarity == load().rarity
    assert again.wordings == load().wordings
    assert again.thresholds == load().thresholds
    pair = [_VERIFIER.prepare(text, _embedding(text)) for text in ("What is x", "Why is x")]
    assert Verifier(again).score(*pair) == _VERIFIER.score(*pair)


def test_a_higher_precision_needs_a_higher_score():
    assert _VERIFIER.threshold("0.95") > _VERIFIER.threshold("0.90")


def test_trees_are_walked_to_their_leaves():
    tree = {
        "roots": np.array([0, 3], np.int32),
        "feature": np.array([1, 0, 0, 0], np.int16),
        "threshold": np.array([5, 0, 0, 0], np.float32),
        "left": np.array([1, 1, 2, 3], np.int32),
        "right": np.array([2, 1, 2, 3], np.int32),
        "missing_left": np.array([False, False, False, False]),
        "value": np.array([0, 1, 2, 10], np.float32),
    }
    trees = Trees(**tree, depth=1, base=100.0)
    assert trees.score([0, 5.0]) == 111
    assert trees.score([0, 5.1]) == 112
    assert trees.score([0, math.nan]) == 112
    missing = Trees(**(tree | {"missing_left": np.array([True] * 4)}), depth=1, base=100.0)
    assert missing.score([0, math.nan]) == 111
