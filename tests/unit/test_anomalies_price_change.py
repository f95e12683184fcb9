"""Unit prices are told from what events cost, exactly; a change is told once, from three events on."""

import random
from fractions import Fraction
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from spendstream.anomalies.price_change import KINDS, Priced, PriceWatch
from spendstream.events import TokenUsage
from spendstream.pricing.book import Rates
from spendstream.windows import Measures

OLD = Rates(input=2_500_000_000_000, output=10_000_000_000_000, cache_read=1_250_000_000_000, cache_write=0)
NEW = Rates(input=3_000_000_000_000, output=10_000_000_000_000, cache_read=1_250_000_000_000, cache_write=0)


def calls(rates, count, seed=0, *, cached=True):
    """Return priced events of calls that are all different."""
    rng = random.Random(seed)
    events = []
    for _ in range(count):
        plain, out, read = rng.randint(1, 9000), rng.randint(1, 2000), rng.randint(1, 5000) * cached
        cost = rates.cost(plain + read, out, read, 0)
        events.append(Priced(model="openai/gpt-4o", tokens=(plain, out, read, 0, 0), cost=cost))
    return events


def changes(watch, events):
    return [(place, found) for place, event in enumerate(events) if (found := watch.update(event))]


def test_a_changed_price_is_told_at_the_third_event_with_old_and_new():
    ((place, found),) = changes(PriceWatch(), [*calls(OLD, 10), *calls(NEW, 10, 1)])
    assert place == 12
    assert found.old == {"input": OLD.input}
    assert found.new == {"input": NEW.input}
    assert found.model == "openai/gpt-4o"


def test_all_prices_can_change_at_once():
    dearer = Rates(input=2 * 10**12, output=3 * 10**12, cache_read=10**11, cache_write=0)
    ((_, found),) = changes(PriceWatch(), [*calls(OLD, 10), *calls(dearer, 10, 2)])
    assert found.new == {"input": 2 * 10**12, "output": 3 * 10**12, "cache_read": 10**11}


def test_two_strange_events_are_no_change():
    assert changes(PriceWatch(), [*calls(OLD, 9), *calls(NEW, 2), *calls(OLD, 9, 1), *calls(NEW, 2)]) == []


def test_a_kind_of_tokens_that_is_seen_for_the_first_time_is_no_change():
    watch = PriceWatch()
    assert changes(watch, [*calls(OLD, 9, cached=False), *calls(OLD, 9, 1)]) == []
    assert watch.models["openai/gpt-4o"].prices["cache_read"] == OLD.cache_read


def test_calls_that_are_all_alike_leave_open_which_kind_changed_until_patience_ends():
    alike = [Priced(model="m", tokens=(1000, 100, 0, 0, 0), cost=OLD.cost(1000, 100)) for _ in range(20)]
    dearer = [Priced(model="m", tokens=(1000, 100, 0, 0, 0), cost=2 * OLD.cost(1000, 100)) for _ in range(20)]
    learned = [
        Priced(model="m", tokens=event.tokens, cost=event.cost) for event in calls(OLD, 5, cached=False)
    ]
    ((place, found),) = changes(PriceWatch(), [*learned, *alike, *dearer])
    assert place == 25 + 7
    assert found.new == {"input": 2 * OLD.input, "output": 2 * OLD.output}


def test_prices_that_differ_from_call_to_call_are_no_prices():
    rng = random.Random(1)
    wild = [Priced(model="m", tokens=(100, 10, 0, 0, 0), cost=rng.randint(1, 10**12)) for _ in range(200)]
    assert changes(PriceWatch(), wild) == []


def test_models_have_prices_of_their_own():
    watch = PriceWatch()
    for one, other in zip(calls(OLD, 10), calls(NEW, 10), strict=True):
        assert watch.update(one) is None
        assert watch.update(Priced(model="other", tokens=other.tokens, cost=other.cost)) is None


def test_a_window_that_mixes_old_and_new_prices_does_not_hide_the_change():
    def window(events):
        return Priced(
            model="m",
            tokens=tuple(map(sum, zip(*(event.tokens for event in events), strict=True))),
            cost=sum(event.cost for event in events),
            events=len(events),
        )

    windows = [window(calls(OLD, 50, seed)) for seed in range(8)]
    windows += [window([*calls(OLD, 25, 9), *calls(NEW, 25, 10)])]
    windows += [window(calls(NEW, 50, seed)) for seed in range(20, 28)]
    ((place, found),) = changes(PriceWatch(), windows)
    assert place == 11
    assert found.new == {"input": NEW.input}


def test_the_memory_of_models_is_bounded_and_can_be_stored():
    watch, other = PriceWatch(), PriceWatch()
    for place in range(2000):
        watch.update(Priced(model=f"m{place}", tokens=(1, 1, 0, 0, 0), cost=5))
    assert len(watch.models) == 1024
    other.restore(watch.snapshot())
    assert other == watch


def usage(**fields):
    return TokenUsage(id=UUID(int=1), event_time=0, source="s", provider="openai", model="gpt-4", **fields)


def test_events_that_say_nothing_of_prices_are_left_out():
    assert Priced.of_event(usage(input_tokens=10)) is None
    assert Priced.of_event(usage(cost=0)) is None
    assert Priced.of_event(usage(input_tokens=10, cost=0, usage_source="cached")) is None
    assert Priced.of_window("m", Measures(events=2, unpriced=1, input_tokens=10, cost=5)) is None


def test_cache_tokens_are_taken_out_of_the_input_and_list_cost_goes_first():
    event = usage(
        input_tokens=10, output_tokens=3, cache_read_tokens=4, cache_write_tokens=1, list_cost=9, cost=5
    )
    assert Priced.of_event(event) == Priced(model="openai/gpt-4", tokens=(5, 3, 4, 1, 0), cost=9)


prices = st.integers(1, 10**5).map(lambda digits: digits * 10**8)


@given(old=st.tuples(prices, prices), new=st.tuples(prices, prices), seed=st.integers(0, 10**6))
def test_any_two_prices_are_told_apart_exactly(old, new, seed):
    watch = PriceWatch()
    before, after = (Rates(input=i, output=o, cache_read=0, cache_write=0) for i, o in (old, new))
    found = changes(
        watch, [*calls(before, 12, seed, cached=False), *calls(after, 12, seed + 1, cached=False)]
    )
    known = watch.models["openai/gpt-4o"].prices
    assert (known["input"], known["output"]) == new
    told = {kind: price for _, change in found for kind, price in change.new.items()}
    assert told == {kind: n for kind, o, n in zip(KINDS, old, new, strict=False) if o != n}


@given(tokens=st.tuples(*[st.integers(0, 10**6)] * 5), rates=st.tuples(*[st.integers(0, 10**14)] * 5))
def test_what_the_price_book_computes_is_explained_by_its_prices(tokens, rates):
    plain, out, read, write, hour = tokens
    book = Rates(
        input=rates[0], output=rates[1], cache_read=rates[2], cache_write=rates[3], cache_write_1h=rates[4]
    )
    cost = book.cost(plain + read + write + hour, out, read, write + hour, hour)
    priced = Priced(model="m", tokens=tokens, cost=cost)
    assert priced.explained(dict(zip(KINDS, rates, strict=True)))
    exact = sum(Fraction(count * rate, 10**6) for count, rate in zip(tokens, rates, strict=True))
    assert not Priced(model="m", tokens=tokens, cost=int(exact) + 2).explained(
        dict(zip(KINDS, rates, strict=True))
    )
