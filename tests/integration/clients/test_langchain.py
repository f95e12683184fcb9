"""LangChain's models of OpenAI and Anthropic through the gateway: asked, streamed, and with tools."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.clients.conftest import CHAT_MODEL, CLAUDE, EMBEDDING_MODEL, KEY
from tests.integration.clients.provider import (
    ANSWER,
    CACHED_TOKENS,
    CALL_ID,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    VECTOR,
)

_WHY = "LangChain is not installed: make test-clients"
langchain_openai = pytest.importorskip("langchain_openai", reason=_WHY)
langchain_anthropic = pytest.importorskip("langchain_anthropic", reason=_WHY)
messages = pytest.importorskip("langchain_core.messages", reason=_WHY)
tools = pytest.importorskip("langchain_core.tools", reason=_WHY)


@pytest.fixture(params=["chat", "responses", "messages"])
def model(request: pytest.FixtureRequest, gateway: str) -> Any:
    """A chat model over each of the three APIs that LangChain speaks to us."""
    if request.param == "messages":
        return langchain_anthropic.ChatAnthropic(
            model=CLAUDE, api_key=KEY, base_url=gateway, max_retries=0, max_tokens=200
        )
    return langchain_openai.ChatOpenAI(
        model=CHAT_MODEL,
        api_key=KEY,
        base_url=f"{gateway}/v1",
        max_retries=0,
        use_responses_api=request.param == "responses",
        stream_usage=True,
    )


@pytest.fixture
def weather() -> Any:
    @tools.tool
    def weather(city: str) -> str:
        """Return the weather of a city."""
        return f"sunny in {city}"

    return weather


def test_a_model_answers_and_tells_what_it_used(model, prompt):
    reply = model.invoke(prompt)
    assert reply.text == ANSWER
    usage = reply.usage_metadata
    assert (usage["input_tokens"], usage["output_tokens"]) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert usage["input_token_details"]["cache_read"] == CACHED_TOKENS


def test_a_model_streams_pieces_that_add_up(model, prompt):
    pieces = list(model.stream(prompt))
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    assert len(pieces) > 1
    assert whole.text == ANSWER
    assert whole.usage_metadata["output_tokens"] == OUTPUT_TOKENS


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_is_called_and_its_result_taken(model, weather, prompt, streamed):
    turns = [messages.HumanMessage(prompt)]
    bound = model.bind_tools([weather])
    if streamed:
        reply, *more = bound.stream(turns)
        for piece in more:
            reply += piece
    else:
        reply = bound.invoke(turns)
    (call,) = reply.tool_calls
    assert (call["id"], call["name"], call["args"]) == (CALL_ID, "weather", {"city": "Paris"})
    turns += [reply, weather.invoke(call)]
    assert bound.invoke(turns).text == ANSWER


@pytest.mark.asyncio(loop_scope="module")  # it keeps connections for longer than a test
async def test_a_model_answers_asynchronously(model, prompt):
    assert (await model.ainvoke(prompt)).text == ANSWER


def test_texts_are_embedded(gateway, prompt):
    embeddings = langchain_openai.OpenAIEmbeddings(
        model=EMBEDDING_MODEL,
        api_key=KEY,
        base_url=f"{gateway}/v1",
        max_retries=0,
        check_embedding_ctx_length=False,  # its tokenizer would be fetched from the network
        model_kwargs={"encoding_format": "float"},
    )
    assert embeddings.embed_documents([prompt, "another"]) == [VECTOR, VECTOR]
