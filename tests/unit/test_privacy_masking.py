"""Masking: nothing that is found is left, and everything comes back, however the answer is cut."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.privacy import Mask, find

KEY = "-----BEGIN PRIVATE KEY-----\nMIIEow==\n-----END PRIVATE KEY-----"
VALUES = (
    *("bob@example.com", "jane.doe@mail.example.org", "+49 30 1234567", "415-555-2671", "123-45-6789"),
    *("4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "192.168.17.4", "2001:db8::1:2", KEY),
    *("sk-proj-abcdEFGH1234567890abcdEFGH", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc"),
)
MARKERS = ("<EMAIL_1>", "<EMAIL_2>", "<IP_1>", "<WRITTEN_1>", "<", ">", "<EMAIL_", "1>", "\\", "\\n", "call ")
texts = st.lists(
    st.one_of(st.sampled_from(VALUES), st.sampled_from(MARKERS), st.text(max_size=5)), max_size=12
).map("".join)


@given(texts)
def test_what_is_masked_comes_back_as_it_was(text):
    mask = Mask()
    assert mask.unmasked(mask.text(text)) == text


@given(texts)
def test_nothing_that_is_found_is_left(text):
    assert find(Mask().text(text)) == []


@given(st.lists(st.sampled_from(VALUES), min_size=1, max_size=6))
def test_a_value_that_was_found_is_nowhere_in_the_masked_text(values):
    masked = Mask().text(" and then ".join(values))
    assert not any(value in masked for value in values)


def test_the_same_value_has_the_same_placeholder_in_all_texts_of_a_request():
    mask = Mask()
    assert mask.text("bob@example.com, ann@example.com") == "<EMAIL_1>, <EMAIL_2>"
    assert mask.text("10.1.2.3 ann@example.com") == "<IP_1> <EMAIL_2>"
    assert mask.counts == {"EMAIL": 2, "IP": 1}


def test_a_placeholder_that_the_caller_wrote_is_not_taken_for_somebodys_address():
    mask = Mask()
    masked = mask.text("What does <EMAIL_1> mean? Ask bob@example.com")
    assert masked == "What does <WRITTEN_1> mean? Ask <EMAIL_1>"
    assert mask.unmasked("<WRITTEN_1> is no <EMAIL_1>") == "<EMAIL_1> is no bob@example.com"
    assert mask.counts == {"EMAIL": 1}


def test_a_placeholder_that_the_model_made_up_stays():
    assert Mask().unmasked("<EMAIL_7>") == "<EMAIL_7>"


@given(st.lists(st.sampled_from((*VALUES, "<EMAIL_1>")), max_size=6))
def test_an_answer_that_was_unmasked_can_be_masked_as_it_was(values):
    """A provider that signs what its model thought wants it back unchanged, with what the model made up."""
    mask = Mask()
    answer = mask.text(" and ".join(values)) + " and x@example.org, <EMAIL_8>"
    assert mask.again(mask.unmasked(answer)) == answer


def test_a_mask_without_values_is_empty():
    mask = Mask()
    assert mask.text("nothing here") == mask.again("nothing here") == "nothing here"
    assert mask.is_empty
    mask.text("<EMAIL_1>")
    assert not mask.is_empty


def test_another_requests_placeholders_mean_nothing():
    Mask().text("bob@example.com")
    assert Mask().unmasked("<EMAIL_1>") == "<EMAIL_1>"


@pytest.mark.parametrize("text", ["data: bob@example.com", "data:text/plain,bob@example.com"])
def test_only_an_embedded_file_is_left_alone(text):
    assert "<EMAIL_1>" in Mask().document(text)


def test_a_document_is_masked_in_its_texts_alone():
    picture = "data:image/png;base64,AAAA"
    document = {
        "model": "gpt-4o",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "bob@example.com"}, {"url": picture}]},
            {"role": "tool", "content": json.dumps({"to": "bob@example.com\nann@example.com"})},
        ],
        "n": 1,
        "stream": None,
    }
    masked = Mask().document(document)
    assert masked["messages"][0]["content"] == [{"type": "text", "text": "<EMAIL_1>"}, {"url": picture}]
    assert json.loads(masked["messages"][1]["content"]) == {"to": "<EMAIL_1>\n<EMAIL_2>"}
    assert (masked["model"], masked["n"], masked["stream"]) == ("gpt-4o", 1, None)


@given(st.lists(st.one_of(st.sampled_from(VALUES), st.text(max_size=8)), max_size=6))
def test_json_in_a_text_stays_json_when_masked_and_when_unmasked(parts):
    mask, text = Mask(), json.dumps({"parts": parts})
    masked = mask.text(text)
    json.loads(masked)
    assert mask.unmasked(masked) == text


def test_json_within_json_within_a_text_stays_json():
    inner = json.dumps({"to": "a\nbob@example.com\n"})
    masked = Mask().text(json.dumps({"arguments": inner}))
    assert json.loads(json.loads(masked)["arguments"]) == {"to": "a\n<EMAIL_1>\n"}


def test_a_key_put_back_into_the_arguments_of_a_tool_is_escaped():
    mask = Mask()
    masked = mask.text(KEY)
    assert json.loads(mask.unmasked(json.dumps({"key": masked}), in_json=True)) == {"key": KEY}


@given(text=texts, cuts=st.lists(st.integers(0, 200), max_size=20), in_json=st.booleans())
def test_a_stream_is_unmasked_as_the_whole_would_be_wherever_it_is_cut(text, cuts, in_json):
    mask = Mask()
    masked = mask.text(text)
    unmasker = mask.unmasker(in_json=in_json)
    places = sorted({0, len(masked), *(cut for cut in cuts if cut < len(masked))})
    pieces = [masked[start:end] for start, end in pairwise(places)]
    said = [unmasker.feed(piece) for piece in pieces]
    assert "".join((*said, unmasker.flush())) == mask.unmasked(masked, in_json=in_json)
    assert unmasker.flush() == ""


@pytest.mark.parametrize("piece", ["no mask here", "a < b", "<b>", "<EMAIL_9"])
def test_a_stream_does_not_wait_for_what_is_no_placeholder(piece):
    mask = Mask()
    mask.text("bob@example.com")
    assert mask.unmasker().feed(piece) == piece


def test_a_stream_waits_only_for_the_rest_of_a_placeholder():
    mask = Mask()
    mask.text("bob@example.com")
    unmasker = mask.unmasker()
    assert [unmasker.feed(piece) for piece in ("Ask <EM", "AIL", "_1> no", "w <")] == [
        "Ask ",
        "",
        "bob@example.com no",
        "w ",
    ]
    assert unmasker.flush() == "<"
