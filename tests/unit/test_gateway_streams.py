"""Streamed replies: what each chunk is, and what a client pays that hangs up before the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.simulated import Failure, Piece
from gateway.usage import Usage
from spendstream.tokens import count_text
from tests.fixtures.calling import ANSWER, BUSY, COST, INPUT, Client, clients


@pytest.fixture
async def client() -> AsyncIterator[Callable[..., Client]]:
    async with clients() as make:
        yield make


class TestStreamed:
    async def test_a_text_that_reads_like_the_end_of_the_stream_does_not_end_it(self, client):
        said = ["It ends with", " data: [DONE]", "data: [DONE]", " and\ndata: [DONE]", " so."]
        one = client([*(Piece(text=text) for text in said), ANSWER[-1]])
        *chunks, end, done = (await one.post(stream=True)).sse
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "".join(said)
        assert (end["choices"][0]["finish_reason"], done) == ("stop", "DONE")

    async def test_chunks_open_with_the_role_and_close_with_the_reason_and_done(self, client):
        response = await client().post(stream=True)
        assert response.headers["content-type"].startswith("text/event-stream")
        *chunks, done = response.sse
        assert done == "DONE"
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        assert deltas == [
            {"role": "assistant", "content": ""},
            {"content": "Three"},
            {"content": " dollars"},
            {},
        ]
        assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
        assert len({chunk["id"] for chunk in chunks}) == 1
        assert not any("usage" in chunk for chunk in chunks)

    async def test_usage_comes_in_a_chunk_of_its_own_when_it_is_asked_for(self, client):
        response = await client().post(stream=True, stream_options={"include_usage": True})
        *chunks, last, done = response.sse
        assert done == "DONE"
        assert all(chunk["usage"] is None for chunk in chunks)
        assert last["choices"] == []
        assert last["usage"]["completion_tokens"] == 2

    async def test_each_piece_is_sent_when_it_comes(self, client):
        gate = asyncio.Event()
        one = client([ANSWER[0], gate, *ANSWER[1:]])
        request = asyncio.create_task(one.post(stream=True))
        await one.until(lambda: one.chunks == 1)
        assert not one.publisher.records
        gate.set()
        response = await request
        assert len(response.sse) == 5

    async def test_an_answer_without_text_is_a_complete_stream(self, client):
        response = await client([ANSWER[-1]]).post(stream=True)
        assert [type(chunk) for chunk in response.sse] == [dict, dict, str]

    async def test_a_client_that_hangs_up_pays_for_what_was_generated_until_then(self, client):
        one = client([*ANSWER[:2], asyncio.Event()])
        async with asyncio.timeout(10):
            response = await one.post(stream=True, hang_up_at=b"dollars")
        assert not response.complete
        event = one.event
        assert (event.usage_source, event.status, event.error_type) == (
            "interrupted",
            499,
            "client_disconnected",
        )
        assert (event.input_tokens, event.output_tokens) == (INPUT, count_text("gpt-4", "Three dollars"))
        assert event.cost == COST
        async with asyncio.timeout(10):
            await one.until(lambda: one.models.closed == 1)
        assert one.metric("ai_active_requests") == 0

    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
    async def test_a_client_that_hangs_up_pays_for_what_the_provider_said_until_then(self, client, path):
        """Anthropic says so at the beginning of what the prompt has used, also where a chat is translated."""
        told = Usage(
            input_tokens=1000, cache_read_tokens=700, cache_write_tokens=200, cache_write_1h_tokens=100
        )
        script = [Piece(text="Three", usage=told), ANSWER[1], asyncio.Event()]
        one = client(script, kind="anthropic")
        async with asyncio.timeout(10):
            await one.post(path=path, stream=True, max_tokens=9, hang_up_at=b"dollars")
        event = one.event
        assert (event.usage_source, event.status) == ("interrupted", 499)
        found = (event.input_tokens, event.cache_read_tokens, event.cache_write_tokens)
        assert (*found, event.cache_write_1h_tokens, event.output_tokens) == (1000, 700, 200, 100, 2)

    async def test_a_client_that_hangs_up_before_the_first_piece_pays_for_its_prompt(self, client):
        one = client([asyncio.Event()])
        async with asyncio.timeout(10):
            await one.post(stream=True, hang_up_after=0)
        assert (one.event.input_tokens, one.event.output_tokens) == (INPUT, 0)
        assert one.event.usage_source == "interrupted"
        assert one.event.time_to_first_token is None

    async def test_a_client_that_hangs_up_between_two_attempts_pays_nothing(self, client):
        one, gone = (
            client([Failure(503, "overloaded", "too much", retry_after=2)], retries=1),
            asyncio.Event(),
        )
        request = asyncio.create_task(one.post(stream=True, hang_up=gone))
        await one.until(lambda: one.metric("spendstream_gateway_errors_total", stage="provider") == 1)
        gone.set()
        await request
        assert (one.event.status, one.event.error_type) == (499, "client_disconnected")
        assert (one.event.retries, one.event.input_tokens, one.event.cost) == (0, 0, 0)

    @pytest.mark.parametrize("before", [0, 1])
    async def test_a_deserted_stream_is_read_to_its_end_if_it_is_to_be_drained(self, client, before):
        gate = asyncio.Event()
        one = client([*ANSWER[:before], gate, *ANSWER[before:]], deserted_streams="drain")
        request = asyncio.create_task(one.post(stream=True, hang_up_after=before))
        await one.until(lambda: bool(one.models.calls) and one.chunks == before)
        for _ in range(10):
            await asyncio.sleep(0)
        gate.set()
        async with asyncio.timeout(10):
            await request
        assert (one.event.usage_source, one.event.status) == ("interrupted", 499)
        assert (one.event.input_tokens, one.event.output_tokens, one.event.cost) == (INPUT, 2, COST)

    async def test_nobody_retries_for_a_client_that_has_hung_up(self, client):
        gate = asyncio.Event()
        one = client([gate, BUSY], retries=3, deserted_streams="drain")
        request = asyncio.create_task(one.post(stream=True, hang_up_after=0))
        await one.until(lambda: bool(one.models.calls))
        for _ in range(10):
            await asyncio.sleep(0)
        gate.set()
        async with asyncio.timeout(10):
            await request
        assert len(one.models.calls) == 1
        assert (one.event.error_type, one.event.cost) == ("client_disconnected", 0)

    async def test_a_gateway_that_is_stopped_journals_what_was_generated_until_then(self, client):
        one = client([ANSWER[0], asyncio.Event()])
        request = asyncio.create_task(one.post(stream=True))
        await one.until(lambda: one.chunks == 1)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert (one.event.error_type, one.event.output_tokens) == ("gateway_stopped", 1)
