"""How budgets are enforced and what rates there are, as files say it; every mistake is told."""

import re
from pathlib import Path

import pytest

from spendstream.budgets import load
from spendstream.budgets.rates import MOST_PER_MINUTE, RateLimit
from spendstream.errors import ConfigError

BUDGET = '[[budgets]]\nid = "a"\namount = "5 USD"\nperiod = "day"\n'
LIMIT = '[[limits]]\nid = "l"\n'


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "budgets.toml"
        path.write_text(text, encoding="utf-8")
        return load(path)

    return read


@pytest.mark.parametrize(
    ("written", "enforce", "on_breach"),
    [
        ("", "none", "allow"),
        ('enforce = "shadow"', "shadow", "allow"),
        ('enforce = "soft"', "soft", "allow"),
        ('enforce = "hard"', "hard", "reject"),
        ('enforce = "soft"\non_breach = "downgrade"\ndowngrade_to = "m"', "soft", "downgrade"),
        ('enforce = "hard"\nscope = { key_id = "k" }', "hard", "reject"),
    ],
)
def test_a_budget_says_how_it_is_enforced(read, written, enforce, on_breach):
    (budget,) = read(BUDGET + written).budgets
    assert (budget.enforce, budget.on_breach) == (enforce, on_breach)


@pytest.mark.parametrize(
    ("written", "field", "reason"),
    [
        ('enforce = "firm"', "enforce", "expected none, shadow, soft or hard"),
        ('enforce = "soft"\non_breach = "reject"', "on_breach", "expected allow or downgrade, found reject"),
        ('enforce = "hard"\non_breach = "allow"', "on_breach", "expected reject or downgrade, found allow"),
        ('on_breach = "allow"', "on_breach", "with enforce: none, expected none"),
        ('enforce = "hard"\non_breach = "downgrade"', "downgrade_to", "need each other"),
        ('enforce = "hard"\ndowngrade_to = "m"', "downgrade_to", "need each other"),
        ("throttle = true", "throttle", "needs enforce"),
        ('scope = { key_id = "k" }', "scope.key_id", "has no alerts"),
        ('enforce = "hard"\nscope = { cluster = "c" }', "scope.cluster", "no request has one"),
        ('enforce = "hard"\nscope = { key_id = "k" }\nroll_over = true', "roll_over", "carries nothing over"),
    ],
)
def test_what_cannot_be_enforced_is_a_mistake(read, written, field, reason):
    with pytest.raises(ConfigError) as caught:
        read(BUDGET + written)
    (mistake,) = str(caught.value).splitlines()
    assert f"budget 1 (a): {field}: " in mistake
    assert reason in mistake


def test_limits_stand_beside_budgets(read):
    file = read(
        BUDGET
        + LIMIT
        + 'scope = { team = "search" }\nrequests_per_minute = 60\ntokens_per_minute = 90_000\n'
        + 'concurrent_requests = 8\nenforce = "shadow"\n'
        + '[[limits]]\nid = "m"\nconcurrent_requests = 1\n'
    )
    assert list(file.limits) == [
        RateLimit(
            id="l",
            scope={"team": "search"},
            requests_per_minute=60,
            tokens_per_minute=90_000,
            concurrent_requests=8,
            enforce="shadow",
        ),
        RateLimit(id="m", concurrent_requests=1),
    ]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (LIMIT, "limit 1 (l): limit: expected one of requests_per_minute"),
        ("[[limits]]\nconcurrent_requests = 1", "limit 1: id: is missing"),
        (LIMIT + "requests_per_minute = 0", f"expected a whole number from 1 to {MOST_PER_MINUTE}, found 0"),
        (LIMIT + "requests_per_minute = 1.5", "found Decimal('1.5')"),
        (LIMIT + "requests_per_minute = true", "found True"),
        (LIMIT + f"tokens_per_minute = {MOST_PER_MINUTE + 1}", f"found {MOST_PER_MINUTE + 1}"),
        (LIMIT + "request_per_minute = 5\nconcurrent_requests = 1", "did you mean requests_per_minute?"),
        (LIMIT + 'concurrent_requests = 1\nscope = { cluster = "c" }', "scope.cluster: no request has one"),
        (LIMIT + 'concurrent_requests = 1\nenforce = "soft"', "expected shadow or hard"),
        ((LIMIT + "concurrent_requests = 1\n") * 2, "limit 2 (l): id: another limit has it"),
        ("limits = 5", "limits: expected a list of limits"),
        ("limits = [5]", "limit 1: limit: expected the fields of a limit"),
    ],
)
def test_a_limit_that_is_none_is_a_mistake(read, written, expected):
    with pytest.raises(ConfigError) as caught:
        read(written)
    (mistake,) = str(caught.value).splitlines()
    assert expected in mistake


def test_the_documented_example_is_read(tmp_path):
    documented = Path(__file__).parents[2] / "docs" / "limits.md"
    example = re.search(r"```yaml\n(.*?)```", documented.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "budgets.yaml"
    path.write_text(example[1], encoding="utf-8")
    file = load(path)
    assert [(budget.id, budget.on_breach) for budget in file.budgets] == [
        ("search-monthly", "downgrade"),
        ("ci-key", "reject"),
    ]
    assert [limit.tokens_per_minute for limit in file.limits] == [200_000]
