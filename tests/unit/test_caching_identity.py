"""Which requests are the same request."""

import json

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spendstream.caching.identity import (
    DIGEST_BYTES,
    LONGEST_QUESTION,
    NO_CONSEQUENCE,
    Shape,
    digest,
    question,
)

_SHAPES: tuple[Shape, ...] = ("chat", "text_completion", "embeddings", "responses", "messages")
_CHAT = {
    "model": "gpt-4",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is a watermark?"},
    ],
    "temperature": 0,
}

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
_bodies = st.dictionaries(
    st.sampled_from(["model", "messages", "input", "prompt", "system", "temperature", "x"]), _json, max_size=5
)
_names = st.text(max_size=12)


def _of(**changes):
    return digest("chat", _CHAT | changes, "acme")


@given(_bodies, _bodies, _names, _names, st.sampled_from(_SHAPES), st.sampled_from(_SHAPES))
def test_no_digest_is_found_under_two_tenants(body, other, tenant, stranger, shape, another):
    assume(tenant != stranger)
    assert digest(shape, body, tenant) != digest(another, other, stranger)


@given(_bodies, _names)
def test_no_shape_of_request_takes_anothers_answer(body, tenant):
    assert len({digest(shape, body, tenant) for shape in _SHAPES}) == len(_SHAPES)


@given(_bodies, st.sampled_from(_SHAPES), st.randoms())
def test_the_order_of_keys_and_the_spelling_of_the_json_do_not_matter(body, shape, random):
    def shuffled(value):
        if isinstance(value, dict):
            items = [(key, shuffled(each)) for key, each in value.items()]
            random.shuffle(items)
            return dict(items)
        return [shuffled(each) for each in value] if isinstance(value, list) else value

    spelled = json.dumps(shuffled(body), indent=random.choice([None, 2]), ensure_ascii=random.random() < 0.5)
    assert digest(shape, msgspec.json.decode(spelled), "acme") == digest(shape, body, "acme")


@given(st.sampled_from(sorted(NO_CONSEQUENCE)), _json)
def test_what_does_not_change_the_answer_is_left_out(name, value):
    assert _of(**{name: value}) == _of()


@given(st.text(max_size=12), _json)
def test_any_other_field_is_part_of_it_known_or_not(name, value):
    assume(name not in NO_CONSEQUENCE and name not in _CHAT)
    assert _of(**{name: value}) != _of()


@given(_json, _json)
def test_another_value_is_another_request(value, other):
    assume(msgspec.json.encode(value) != msgspec.json.encode(other))
    same_number = isinstance(value, int | float) and isinstance(other, int | float) and value == other
    same_digest = _of(top_p=value) == _of(top_p=other)
    both_numbers = type(value) is not bool and type(other) is not bool
    assert same_digest == (same_number and both_numbers)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "gpt-4o"},
        {"temperature": 0.1},
        {"top_p": 0.5},
        {"seed": 7},
        {"n": 2},
        {"max_tokens": 10},
        {"stop": ["\n"]},
        {"reasoning_effort": "high"},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tool_choice": "none"},
        {"response_format": {"type": "json_object"}},
        {"messages": [{"role": "system", "content": "Be long."}, _CHAT["messages"][1]]},
        {"messages": [_CHAT["messages"][0], {"role": "user", "content": "what is a watermark?"}]},
        {"messages": [_CHAT["messages"][0], {"role": "user", "content": "What is a watermark? "}]},
        {"messages": _CHAT["messages"][::-1]},
    ],
)
def test_what_changes_the_answer_is_part_of_it(changes):
    assert _of(**changes) != _of()


@pytest.mark.parametrize(
    ("shape", "one", "other"),
    [
        ("chat", {"temperature": 1}, {"temperature": 1.0}),
        (
            "chat",
            {"messages": [{"role": "user", "content": "x"}]},
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        ),
        ("messages", {"system": "x"}, {"system": [{"text": "x", "type": "text"}]}),
        (
            "responses",
            {"input": "x"},
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]},
        ),
        ("text_completion", {"prompt": "x"}, {"prompt": ["x"]}),
        ("embeddings", {"input": "x"}, {"input": ["x"]}),
    ],
)
def test_what_the_api_takes_for_the_same_is_the_same(shape, one, other):
    assert digest(shape, one, "acme") == digest(shape, other, "acme")


def test_two_parts_of_text_or_an_image_are_not_a_text():
    def of(content):
        return _of(messages=[{"role": "user", "content": content}])

    part = {"type": "text", "text": "x"}
    cached = part | {"cache_control": {"type": "ephemeral"}}
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    assert len({of("x"), of([part, part]), of([part, image]), of([cached]), of("xx")}) == 5


@given(_json)
def test_a_body_of_any_form_has_a_digest(value):
    for shape in _SHAPES:
        body = {"messages": value, "input": value, "prompt": value, "system": value, "big": 1e300}
        assert len(digest(shape, body, "acme")) == DIGEST_BYTES
        question(shape, body, "acme")


def test_a_question_is_the_last_text_of_the_user_and_the_rest_is_equal_for_another_text():
    other = _CHAT | {"messages": [_CHAT["messages"][0], {"role": "user", "content": "Say it again"}]}
    asked, again = question("chat", _CHAT, "acme"), question("chat", other, "acme")
    assert (asked.text, again.text) == ("What is a watermark?", "Say it again")
    assert asked.rest == again.rest
    assert asked.rest != digest("chat", _CHAT, "acme")


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "x"},
        {"temperature": 1},
        {"tools": []},
        {"messages": [_CHAT["messages"][1]]},
        {"messages": [{"role": "system", "content": "Be long."}, _CHAT["messages"][1]]},
    ],
)
def test_the_rest_has_all_but_the_text(changes):
    assert question("chat", _CHAT | changes, "acme").rest != question("chat", _CHAT, "acme").rest


def test_the_rest_has_the_tenant():
    assert question("chat", _CHAT, "acme").rest != question("chat", _CHAT, "umbrella").rest


def test_a_response_to_a_text_has_a_question():
    assert question("responses", {"input": "Why?"}, "acme").text == "Why?"


@pytest.mark.parametrize(
    "last",
    [
        {"role": "assistant", "content": "x"},
        {"role": "tool", "content": "x"},
        {"role": "user", "content": ""},
        {"role": "user", "content": "x" * (LONGEST_QUESTION + 1)},
        {"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "x"}]},
        "x",
    ],
)
def test_what_is_no_short_text_of_the_user_is_no_question(last):
    assert question("chat", {"messages": [last]}, "acme") is None


def test_embeddings_and_completions_have_no_question():
    assert question("embeddings", {"input": "x"}, "acme") is None
    assert question("text_completion", {"prompt": "x"}, "acme") is None
