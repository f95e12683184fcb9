"""The index of questions: whose it finds, how many it keeps, what it forgets."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spendstream.caching.embedding import DIMENSIONS, Embedding
from spendstream.caching.semantic import Asked, SemanticIndex
from spendstream.caching.verifier import Verifier
from spendstream.caching.weights import load

_VERIFIER = Verifier()


class _Lenient(Verifier):
    """Lets everything through: what is kept apart here is not kept apart by the verifier."""

    def threshold(self, precision):  # noqa: ARG002
        return -np.inf


def _prepared(direction=0, text="What is it?"):
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    vector[direction] = 1
    embedding = Embedding(vector=vector, tokens=vector[None], spans=[(0, 4)])
    return _VERIFIER.prepare(text, embedding)


def _asked(tenant="acme", rest=b"rest", direction=0):
    return Asked(tenant, rest, _prepared(direction))


def _index(max_bytes=1 << 20, most=1024):
    return SemanticIndex(_Lenient(load()), max_bytes, most_per_rest=most)


@given(st.text(max_size=5), st.text(max_size=5), st.binary(max_size=4), st.binary(max_size=4))
def test_only_a_question_of_the_same_tenant_with_the_same_rest_is_found(tenant, other, rest, another):
    index = _index()
    index.add(_asked(tenant, rest), b"digest")
    found = index.find(_asked(other, another))
    assert (found is not None) == ((tenant, rest) == (other, another))


def test_a_question_that_was_asked_is_found_with_its_likeness():
    index = _index()
    index.add(_asked(), b"digest")
    near = index.find(_asked())
    assert near.digest == b"digest"
    assert near.similarity == 1.0


def test_a_question_that_points_elsewhere_is_not_found():
    index = _index()
    index.add(_asked(direction=1), b"digest")
    assert index.find(_asked(direction=0)) is None


def test_what_the_verifier_refuses_is_not_found():
    index = SemanticIndex(_VERIFIER, 1 << 20)
    index.add(_asked(), b"digest")
    assert index.find(Asked("acme", b"rest", _prepared(text="What is it not?"))) is None
    assert index.find(_asked()) is not None


def test_a_question_is_forgotten_by_its_digest():
    index = _index()
    index.add(_asked(), b"one")
    index.forget(_asked(), b"other")
    assert len(index) == 1
    index.forget(_asked(), b"one")
    assert index.find(_asked()) is None
    assert index.taken == 0


def test_a_purge_forgets_a_tenant_or_all():
    index = _index()
    for tenant in ("acme", "umbrella", "initech"):
        index.add(_asked(tenant), b"digest")
    index.purge("acme")
    assert [index.find(_asked(tenant)) is None for tenant in ("acme", "umbrella")] == [True, False]
    index.purge(None)
    assert len(index) == index.taken == 0


def test_the_same_request_has_one_place():
    index = _index()
    for _ in range(5):
        index.add(_asked(), b"digest")
    assert len(index) == 1


def test_of_one_rest_the_oldest_questions_make_room():
    index = _index(most=6)
    for direction in range(10):
        index.add(_asked(direction=direction), bytes([direction]))
    found = [index.find(_asked(direction=direction)) is not None for direction in range(10)]
    assert found == [False] * 4 + [True] * 6


def test_of_all_rests_the_one_not_asked_for_longest_makes_room():
    index = _index(max_bytes=4 * (_prepared().size + 4 * DIMENSIONS))
    for rest in (b"a", b"b", b"c", b"d"):
        index.add(_asked(rest=rest), rest)
    index.find(_asked(rest=b"a"))
    index.add(_asked(rest=b"e"), b"e")
    assert [index.find(_asked(rest=rest)) is not None for rest in (b"a", b"b", b"c", b"d", b"e")] == [
        True, False, True, True, True,
    ]  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "find", "forget", "purge"]),
            st.sampled_from(["acme", "umbrella"]),
            st.sampled_from([b"a", b"b"]),
            st.integers(0, 9),
        ),
        max_size=60,
    )
)
def test_memory_is_bounded_and_counted_whatever_happens(steps):
    most = 8 * (_prepared().size + 4 * DIMENSIONS)
    index = _index(max_bytes=most, most=5)
    for verb, tenant, rest, direction in steps:
        asked, digest = _asked(tenant, rest, direction), bytes([direction])
        if verb == "add":
            index.add(asked, digest)
        elif verb == "find":
            index.find(asked)
        elif verb == "forget":
            index.forget(asked, digest)
        else:
            index.purge(tenant)
        assert 0 <= index.taken <= most
        assert (index.taken == 0) == (len(index) == 0)
    index.purge(None)
    assert index.taken == 0
