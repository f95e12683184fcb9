"""What callers may ask of the cache."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.caching.wishes import NO_WISHES, Wishes, wishes_of

_DIRECTIVES = st.sampled_from(
    [
        "no-store",
        "no-cache",
        "max-age=0",
        "max-age=10",
        "max-age=600",
        "max-age=-1",
        "max-age=x",
        "max-age",
        "max-stale=100",
        "public",
        "only-if-cached",
        "No-Store",
        "",
        "x=y",
        'max-age="7"',
    ]
)
_SECOND = 10**6


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", NO_WISHES),
        ("no-store", Wishes(keep=False)),
        ("no-cache", Wishes(look_up=False)),
        ("max-age=60", Wishes(max_age=60 * _SECOND)),
        ("No-Cache , max-age=60,MAX-AGE=5", Wishes(look_up=False, max_age=5 * _SECOND)),
        ("max-age=soon", Wishes(max_age=0)),
        ("max-age=\u0665", Wishes(max_age=0)),
        ("max-stale, public, stale-if-error=9", NO_WISHES),
    ],
)
def test_directives_are_read_as_http_defines_them(header, expected):
    assert wishes_of(header) == expected


@given(st.lists(_DIRECTIVES), _DIRECTIVES, st.integers(0, 10**9), st.integers(0, 10**9))
def test_one_more_directive_never_makes_the_cache_looser(directives, more, created_at, age):
    before, after = wishes_of(",".join(directives)), wishes_of(",".join([*directives, more]))
    now = created_at + age
    assert before.keep or not after.keep
    assert before.accepts(created_at, now) or not after.accepts(created_at, now)


@given(st.text())
def test_any_header_can_be_read(header):
    assert wishes_of(header).both(NO_WISHES) == wishes_of(header)


def test_an_age_is_up_to_and_with_the_greatest():
    wishes = wishes_of("max-age=2")
    assert wishes.accepts(100, 100 + 2 * _SECOND)
    assert not wishes.accepts(100, 101 + 2 * _SECOND)
