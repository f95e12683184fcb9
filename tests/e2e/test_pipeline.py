"""Real traces, real clients and broken events through all parts at once, up to what a query shows.

PUBLIC_DATA, or a folder shared/data beside the repository, holds azure-llm-2023, mooncake, bitbrains.
"""

from __future__ import annotations

import csv
import gzip
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest

from spendstream.topics import DEAD_LETTERS, USAGE_TOKENS
from tests.fixtures.kafka import read_topic
from tests.fixtures.stack import BROKERS, Pipeline, kafka_of, running, send, until
from tests.fixtures.traces import trace

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("pipeline")]

QUERYABLE_S = 2.0


@pytest.fixture(scope="module", params=BROKERS)
def pipeline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """All parts, for all tests here: each looks at its own events."""
    directory = tmp_path_factory.mktemp("pipeline")
    with running(directory, "worker", "sink", "gateway", kafka=kafka_of(request)) as fresh:
        yield fresh


def everything(pipeline: Pipeline, table: str, org: str) -> list[Any]:
    """Return a summary of all rows and windows of an org, to see whether anything changed."""
    return [
        pipeline.rows(f"SELECT count(), sum(cityHash64(*)) FROM {table} WHERE org = '{org}'"),
        sorted(
            pipeline.rows(
                f"SELECT window_seconds, count(), sum(events), sum(cost) FROM cost_window "
                f"WHERE org = '{org}' GROUP BY window_seconds"
            )
        ),
    ]


def test_azure_s_calls_land_to_the_picodollar_and_only_once(pipeline: Pipeline) -> None:
    path, org = trace("azure-llm-2023/AzureLLMInferenceTrace_conv.csv.gz"), "azure"
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    tokens_in = sum(int(row["ContextTokens"]) for row in rows)
    tokens_out = sum(int(row["GeneratedTokens"]) for row in rows)
    dollars = (tokens_in * Decimal("0.03") + tokens_out * Decimal("0.06")) / 1000
    summary = pipeline.replay(path, "--org", org)
    assert summary["events"] == len(rows) == 19_366
    [[landed, *found, cost]] = pipeline.rows(
        "SELECT count(), sum(input_tokens), sum(output_tokens), sum(cost) "
        f"FROM token_usage WHERE org = '{org}'"
    )
    assert (landed, *found, Decimal(cost)) == (19_366, tokens_in, tokens_out, dollars)
    before = everything(pipeline, "token_usage", org)
    assert [(size, events, Decimal(cost)) for size, _, events, cost in before[1]] == [
        (size, 19_366, dollars) for size in (60, 3600, 86_400)
    ]
    pipeline.replay(path, "--org", org)
    assert everything(pipeline, "token_usage", org) == before


def test_mooncake_s_calls_land_with_what_they_read_from_the_cache(pipeline: Pipeline) -> None:
    path, org = trace("mooncake/conversation_trace.jsonl.gz"), "mooncake"
    with gzip.open(path, "rt") as file:
        rows = [json.loads(line) for line in file]
    summary = pipeline.replay(path, "--org", org)
    sums = pipeline.rows(
        "SELECT count(), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens) "
        f"FROM token_usage WHERE org = '{org}'"
    )
    assert sums == [
        [
            12_031,
            sum(row["input_length"] for row in rows),
            sum(row["output_length"] for row in rows),
            summary["cache_read_tokens"],
        ]
    ]


@pytest.mark.slow
def test_bitbrains_machines_land_all(pipeline: Pipeline, request: pytest.FixtureRequest) -> None:
    path, org = trace("bitbrains/rnd-2013-08-sample.csv.gz"), "bitbrains"
    if "apache" in request.node.name:
        pytest.skip("its 361,969 rows go through the embedded broker; here they would only take time")
    summary = pipeline.replay(path, "--org", org)
    [[landed, cost]] = pipeline.rows(f"SELECT count(), sum(cost) FROM pod_usage WHERE org = '{org}'")
    assert (landed, Decimal(cost)) == (summary["events"], Decimal(summary["cost_usd"]))
    assert landed > 361_969  # samples that cross a full hour are two
    windows = everything(pipeline, "pod_usage", org)[1]
    assert [(size, events, Decimal(cost)) for size, _, events, cost in windows] == [
        (size, landed, Decimal(summary["cost_usd"])) for size in (60, 3600, 86_400)
    ]


@pytest.mark.parametrize("stream", [False, True], ids=["completion", "stream"])
def test_a_call_of_the_official_client_can_be_queried_within_two_seconds(
    pipeline: Pipeline, *, stream: bool
) -> None:
    user = f"client-{stream}"
    headers = {"x-spendstream-team": "search", "x-spendstream-user": user}
    with openai.OpenAI(
        api_key="none", base_url=f"{pipeline.gateway}/v1", max_retries=5, default_headers=headers
    ) as client:
        reply = client.chat.completions.create(
            model="gpt-3.5-turbo",
            messages=[{"role": "user", "content": "What does it cost?"}],
            max_tokens=20,
            stream=stream,
            **({"stream_options": {"include_usage": True}} if stream else {}),
        )
        usage = [*reply][-1].usage if stream else reply.usage
    replied = time.monotonic()
    query = (
        f"SELECT input_tokens, output_tokens, cost FROM token_usage WHERE user = '{user}' AND status = 200"
    )
    [row] = until(lambda: pipeline.rows(query), "the event can be queried")
    assert time.monotonic() - replied < QUERYABLE_S
    cost = usage.prompt_tokens * Decimal("0.001") / 1000 + usage.completion_tokens * Decimal("0.002") / 1000
    assert (*row[:2], Decimal(row[2])) == (usage.prompt_tokens, usage.completion_tokens, cost)


async def test_broken_events_become_dead_letters_with_reason_and_bytes_and_the_rest_lands(
    pipeline: Pipeline,
) -> None:
    def event(number: int, **fields: Any) -> bytes:
        identity = f"00000000-0000-7000-8000-{number:012}"
        good = {
            "v": 1,
            "id": identity,
            "event_time": 1_740_787_200_000_000,
            "source": "test",
            "org": "broken",
        }
        return json.dumps({**good, "model": "gpt-4", "input_tokens": 1, **fields}).encode()

    broken = {
        event(1)[:-20]: "truncated",
        b"\xff\xfe not even text": "malformed",
        b"": "truncated",
        event(2, input_tokens="many"): "Expected `int`, got `str` - at `$.input_tokens`",
        event(3, input_tokens=-5): "Expected `int` >= 0 - at `$.input_tokens`",
        event(4, model="x" * (5 << 20)): "at most 1048576 are accepted",
        event(5, v=2): "schema version 2: this release reads up to 1",
        event(6, event_time=4_000_000_000_000_000): "more than an hour ahead of the broker's clock",
    }
    good = [event(number) for number in range(100, 120)]
    values = [*good[:10], *broken, *good[10:]]
    await send(pipeline.kafka, USAGE_TOKENS.name, [(b"a team", value) for value in values])
    until(lambda: pipeline.value("SELECT count() FROM token_usage WHERE org = 'broken'") == 20, "good ones")
    until(
        lambda: pipeline.value("SELECT count() FROM dead_letter") == len(broken), "dead letters in ClickHouse"
    )

    shown = pipeline.rows("SELECT lower(hex(value)), reason, topic, key FROM dead_letter")
    buried = await read_topic(pipeline.kafka, DEAD_LETTERS.name)
    for value, reason in broken.items():
        [(_, why, topic, key)] = [row for row in shown if row[0] == value.hex()]
        assert (reason in why, topic, key) == (True, USAGE_TOKENS.name, "a team"), why
        [headers] = [dict(letter.headers) for letter in buried if letter.value == value]
        assert headers["spendstream-reason"].decode() == why
        assert headers["spendstream-topic"].decode() == USAGE_TOKENS.name
        assert headers["spendstream-key"] == b"a team"
