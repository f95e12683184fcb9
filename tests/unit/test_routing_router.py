"""Routing: rules, abilities, health and limits narrow the candidates; the strategy orders what is left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.pricing.book import PriceBook, Rates, table
from spendstream.routing import Call, NoCandidate, Outcome, Router, read_routes

SECOND = 10**6
PRICES = {"small": 10**12, "middle": 5 * 10**12, "large": 30 * 10**12}
SELLERS = {"small": "one", "middle": "two", "large": "three"}
BOOK = PriceBook(
    table(
        (SELLERS[model], model, Rates(input=price, output=price, cache_read=price, cache_write=price))
        for model, price in PRICES.items()
    )
)
LARGE, MIDDLE, SMALL = ("three", "large"), ("two", "middle"), ("one", "small")
CANDIDATES = [
    {"provider": "three", "model": "large", "share": 20, "quality": 95, "context": 100_000},
    {"provider": "one", "model": "small", "share": 30, "quality": 60, "up_to": 0.3, "vision": False},
    {"provider": "two", "model": "middle", "share": 50, "quality": 80, "up_to": 0.6, "tools": False},
]


def router(strategy="cheapest", complexity=lambda _: 0.0, **fields):
    route = {"name": "smart", "strategy": strategy, "candidates": CANDIDATES} | fields
    return Router(read_routes([route]), prices=BOOK.find, complexity=complexity)


def call(**fields):
    return Call(**({"model": "smart", "prompt_tokens": 100} | fields))


def heard(router, **milliseconds):
    for model, latency in milliseconds.items():
        router.statistics.seen(
            Outcome(provider=SELLERS[model], model=model, latency=latency * 1000, output_tokens=100), 0
        )


def test_a_model_without_a_route_is_not_routed():
    assert router().decide(call(model="gpt-4"), 0) is None


def test_the_cheapest_goes_first_and_the_others_follow_by_price():
    decision = router().decide(call(), 0)
    assert (decision.chosen, decision.fallbacks) == (SMALL, (MIDDLE, LARGE))
    assert decision.reason == "cheapest one/small $0.000356, then two/middle $0.001780"


def test_a_short_answer_is_not_reckoned_as_a_long_one():
    assert "$0.000110" in router().decide(call(max_tokens=10), 0).reason


def test_a_model_without_a_price_is_the_last_resort_never_free():
    unpriced = [{"provider": "x", "model": "unheard-of"}, *CANDIDATES]
    decision = router(candidates=unpriced).decide(call(), 0)
    assert decision.chosen == SMALL
    assert decision.fallbacks[-1] == ("x", "unheard-of")


def test_the_fastest_is_the_one_that_answers_first_lately():
    routing = router("fastest")
    heard(routing, large=300, small=200, middle=100)
    decision = routing.decide(call(), SECOND)
    assert (decision.chosen, decision.fallbacks) == (MIDDLE, (SMALL, LARGE))
    assert decision.reason == "fastest two/middle 100 ms, then one/small 200 ms"


def test_one_call_tries_out_a_model_that_nobody_knows_the_others_wait_for_what_it_finds():
    routing = router("fastest")
    heard(routing, large=300, small=200)
    assert routing.decide(call(), 0).chosen == MIDDLE
    assert routing.decide(call(), 1).chosen == SMALL


def test_a_fast_provider_that_mostly_fails_is_not_the_fastest():
    routing = router("fastest")
    heard(routing, large=300, small=200, middle=100)
    for _ in range(9):
        routing.statistics.seen(Outcome(provider="two", model="middle", failed=True), 0)
    assert routing.decide(call(), SECOND).chosen == SMALL


def test_quality_first_asks_nothing_else():
    decision = router("quality-first").decide(call(), 0)
    assert (decision.chosen, decision.fallbacks) == (LARGE, (MIDDLE, SMALL))


def test_balanced_takes_the_middle_unless_the_weights_say_otherwise():
    def chosen(**weights):
        routing = router("balanced", weights=weights)
        heard(routing, large=800, small=400, middle=200)
        return routing.decide(call(), SECOND).chosen

    assert chosen(cost=1, latency=1, quality=1) == MIDDLE
    assert chosen(cost=1, latency=0, quality=0) == SMALL
    assert chosen(cost=0, latency=0, quality=1) == LARGE


def test_a_mix_meets_its_shares():
    routing = router("mix")
    chosen = [routing.decide(call(), now).chosen for now in range(100)]
    assert [chosen.count(each) for each in (SMALL, MIDDLE, LARGE)] == [30, 50, 20]


def test_a_mix_without_one_of_its_candidates_keeps_the_proportions_of_the_others():
    routing = router("mix")
    chosen = [
        routing.decide(call(), now, healthy=lambda provider, _: provider != "two").chosen for now in range(50)
    ]
    assert [chosen.count(each) for each in (SMALL, MIDDLE, LARGE)] == [30, 0, 20]


@pytest.mark.parametrize(("score", "chosen"), [(0.1, SMALL), (0.3, SMALL), (0.31, MIDDLE), (0.9, LARGE)])
def test_a_prompt_goes_to_the_least_model_that_is_trusted_with_its_complexity(score, chosen):
    decision = router("complexity", complexity=lambda _: score).decide(call(), 0)
    assert decision.chosen == chosen
    assert decision.complexity == score


def test_the_reason_reads_as_a_comparison():
    decision = router("complexity", complexity=lambda _: 0.31).decide(call(), 0)
    assert decision.reason == "complexity 0.31 <= 0.60: two/middle"


def test_too_complex_a_prompt_falls_back_to_the_most_trusted_that_is_left():
    routing = router("complexity", complexity=lambda _: 0.9)
    decision = routing.decide(call(), 0, healthy=lambda provider, _: provider != "three")
    assert (decision.chosen, decision.fallbacks) == (MIDDLE, (SMALL,))
    assert "three/large unhealthy" in decision.reason


def test_candidates_that_cannot_take_a_call_are_left_out():
    routing = router()
    assert routing.decide(call(vision=True), 0).chosen == MIDDLE
    assert routing.decide(call(tools=True), 0).chosen == SMALL
    assert LARGE not in routing.decide(call(prompt_tokens=200_000), 0).fallbacks
    assert routing.decide(call(vision=True, tools=True), 0).chosen == LARGE


def test_a_call_that_nobody_can_take_is_refused_with_all_the_reasons():
    with pytest.raises(NoCandidate) as refused:
        router().decide(call(vision=True, tools=True, prompt_tokens=200_000), 0)
    for part in (
        "route smart",
        "one/small without vision",
        "two/middle without tools",
        "too short of context",
    ):
        assert part in str(refused.value)


def test_the_first_rule_that_holds_decides():
    rules = [
        {"when": {"team": "research", "at_least": 50}, "use": "large"},
        {
            "when": {"environment": ["dev", "test"]},
            "use": ["one/small", "middle"],
            "strategy": "quality-first",
        },
        {"when": {"team": "research"}, "use": "middle"},
    ]
    routing = router(rules=rules)
    assert routing.decide(call(team="research"), 0).chosen == LARGE
    assert routing.decide(call(team="research", prompt_tokens=49), 0).chosen == MIDDLE
    decision = routing.decide(call(environment="test"), 0)
    assert (decision.chosen, decision.fallbacks) == (MIDDLE, (SMALL,))
    assert decision.reason.startswith("rule 2: quality-first ")
    assert routing.decide(call(), 0).chosen == SMALL


def test_a_rule_keeps_its_calls_from_all_other_candidates_even_when_its_own_are_down():
    routing = router(rules=[{"when": {"team": "law"}, "use": "large"}])
    with pytest.raises(NoCandidate):
        routing.decide(call(team="law"), 0, healthy=lambda provider, _: provider != "three")


def test_a_route_answers_for_real_models_that_match_its_patterns_after_all_names():
    routing = router(models=["gpt-4*"], rules=[{"when": {"models": "*-mini"}, "use": "small"}])
    assert routing.decide(call(model="gpt-4o"), 0).route == "smart"
    assert routing.decide(call(model="gpt-4o-mini"), 0).fallbacks == ()
    assert routing.decide(call(model="claude"), 0) is None


def test_made_up_model_names_do_not_pile_up():
    routing = router(models=["gpt-4*"])
    for number in range(10_000):
        routing.decide(call(model=f"made-up-{number}"), 0)
    assert len(routing._matched) <= 4_096


def test_a_provider_over_its_limit_is_only_a_fallback():
    routing = router(provider_limit="50%", provider_window="1m")
    chosen = [routing.decide(call(), now).chosen for now in range(100)]
    assert chosen.count(SMALL) == 50
    assert chosen.count(MIDDLE) == 50
    over = next(
        decision for now in range(100, 110) if (decision := routing.decide(call(), now)).chosen != SMALL
    )
    assert over.fallbacks[-1] == SMALL
    assert "one/small over its provider's limit" in over.reason


def test_the_reason_fits_into_an_event():
    many = [{"provider": "p" * 100, "model": f"{number}" * 60, "vision": False} for number in range(1, 9)]
    decision = router(candidates=[*many, *CANDIDATES]).decide(call(vision=True), 0)
    assert len(decision.reason) <= 512


@given(
    strategy=st.sampled_from(["cheapest", "fastest", "balanced", "quality-first", "mix", "complexity"]),
    down=st.sets(st.sampled_from(["one", "two", "three"])),
    score=st.floats(0, 1),
    latencies=st.dictionaries(st.sampled_from(list(SELLERS)), st.integers(1, 10**5)),
)
def test_every_strategy_tries_each_healthy_candidate_once_and_no_other(strategy, down, score, latencies):
    routing = router(strategy, complexity=lambda _: score)
    heard(routing, **latencies)
    expected = {(each["provider"], each["model"]) for each in CANDIDATES if each["provider"] not in down}
    for now in range(3):
        if not expected:
            with pytest.raises(NoCandidate):
                routing.decide(call(), now, healthy=lambda provider, _: provider not in down)
            continue
        decision = routing.decide(call(), now, healthy=lambda provider, _: provider not in down)
        targets = [decision.chosen, *decision.fallbacks]
        assert set(targets) == expected
        assert len(targets) == len(expected)
