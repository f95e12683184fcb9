"""Token counts: tiktoken's, without its downloads and without its limits."""

from __future__ import annotations

import gzip
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream import tokens
from spendstream.errors import ConfigError
from spendstream.tokens import ChatMessage, ContentPart, count_chat, count_text, encoding_name, split_text

MODELS = ("gpt-4", "gpt-4o")  # one for each encoding
PROSE = (
    "It isn't the 1,024 tokens (or 2.5 MB) that cost: it's the café's naïve retries!\r\n\n"
    "  Ça va? 你好，世界。\t"  # noqa: RUF001 - Chinese has its own comma
)


def whole(model: str, text: str) -> int:
    return len(tokens._encoding(encoding_name(model)).encode_ordinary(text))


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo-2024-04-09", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("gpt-4o-mini", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("gpt-oss-120b", "o200k_base"),
        ("claude-haiku", "o200k_base"),
        ("text-davinci-003", "o200k_base"),
        ("no-such-model", "o200k_base"),
    ],
)
def test_each_model_has_its_encoding_and_unknown_ones_the_estimate(model, encoding):
    assert encoding_name(model) == encoding


@pytest.mark.parametrize(
    ("model", "text", "count"),
    [
        ("gpt-4", "", 0),
        ("gpt-4", "hello world", 2),
        ("gpt-4", "antidisestablishmentarianism", 6),
        ("gpt-4", "お誕生日おめでとう", 9),
        ("gpt-4o", "お誕生日おめでとう", 8),
        ("gpt-4o", "2 + 2 = 4", 7),
    ],
)
def test_counts_are_the_published_examples(model, text, count):
    assert count_text(model, text) == count


def test_what_looks_like_a_special_token_is_ordinary_text():
    assert count_text("gpt-4", "<|endoftext|>") > 1


def test_half_a_surrogate_pair_is_counted_and_not_an_error():
    assert count_text("gpt-4", "a\ud83d") >= 1


def test_a_chat_counts_three_for_each_message_one_for_each_name_and_three_for_the_reply():
    chat = [
        ChatMessage("system", "hello world"),
        ChatMessage("user", "hello world", "world"),
    ]
    system = 3 + 1 + 2
    user = 3 + 1 + 2 + (1 + 1)
    assert count_chat("gpt-4", chat) == system + user + 3


def test_parts_of_a_message_count_their_text():
    parts = [ContentPart("text", "hello world"), ContentPart("image_url")]
    assert count_chat("gpt-4", [ChatMessage("user", parts)]) == 3 + 1 + 2 + 3
    assert count_chat("gpt-4", [ChatMessage("assistant", None)]) == 3 + 1 + 3


@pytest.mark.parametrize("model", MODELS)
@given(text=st.text(max_size=300) | st.lists(st.sampled_from([*PROSE, *PROSE.split()])).map("".join))
def test_any_text_of_ordinary_length_counts_exactly_as_tiktoken_does(model, text):
    assert count_text(model, text) == whole(model, text)


@pytest.mark.parametrize("model", MODELS)
@given(
    words=st.lists(
        st.text(max_size=8) | st.sampled_from([*PROSE, "isn't ", "x'S ", "\u0301", "3.14 "]), max_size=60
    ),
    limit=st.integers(20, 80),
)
def test_a_cut_at_the_end_of_a_word_changes_no_count(model, words, limit):
    text = "".join(words)
    chunks = list(split_text(text, limit))
    assert "".join(chunks) == text
    assert all(len(chunk) <= limit for chunk in chunks)
    ends_of_words = all(left[-1].isalnum() and right[0] in tokens._BREAKS for left, right in pairwise(chunks))
    if ends_of_words:
        assert sum(whole(model, chunk) for chunk in chunks) == whole(model, text)


@pytest.mark.parametrize("model", MODELS)
def test_long_ordinary_text_is_exact(model):
    text = PROSE * 6000
    assert len(text) > 4 * tokens._CHUNK
    assert count_text(model, text) == whole(model, text)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("run", ["a", "A", "!", "\n", "中", "ab", "=-", "\u200b", "é!"])
def test_a_run_without_end_is_cut_and_the_count_stays_within_a_few_tokens(model, run):
    text = (run * 350_000)[:350_000]
    assert abs(count_text(model, text) - whole(model, text)) <= 4 * 3


@pytest.mark.parametrize("text", ["a" * 10**6, " " * 10**6 + "x"])
def test_a_megabyte_of_one_character_goes_to_tiktoken_in_bounded_pieces(text, monkeypatch):
    handed = []
    monkeypatch.setattr(
        tokens, "split_text", lambda *given: (handed.append(len(one)) or one for one in split_text(*given))
    )
    assert count_text("gpt-4", text) > 0
    assert max(handed) <= tokens._CHUNK
    assert sum(handed) == len(text)


def test_threads_that_come_first_together_load_an_encoding_once(monkeypatch):
    loads = []
    definition = tokens._definition
    monkeypatch.setattr(tokens, "_encodings", {})
    monkeypatch.setattr(tokens, "_definition", lambda name: loads.append(name) or definition(name))
    with ThreadPoolExecutor(8) as pool:
        counts = set(pool.map(lambda _: count_text("gpt-4", "hello world"), range(32)))
    assert counts == {2}
    assert loads == ["cl100k_base"]


def test_neither_the_network_nor_the_large_extension_is_touched():
    code = (
        "import socket, sys\n"
        "socket.socket = socket.create_connection = socket.getaddrinfo = None\n"
        "from spendstream.tokens import count_text\n"
        "assert count_text('gpt-4', 'hello world') == count_text('gpt-4o', 'hello world') == 2\n"
        "assert 'bpe_openai' not in sys.modules\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestVocabulary:
    @pytest.fixture(autouse=True)
    def _elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tokens, "_encodings", {})
        monkeypatch.setattr(tokens, "_directory", lambda: tmp_path)

    def test_that_is_missing_is_an_error_that_says_what_to_install(self):
        with pytest.raises(
            ConfigError, match=r"cl100k_base.*cannot read.*install the package bpe-openai again"
        ):
            count_text("gpt-4", "x")

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (gzip.compress(b"aGk= 0\n", mtime=0), "SHA-256 differs"),
            (b"not gzip", "cannot read"),
            (gzip.compress(b"aGk= 0\n" * 1000, mtime=0)[:30], "cannot read"),
        ],
    )
    def test_that_is_damaged_is_an_error_and_never_used(self, tmp_path, content, reason):
        (tmp_path / "cl100k_base.tiktoken.gz").write_bytes(content)
        with pytest.raises(ConfigError, match=reason):
            count_text("gpt-4", "x")


def test_without_the_package_the_error_names_it(monkeypatch):
    monkeypatch.setattr(tokens, "_VOCABULARIES", "no_such_package")
    monkeypatch.setattr(tokens, "_encodings", {})
    with pytest.raises(ConfigError, match="vocabularies are not installed"):
        count_text("gpt-4", "x")
