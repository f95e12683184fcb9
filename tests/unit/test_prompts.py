"""Prompt optimisation: shorter, never different: protected parts survive, and meaning is guarded."""

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.prompts import Optimiser, Passage, Settings, lexical_similarity
from spendstream.prompts.protected import minified, protected

CODE = "```python\ndef f( x ):\n    return  x   # please\n```"
TABLE = json.dumps({"rows": [{"name": "a  b, please", "n": 1.50}, {"name": "", "n": None}]}, indent=4)
SENTENCE = "The warehouse in Hamburg ships every order within two days of payment. "
PIECES = (
    CODE,
    TABLE,
    *(
        "    indented  code\n",
        "`a  b`",
        '"quoted  please"',
        "don't",
        "not",
        "never",
        "3.50",
        "$1,200",
        "12:30",
    ),
    *("Please ", "could you please ", "Kindly ", "thanks in advance", "  ", "\n", "\n\n\n\n", "\t", " \n"),
    *(SENTENCE, SENTENCE.upper(), "Example 1: a is b.\n\n", "Example: c is d.\n\n", "1. ", "- [ ] task\n"),
    *("https://example.com/a  ", "word ", "words. ", "```", '"', "{", "[", "“", "\u2019"),
)
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=6)), max_size=14).map("".join)
chats = st.lists(
    st.builds(Passage, st.sampled_from(["user", "system", "assistant", "tool"]), texts), max_size=4
)
MOST = Settings(passes=("json", "repeats", "filler", "whitespace"), least_similarity=0.0, least_saving=0.0)


def words(text):
    return len(re.findall(r"\w+|\s|[^\w\s]", text))


def optimised(*chat, settings=MOST, similarity=lexical_similarity):
    passages = [Passage("user", each) if isinstance(each, str) else each for each in chat]
    return Optimiser(settings, count=words, similarity=similarity).optimised(passages)


def text_of(*chat, **options):
    return [passage.text for passage in optimised(*chat, **options).chat]


@given(chats)
def test_what_is_protected_survives_byte_for_byte(chat):
    after = "\n".join(passage.text for passage in optimised(*chat).chat)
    for passage in chat:
        for span in protected(passage.text):
            piece = passage.text[span.start : span.end]
            if span.kind == "json":
                assert minified(piece) in after or piece in after
            else:
                assert piece in after


@given(chats)
def test_no_text_gets_longer_or_empty_or_changes_its_place(chat):
    result = optimised(*chat)
    assert result.after <= result.before
    assert sum(result.saved.values()) == result.before - result.after
    assert len(result.chat) == len(chat)
    for before, after in zip(chat, result.chat, strict=True):
        assert before.role == after.role
        assert len(after.text) <= len(before.text)
        assert bool(after.text.strip()) == bool(before.text.strip())


@given(chat=chats, settings=st.sampled_from([MOST, Settings(), Settings(least_similarity=0)]))
def test_what_was_optimised_is_not_changed_again(chat, settings):
    once = optimised(*chat, settings=settings)
    assert optimised(*once.chat, settings=settings).chat == once.chat


@given(chats)
def test_what_assistants_and_tools_said_is_left_alone(chat):
    for before, after in zip(chat, optimised(*chat).chat, strict=True):
        if before.role in ("assistant", "tool"):
            assert before == after


@given(
    st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, min_size=1))
)
def test_minified_json_means_the_same(value):
    text = json.dumps({"value": value}, indent=2)
    assert json.loads(text_of(text)[0]) == {"value": value}
    assert text_of(f"Sum up: {text} now")[0].startswith("Sum up: {")


def test_json_loses_its_blanks_outside_of_strings():
    assert text_of(f"Sum this up:\n{TABLE}") == [
        'Sum this up:\n{"rows":[{"name":"a  b, please","n":1.5},{"name":"","n":null}]}'
    ]


def test_a_quote_that_is_left_open_before_json_does_not_end_within_it():
    assert text_of(f'"{TABLE}') == [f'"{TABLE}']


def test_filler_goes_and_the_sentence_begins_with_a_capital_again():
    assert text_of("Could you please list all ports? Thanks in advance!") == ["List all ports? "]
    assert text_of("List all ports, please.") == ["List all ports."]


def test_a_negation_within_a_polite_request_stays():
    assert text_of("Please do not delete it") == ["Do not delete it"]


def test_blanks_and_empty_lines_are_narrowed_and_indentation_is_kept():
    text = "One   two  \n\n\n\n  - three    four\n    x  =  1\n"
    assert text_of(text) == ["One two\n\n  - three four\n    x  =  1\n"]


def test_a_sentence_that_was_said_is_not_said_again_in_the_same_chat():
    system = Passage("system", f"{SENTENCE}Be brief.")
    assert text_of(system, f"Hello. {SENTENCE}How long does it take?") == [
        system.text,
        "Hello. How long does it take?",
    ]


def test_a_sentence_that_only_a_tool_said_may_be_said():
    assert text_of(Passage("tool", SENTENCE), SENTENCE)[1] == SENTENCE


def test_a_text_that_only_repeats_is_kept_since_no_message_may_be_empty():
    assert text_of(SENTENCE, SENTENCE) == [SENTENCE, SENTENCE]


def test_short_repetitions_are_meant():
    assert text_of("Yes. Yes. Yes.") == ["Yes. Yes. Yes."]


def test_examples_beyond_the_limit_go_if_the_similarity_allows_it():
    chat = (
        "Classify.\n\n" + "".join(f"Example {n}: text {n}\nLabel {n}\n\n" for n in range(1, 6)) + "Now this."
    )
    settings = Settings(passes=("examples",), examples=2)
    kept = "Classify.\n\nExample 1: text 1\nLabel 1\n\nExample 2: text 2\nLabel 2\n\nNow this."
    assert text_of(chat, settings=settings, similarity=lambda *_: 1.0) == [kept]
    result = optimised(chat, settings=settings)
    assert (result.reverted, result.chat[0].text) == (("examples",), chat), "numbers would be lost"


def test_a_pass_that_changes_the_meaning_is_reverted_and_the_others_stay():
    def similarity(_before, after):
        return 0.5 if "List" in after else 1.0

    result = optimised("Please list  all   ports   here", settings=Settings(), similarity=similarity)
    assert result.chat[0].text == "Please list all ports here"
    assert result.reverted == ("filler",)


def test_small_savings_are_not_worth_a_change():
    text = "word " * 200 + " please"
    assert optimised(text, settings=Settings()).chat[0].text == text
    assert optimised(text, settings=Settings()).saved == {}


def test_each_pass_says_what_it_saved():
    result = optimised(f"Please sum this up:  {TABLE}", settings=Settings())
    assert set(result.saved) == {"json", "filler"}
    assert result.saved["json"] > result.saved["filler"] > 0


@pytest.mark.parametrize(
    ("limit", "asked", "allowed"), [(None, None, None), (None, 9, 9), (5, None, 5), (5, 9, 5), (5, 3, 3)]
)
def test_an_answer_is_limited_to_the_smaller_of_both(limit, asked, allowed):
    assert Optimiser(Settings(max_tokens=limit), count=words).max_tokens(asked) == allowed


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Do not do it", "Do it"),
        ("Add 5 and 7", "Add and 7"),
        ('Say "yes" now', "Say now"),
        ("a `b` c", "a c"),
    ],
)
def test_no_similarity_is_left_when_something_protected_is_lost(before, after):
    assert lexical_similarity(before, after) == 0.0


def test_similarity_is_the_share_of_words_that_are_left():
    assert lexical_similarity("alpha beta gamma delta", "alpha beta gamma") == 0.75
    assert lexical_similarity("Please list ports", "list ports") == 1.0
    assert lexical_similarity("", "") == 1.0


HOSTILE = (
    *("a ", "a. ", "a\n", " ", "\n", " \n", "[", "{", "{ ", "[1", '"', "`", "```", "    a\n", "1", "1 "),
    *("please ", SENTENCE, "Example: a\n", "Example: a\n\n", "not ", "https://a ", '{"a":1} ', "don't. "),
)


@pytest.mark.parametrize("part", HOSTILE)
def test_four_times_the_text_takes_about_four_times_as_long_whatever_it_says(part):
    def cost(length):
        text, times = (part * length)[:length], []
        for _ in range(3):
            started = time.process_time()
            optimised(text)
            times.append(time.process_time() - started)
        return min(times)

    growth = min(cost(24_000) / max(cost(6_000), 0.001) for _ in range(2))
    assert growth < 12, "four is linear, sixteen quadratic"
