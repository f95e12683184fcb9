"""Whose spend a call is, and whether it may be made."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from gateway.callers import Caller, Callers
from gateway.headers import read_headers
from gateway.refusal import Refusal
from gateway.security import ALLOWED_FAILURES, Security
from gateway.testing import RecordingAudit
from spendstream.clock import from_micros
from spendstream.keys import ApiKey, KeyHasher, Scope, new_key, replaced, revoked

NOW = 1_795_000_000_000_000
AT = from_micros(NOW)
HASHER = KeyHasher("of the server")
K1, K2 = new_key("k1"), new_key("k2")
KEYS = [
    ApiKey(id="k1", hash=HASHER.hash(K1), org="acme", team="search", project="p"),
    ApiKey(id="k2", hash=HASHER.hash(K2), team="ads"),
]


class Gate:
    """Callers with their audit log and a clock that stands still."""

    def __init__(
        self, keys: list[ApiKey] = KEYS, hasher: KeyHasher | None = HASHER, *, complete: bool = True
    ):
        self.now = NOW
        self.audit = RecordingAudit()
        security = Security(self.audit, lambda: self.now)
        self.callers = Callers(hasher, keys, security, lambda: self.now, complete=complete)

    def identify(self, key: str | None = None, address: str = "10.0.0.1", **given: str) -> Caller:
        if key is not None:
            given["authorization"] = f"Bearer {key}"
        return self.callers.identify(headers(**given), address)

    def refused(self, key: str, address: str = "10.0.0.1") -> Refusal:
        with pytest.raises(Refusal) as caught:
            self.identify(key, address)
        return caught.value


def headers(**values: str) -> dict[bytes, bytes]:
    return {name.replace("_", "-").encode(): value.encode() for name, value in values.items()}


class TestWithKeys:
    def test_a_key_says_whose_spend_it_is(self):
        assert Gate().identify(K1) == Caller(key_id="k1", org="acme", team="search", project="p")

    def test_a_caller_s_word_counts_for_the_end_user_and_for_nothing_else(self):
        caller = Gate().identify(
            authorization=f"bearer {K2}",
            x_spendstream_team="search",
            x_spendstream_org="x",
            x_spendstream_user="u",
        )
        assert caller == Caller(key_id="k2", team="ads", user="u")

    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"authorization": ""},
            {"authorization": K1},
            {"authorization": "Bearer"},
            {"authorization": "Basic x"},
        ],
        ids=["nothing", "empty", "no scheme", "no key", "another scheme"],
    )
    def test_no_key_is_unauthorised(self, given):
        with pytest.raises(Refusal, match="Authorization: Bearer") as caught:
            Gate().identify(**given)
        assert caught.value.status == 401

    @pytest.mark.parametrize(
        "token",
        ["wrong", K1 + "x", K1.upper(), KEYS[0].hash, "ключ", "sk-spend-k1-", "é" * 999],
        ids=["junk", "longer", "upper case", "its hash", "another script", "no secret", "endless"],
    )
    def test_a_wrong_key_is_unauthorised_and_never_shown(self, token):
        gate = Gate()
        refusal = gate.refused(token)
        assert (refusal.status, refusal.code) == (401, "invalid_api_key")
        assert token not in refusal.encoded.decode()
        assert token not in repr(gate.audit.entries)

    def test_a_key_of_one_id_is_none_of_another(self):
        moved = K1.replace("-k1-", "-k2-")
        assert Gate().refused(moved).status == 401

    def test_browsers_are_served_with_a_key(self):
        assert Gate().identify(K1, origin="https://example.com").key_id == "k1"

    def test_with_a_secret_and_no_keys_nobody_is_believed(self):
        assert Gate([]).refused(K1).status == 401

    def test_keys_of_the_admin_api_count_beside_those_of_the_file_which_beat_them(self):
        gate, added = Gate(), new_key("k3")
        gate.callers.take_over(
            [
                ApiKey(id="k3", hash=HASHER.hash(added), team="new"),
                ApiKey(id="k1", hash=HASHER.hash(added), team="usurper"),
            ]
        )
        assert [gate.identify(key).team for key in (K1, added)] == ["search", "new"]
        gate.callers.take_over([])
        assert gate.refused(added).status == 401

    def test_while_not_all_keys_are_known_an_unknown_one_is_told_to_come_back(self):
        gate = Gate(complete=False)
        assert gate.identify(K1).key_id == "k1"
        assert (gate.refused(new_key("k3")).status, gate.refused("no key at all").status) == (503, 401)
        gate.callers.take_over([])
        assert gate.refused(new_key("k3")).status == 401


class TestTimeAndExchange:
    def test_an_expired_key_is_refused_from_that_moment_on(self):
        gate = Gate([replace(KEYS[0], expires_at=AT + timedelta(seconds=1))])
        gate.identify(K1)
        gate.now += 999_999
        gate.identify(K1)
        gate.now += 1
        assert gate.refused(K1).status == 401

    def test_a_revoked_key_is_refused(self):
        assert Gate([revoked(KEYS[0], AT)]).refused(K1).status == 401

    def test_an_exchanged_key_opens_with_both_secrets_until_the_overlap_ends(self):
        new = new_key("k1")
        gate = Gate([replaced(KEYS[0], HASHER.hash(new), AT, timedelta(hours=1))])
        assert gate.identify(K1) == gate.identify(new)
        gate.now += 3_600_000_000
        assert gate.identify(new).key_id == "k1"
        assert gate.refused(K1).status == 401
        assert gate.audit.entries[-1][1]["why"] == "superseded"

    def test_without_an_overlap_the_old_secret_is_refused_at_once(self):
        new = new_key("k1")
        assert Gate([replaced(KEYS[0], HASHER.hash(new), AT, timedelta())]).refused(K1).status == 401


class TestGuessing:
    def test_whatever_is_wrong_with_a_key_it_is_refused_in_the_same_words_and_only_the_audit_log_tells_why(
        self,
    ):
        expired = replace(KEYS[0], expires_at=AT)
        gate = Gate([expired, revoked(KEYS[1], AT), replace(KEYS[0], id="k3")])
        refusals = [gate.refused(key) for key in (new_key("nobody"), new_key("k3"), K1, K2, "sk-other")]
        assert len({(it.status, it.encoded, tuple(it.headers.items())) for it in refusals}) == 1
        assert [fields["why"] for _, fields in gate.audit.entries] == [
            "unknown", "wrong_secret", "expired", "revoked", "malformed",
        ]  # fmt: skip
        assert [fields["key_id"] for _, fields in gate.audit.entries] == ["", "k3", "k1", "k2", ""]

    def test_many_guesses_never_get_in_and_are_told_to_wait_while_right_keys_still_open(self):
        gate = Gate()
        statuses = [gate.refused(new_key(("k1", "nobody")[n % 2])).status for n in range(500)]
        assert statuses == [401] * ALLOWED_FAILURES + [429] * (500 - ALLOWED_FAILURES)
        assert gate.identify(K1).key_id == "k1"
        kinds = [kind for kind, _ in gate.audit.entries]
        assert kinds == ["key_refused"] * ALLOWED_FAILURES + ["key_guessing"], "no flood in the log"
        assert gate.refused(new_key("k1"), "10.0.0.2").status == 401, "others are not concerned"
        refusal = gate.refused(new_key("k1"))
        assert refusal.headers == {"retry-after": "60"}
        gate.now += 60_000_000
        assert gate.refused(new_key("k1")).status == 401

    def test_no_guess_near_a_right_key_is_one(self):
        gate = Gate()
        for place in range(len(K1)):
            for letter in "aZ0-\x00":
                near = K1[:place] + letter + K1[place + 1 :]
                if near != K1:
                    assert gate.refused(near, address=f"a{place}{letter}").status in (401, 429)


class TestScope:
    KEY = replace(KEYS[0], apis=("chat", "models"), models=("gpt-4*", "claude-haiku"))

    @pytest.mark.parametrize(
        ("api", "model", "allowed"),
        [
            ("chat", "gpt-4", True),
            ("chat", "gpt-4o-mini", True),
            ("chat", "claude-haiku", True),
            ("models", None, True),
            ("chat", "claude-haiku-4", False),
            ("chat", "o1", False),
            ("chat", "o1\ngpt-4", False),
            ("embeddings", "gpt-4", False),
        ],
    )
    def test_a_key_is_for_its_apis_and_models_alone(self, api, model, allowed):
        gate = Gate([self.KEY])
        caller = gate.identify(K1)
        if allowed:
            gate.callers.permit(caller, api, model)
            return
        with pytest.raises(Refusal) as caught:
            gate.callers.permit(caller, api, model, "10.0.0.1")
        assert (caught.value.status, caught.value.code) == (403, "key_scope")
        [(kind, fields)] = gate.audit.entries
        assert (kind, fields["key_id"], fields["api"]) == ("scope_refused", "k1", api)

    def test_a_key_without_a_scope_is_for_everything(self):
        assert Scope.of(KEYS[0]).has_api("chat")
        assert Scope.of(KEYS[0]).has_model("anything")


class TestWithoutKeys:
    def test_the_caller_s_word_counts(self):
        given = {"x_spendstream_team": " search ", "x_spendstream_environment": "prod"}
        assert Gate([], None).identify("any", **given) == Caller(team="search", environment="prod")

    def test_names_may_be_in_any_script_and_in_old_encodings(self):
        callers = Gate([], None).callers
        assert callers.identify({b"x-spendstream-team": "検索".encode()}).team == "検索"
        assert callers.identify({b"x-spendstream-team": b"caf\xe9"}).team == "café"

    def test_a_name_too_long_for_an_event_is_refused(self):
        gate = Gate([], None)
        assert gate.identify(x_spendstream_user="x" * 512).user == "x" * 512
        with pytest.raises(Refusal, match="at most 512 characters"):
            gate.identify(x_spendstream_user="x" * 513)

    def test_a_page_in_a_browser_cannot_spend(self):
        with pytest.raises(Refusal, match="does not serve browsers") as caught:
            Gate([], None).identify(origin="https://example.com")
        assert caught.value.status == 403


class TestHeaders:
    @pytest.mark.parametrize(
        "raw",
        [
            [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")],
            [(b"x-api-key", b"a"), (b"accept", b"*/*"), (b"x-api-key", b"a")],
            [(b"authorization", b"Bearer a"), (b"x-api-key", b"a")],
            [(b"content-length", b"1"), (b"content-length", b"2")],
            [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")],
            [(b"x-spendstream-team", b"a"), (b"x-spendstream-team", b"b")],
        ],
    )
    def test_what_two_readers_could_read_in_two_ways_is_refused(self, raw):
        with pytest.raises(Refusal) as caught:
            read_headers(raw)
        assert (caught.value.status, caught.value.code) == (400, "invalid_header")

    def test_other_headers_may_be_there_twice(self):
        assert read_headers([(b"cookie", b"a"), (b"cookie", b"b")]) == {b"cookie": b"b"}
