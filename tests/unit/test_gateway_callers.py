"""Whose spend a call is."""

from __future__ import annotations

from hashlib import sha256

import pytest

from gateway.callers import Caller, Callers
from gateway.refusal import Refusal
from spendstream.config import ApiKey

SECRET = "sk-one-very-secret"
KEYS = [
    ApiKey(id="k1", sha256=sha256(SECRET.encode()).hexdigest(), org="acme", team="search", project="p"),
    ApiKey(id="k2", sha256=sha256(b"other").hexdigest(), team="ads"),
]


def headers(**values: str) -> dict[bytes, bytes]:
    return {name.replace("_", "-").encode(): value.encode() for name, value in values.items()}


class TestWithKeys:
    def test_a_key_says_whose_spend_it_is(self):
        caller = Callers(KEYS).identify(headers(authorization=f"Bearer {SECRET}"))
        assert caller == Caller(key_id="k1", org="acme", team="search", project="p")

    def test_a_caller_s_word_counts_for_the_end_user_and_for_nothing_else(self):
        given = headers(
            authorization="bearer other",
            x_spendstream_team="search",
            x_spendstream_org="x",
            x_spendstream_user="u",
        )
        assert Callers(KEYS).identify(given) == Caller(key_id="k2", team="ads", user="u")

    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"authorization": ""},
            {"authorization": SECRET},
            {"authorization": "Bearer"},
            {"authorization": "Basic x"},
        ],
    )
    def test_no_key_is_unauthorised(self, given):
        with pytest.raises(Refusal, match="Authorization: Bearer") as caught:
            Callers(KEYS).identify(headers(**given))
        assert caught.value.status == 401

    @pytest.mark.parametrize("token", ["wrong", SECRET + "x", SECRET.upper(), KEYS[0].sha256, "ключ"])
    def test_an_unknown_key_is_unauthorised_and_never_shown(self, token):
        with pytest.raises(Refusal, match="not known") as caught:
            Callers(KEYS).identify(headers(authorization=f"Bearer {token}"))
        assert caught.value.status == 401
        assert token not in caught.value.encoded.decode()

    def test_browsers_are_served_with_a_key(self):
        given = headers(authorization=f"Bearer {SECRET}", origin="https://example.com")
        assert Callers(KEYS).identify(given).key_id == "k1"


class TestWithoutKeys:
    def test_the_caller_s_word_counts(self):
        given = headers(
            x_spendstream_team=" search ", x_spendstream_environment="prod", authorization="Bearer any"
        )
        assert Callers([]).identify(given) == Caller(team="search", environment="prod")

    def test_names_may_be_in_any_script_and_in_old_encodings(self):
        assert Callers([]).identify({b"x-spendstream-team": "検索".encode()}).team == "検索"
        assert Callers([]).identify({b"x-spendstream-team": b"caf\xe9"}).team == "café"

    def test_a_name_too_long_for_an_event_is_refused(self):
        assert Callers([]).identify(headers(x_spendstream_user="x" * 512)).user == "x" * 512
        with pytest.raises(Refusal, match="at most 512 characters"):
            Callers([]).identify(headers(x_spendstream_user="x" * 513))

    def test_a_page_in_a_browser_cannot_spend(self):
        with pytest.raises(Refusal, match="does not serve browsers") as caught:
            Callers([]).identify(headers(origin="https://example.com"))
        assert caught.value.status == 403
