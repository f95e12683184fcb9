"""The recording that all peers read: made-up calls of models by several teams; a seed names the events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from spendstream.events import TokenUsage
from spendstream.ids import derived_id
from spendstream.pricing import PriceBook, simulation_book

__all__ = ["recording"]

_START = 1_704_103_200_000_000  # 2024-01-01T10:00:00Z
_SPAN = 3_600_000_000  # event times spread over an hour, whatever the number of events
_TEAMS = tuple(f"team-{number:02}" for number in range(16))
_PROJECTS = ("assistant", "search")
_MODELS = (("openai", "gpt-4"), ("openai", "gpt-3.5-turbo"), ("anthropic", "claude-haiku"))
_FAILED = 0.01  # the share of calls that the provider refuses


def recording(events: int, *, seed: int = 1, start: int = _START, span: int = _SPAN) -> Iterator[TokenUsage]:
    """Yield `events` events in the order of their times, all priced, over `span` microseconds."""
    random, book = Random(seed), simulation_book()  # noqa: S311  # traffic need not be secret
    for row in range(events):
        yield _call(random, book, start + span * row // events, row)


def _call(random: Random, book: PriceBook, time: int, row: int) -> TokenUsage:
    provider, model = random.choice(_MODELS)
    read, written = random.randrange(20, 4000), random.randrange(1, 900)
    cached = random.choice((0, 0, read // 2))
    cost = book.rates(provider, model, time).cost(read, written, cached, 0)
    team = random.choice(_TEAMS)
    return TokenUsage(
        id=derived_id(time, b"benchmark", row),
        event_time=time,
        source="gateway-1",
        org="acme",
        team=team,
        project=random.choice(_PROJECTS),
        environment="production",
        service="checkout",
        user=f"{team}-{random.randrange(40):02}",
        key_id=f"key-{team}",
        provider=provider,
        model=model,
        input_tokens=read,
        output_tokens=written,
        cache_read_tokens=cached,
        cost=cost,
        list_cost=cost,
        duration=random.randrange(80_000, 9_000_000),
        time_to_first_token=random.randrange(20_000, 900_000),
        status=_pick(random, (500,), otherwise=200),
        cache_outcome="none",
    )


def _pick(random: Random, rare: Sequence[int], *, otherwise: int) -> int:
    return random.choice(rare) if random.random() < _FAILED else otherwise
