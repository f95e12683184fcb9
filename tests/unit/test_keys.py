"""Keys: how one is made and hashed, who fails too often, and what a document of one may say."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendstream.documents import BadDocument
from spendstream.keys import ApiKey, FailedAttempts, KeyHasher, new_id, new_key
from spendstream.keys.documents import changed, created, decode, document
from spendstream.keys.secret import key_id

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = ApiKey(id="k1", hash="ab" * 32, team="search", models=("gpt-4*",), expires_at=NOW)


@given(st.text(min_size=1), st.binary())
def test_the_hash_is_hmac_sha256(secret: str, key: bytes) -> None:
    given = secret.encode("utf-8", "surrogatepass") if secret.isprintable() else b"x"
    text = given.decode()
    assert KeyHasher(text).digest(key) == hmac.digest(given, key, "sha256")


@given(st.from_regex(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?", fullmatch=True))
def test_the_id_is_found_in_every_key_that_was_made_with_it(name: str) -> None:
    key = new_key(name)
    assert key_id(key.encode()) == name
    assert len(key.rpartition("-")[2]) == 43
    assert new_key(name) != key


@given(st.binary(max_size=400))
def test_whatever_is_sent_as_a_key_is_read_without_an_error(given: bytes) -> None:
    key_id(given)
    key_id(b"sk-spend-" + given)


def test_ids_are_short_and_fit_into_a_key() -> None:
    name = new_id()
    assert len(name) == 10
    assert document(msgspec.structs.replace(KEY, id=name)) == decode(
        name, document(msgspec.structs.replace(KEY, id=name)).encoded
    )


class TestFailedAttempts:
    def test_failures_count_for_a_minute_from_the_first_on(self) -> None:
        attempts = FailedAttempts(2)
        assert [attempts.add("a", now) for now in (0, 1, 59_999_999)] == [1, 2, 3]
        assert attempts.wait("a", 59_999_999) == 1
        assert attempts.wait("a", 60_000_000) == 0
        assert attempts.add("a", 60_000_000) == 1

    def test_memory_is_bounded_and_the_oldest_is_forgotten_first(self) -> None:
        attempts = FailedAttempts(1, remembered=3)
        for address in "abcd":
            attempts.add(address, 0)
        assert [attempts.wait(address, 1) > 0 for address in "abcd"] == [False, True, True, True]
        for number in range(10_000):
            attempts.add(str(number), 0)
        assert len(attempts._failures) == 3

    def test_a_network_of_64_bits_is_one_address(self) -> None:
        attempts = FailedAttempts(1)
        attempts.add("2001:db8::1", 0)
        assert attempts.add("2001:db8::ffff", 0) == 2
        assert attempts.add("2001:db8:0:1::1", 0) == 1
        assert attempts.add("::ffff:10.0.0.1", 0) == 1
        assert attempts.add("10.0.0.1", 0) == 2
        assert attempts.add("fe80::1%eth0", 0) == 1
        assert attempts.add("no: address", 0) == 1


class TestDocuments:
    @pytest.mark.parametrize(
        ("value", "field"),
        [
            (b"", "document"),
            (b"[]", "document"),
            (b'{"id": "k1", "team": "search"}', "hash"),
            (document(KEY).encoded.replace(b"search", b""), "team"),
            (document(KEY).encoded.replace(b'"gpt-4*"', b"7"), "models[0]"),
            (document(KEY).encoded.replace(b'"id":"k1"', b'"id":"k2"'), "id"),
            (document(KEY).encoded.replace(b"Z", b""), "expires_at"),
            (document(KEY).encoded.replace(b'"team"', b'"teem"'), "teem"),
        ],
    )
    def test_what_is_no_key_is_refused_with_its_field(self, value: bytes, field: str) -> None:
        with pytest.raises(BadDocument) as caught:
            decode("k1", value)
        assert caught.value.by_field[0][0] == field

    def test_a_key_survives_being_written_and_read(self) -> None:
        assert decode("k1", document(KEY).encoded).key == KEY

    def test_a_change_touches_what_it_names_and_null_takes_it_back(self) -> None:
        after = changed(KEY, {"expires_at": None, "name": "batch"})
        assert after == msgspec.structs.replace(KEY, expires_at=None, name="batch")

    @pytest.mark.parametrize("field", ["id", "hash", "old_hash", "created_at", "revoked_at", "old_until"])
    def test_what_a_key_is_known_by_is_changed_by_its_verbs_alone(self, field: str) -> None:
        with pytest.raises(BadDocument):
            changed(KEY, {field: None})
        if field != "id":
            with pytest.raises(BadDocument):
                created({"id": "k2", "team": "t", field: None}, "cd" * 32, NOW)
