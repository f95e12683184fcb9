"""Requests, access, errors and bodies of the embedded endpoint."""

import gzip
import io
import zlib
from base64 import b64encode

import lz4.frame
import pytest
import zstandard

from infra.local.clickhouse.access import Account, check_page
from infra.local.clickhouse.compression import accepted, compress, decoder
from infra.local.clickhouse.errors import Code, EngineError
from infra.local.clickhouse.request import Credentials, read_request
from infra.local.clickhouse.sessions import Sessions
from infra.local.clickhouse.wire import Summary, broken_stream, content_type, status_of


def read(method="POST", headers=None, files=(), **arguments):
    return read_request(method, arguments, headers or {}, files)


def code_of(call, *arguments, **options):
    with pytest.raises(EngineError) as refused:
        call(*arguments, **options)
    return refused.value.code


class TestRequest:
    def test_settings_are_what_the_interface_does_not_take(self):
        request = read(
            query="SELECT 1",
            param_x="1",
            max_threads="2",
            async_insert="1",
            wait_for_async_insert="0",
            session_id="s",
            enable_http_compression="1",
            t_format="CSV",
            t_structure="a Int8",
            files=[("t", b"1")],
        )
        assert request.settings == {"max_threads": "2"}
        assert request.parameters == {"x": "1"}
        assert request.external[0].format == "CSV"

    def test_types_of_an_external_table_become_columns(self):
        request = read(t_types="UInt8,Decimal(9, 2)", files=[("t", b"")])
        assert request.external[0].structure == "_1 UInt8, _2 Decimal(9, 2)"
        assert code_of(read, files=[("t", b"")]) == Code.BAD_ARGUMENTS

    @pytest.mark.parametrize(
        ("method", "asked", "readonly"),
        [
            ("POST", "", 0),
            ("POST", "1", 1),
            ("POST", "2", 2),
            ("POST", "9", 2),
            ("GET", "", 2),
            ("GET", "1", 1),
        ],
    )
    def test_a_get_is_read_only(self, method, asked, readonly):
        assert read(method, readonly=asked).readonly == readonly

    @pytest.mark.parametrize(
        ("headers", "arguments"),
        [
            ({"Authorization": "Basic " + b64encode(b"u:p:q").decode()}, {}),
            ({"X-ClickHouse-User": "u", "X-ClickHouse-Key": "p:q"}, {}),
            ({}, {"user": "u", "password": "p:q"}),
        ],
    )
    def test_credentials_come_from_one_place(self, headers, arguments):
        assert read(headers=headers, **arguments).credentials == Credentials(user="u", password="p:q")

    @pytest.mark.parametrize("header", ["Bearer x", "Basic !", "Basic " + b64encode(b"\xff").decode()])
    def test_other_credentials_are_refused(self, header):
        assert code_of(read, headers={"Authorization": header}) == Code.AUTHENTICATION_FAILED

    def test_credentials_from_two_places_are_refused(self):
        assert code_of(read, headers={"X-ClickHouse-User": "u"}, user="u") == Code.AUTHENTICATION_FAILED

    def test_a_password_is_in_no_repr(self):
        assert "secret" not in repr(read(user="u", password="secret"))

    @pytest.mark.parametrize("timeout", ["x", "-1", "3601"])
    def test_a_session_timeout_has_bounds(self, timeout):
        assert code_of(read, session_timeout=timeout) == Code.INVALID_SESSION_TIMEOUT

    def test_the_engines_own_block_compression_is_refused(self):
        assert code_of(read, decompress="1") == Code.NOT_IMPLEMENTED


class TestAccess:
    def test_the_right_password_only(self):
        account = Account.from_environment({"SPENDSTREAM_CLICKHOUSE_PASSWORD": "right"})
        account.admit(Credentials(password="right"))
        assert code_of(account.admit, Credentials(password="wrong")) == Code.AUTHENTICATION_FAILED
        assert code_of(account.admit, Credentials(user="u", password="right")) == Code.AUTHENTICATION_FAILED

    def test_without_a_password_any_passes(self):
        Account().admit(Credentials(password="any"))
        assert code_of(Account().admit, Credentials(user="nobody")) == Code.AUTHENTICATION_FAILED

    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            ("", "127.0.0.1:8123"),
            ("", "[::1]:8123"),
            ("http://localhost:3000", "localhost:8123"),
            ("http://127.0.0.1:3000", "127.0.0.1:8123"),
        ],
    )
    def test_pages_of_this_machine(self, origin, host):
        check_page(origin, host, loopback_only=True)

    @pytest.mark.parametrize(
        ("origin", "host"),
        [("https://evil.example", "127.0.0.1:8123"), ("null", "127.0.0.1:8123"), ("", "evil.example:8123")],
    )
    def test_foreign_pages_are_refused(self, origin, host):
        assert code_of(check_page, origin, host, loopback_only=True) == Code.ACCESS_DENIED

    def test_an_open_host_serves_its_own_pages(self):
        check_page("http://desk.example:8123", "desk.example:8123", loopback_only=False)


class TestErrors:
    @pytest.mark.parametrize(
        ("reported", "code", "message"),
        [
            (
                "Code: 60. DB::Exception: No t. (UNKNOWN_TABLE)",
                60,
                "Code: 60. DB::Exception: No t. (UNKNOWN_TABLE)",
            ),
            (
                "Failed: Code: 115. DB::Exception: Code: 115. DB::Exception: Unknown x. (S) (version 2). (S)",
                115,
                "Code: 115. DB::Exception: Unknown x. (S)",
            ),
            (
                "Code: 27. DB::Exception: Bad\nrow. (X) (version 26.9.2.1)",
                27,
                "Code: 27. DB::Exception: Bad\nrow. (X)",
            ),
            ("lost", 1001, "Code: 1001. DB::Exception: lost (STD_EXCEPTION)"),
        ],
    )
    def test_the_engines_wrapping_is_taken_off(self, reported, code, message):
        error = EngineError.from_engine(reported)
        assert (error.code, str(error)) == (code, message)

    @pytest.mark.parametrize(("code", "status"), [(62, 400), (60, 404), (516, 403), (164, 500), (48, 501)])
    def test_statuses(self, code, status):
        assert status_of(code) == status

    def test_an_error_amid_rows(self):
        framed = b"\r\n__exception__\r\ntag\r\nCode: 1. \xc3\x89\n12 tag\r\n__exception__\r\n"
        assert broken_stream("Code: 1. É", "tag") == framed

    def test_content_types(self):
        assert content_type("JSON") == "application/json; charset=UTF-8"
        assert content_type("JSONEachRow") == "application/x-ndjson; charset=UTF-8"
        assert content_type("TSVWithNames").startswith("text/tab-separated-values")
        assert content_type("Pretty") == "text/plain; charset=UTF-8"

    def test_the_summary_counts_in_strings(self):
        assert '"written_rows":"3"' in Summary(written_rows=3).header(0.5)
        assert '"elapsed_ns":"500000000"' in Summary().header(0.5)


PACKERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "lz4": lz4.frame.compress,
    "zstd": zstandard.compress,
}


class TestBodies:
    @pytest.mark.parametrize("encoding", PACKERS)
    def test_what_is_compressed_is_decoded(self, encoding):
        pieces = [b"a" * 70_000, b"", b"b" * 70_000]
        packed = b"".join(compress(pieces, encoding))
        reader = decoder(io.BytesIO(packed), encoding)
        assert b"".join(iter(lambda: reader.read(1000), b"")) == b"".join(pieces)

    @pytest.mark.parametrize("encoding", ["gzip", "lz4", "zstd"])
    def test_frames_that_follow_each_other_are_one_body(self, encoding):
        pack = PACKERS[encoding]
        reader = decoder(io.BytesIO(pack(b"one") + pack(b"two")), encoding)
        assert b"".join(iter(lambda: reader.read(100), b"")) == b"onetwo"

    @pytest.mark.parametrize("encoding", PACKERS)
    def test_a_small_body_does_not_unfold_at_once(self, encoding):
        reader = decoder(io.BytesIO(PACKERS[encoding](b"\0" * 50_000_000)), encoding)
        assert 0 < len(reader.read(1000)) <= 1000

    @pytest.mark.parametrize("encoding", PACKERS)
    def test_a_body_in_another_encoding_is_refused(self, encoding):
        reader = decoder(io.BytesIO(b"plain text that is in no encoding"), encoding)
        assert code_of(reader.read, 100) == Code.CANNOT_DECOMPRESS

    def test_an_unknown_encoding_is_refused(self):
        assert code_of(decoder, io.BytesIO(), "br") == Code.NOT_IMPLEMENTED

    @pytest.mark.parametrize(
        ("header", "encoding"),
        [
            ("lz4,zstd,gzip", "lz4"),
            ("gzip, deflate, br", "gzip"),
            ("br", ""),
            ("lz4;q=0, zstd", "zstd"),
            ("", ""),
        ],
    )
    def test_the_fastest_accepted_encoding(self, header, encoding):
        assert accepted(header) == encoding


class FakeHandle:
    closed = False

    def close(self):
        self.closed = True


class TestSessions:
    def test_an_idle_session_ends_when_its_time_is_over(self):
        sessions = Sessions(FakeHandle)
        session = sessions.take(("u", "s"), must_exist=False)
        sessions.expire(now=1e9)
        assert not session.handle.closed
        sessions.give_back(session, expires=10.0)
        sessions.expire(now=9.9)
        assert sessions.take(("u", "s"), must_exist=True) is session
        sessions.give_back(session, expires=10.0)
        sessions.expire(now=10.0)
        assert session.handle.closed
        assert code_of(sessions.take, ("u", "s"), must_exist=True) == Code.SESSION_NOT_FOUND

    def test_a_session_serves_one_request_at_a_time(self):
        sessions = Sessions(FakeHandle)
        session = sessions.take(("u", "s"), must_exist=False)
        assert code_of(sessions.take, ("u", "s"), must_exist=False) == Code.SESSION_IS_LOCKED
        assert sessions.take(("other", "s"), must_exist=False) is not session
        sessions.give_back(session, expires=1.0)
        assert sessions.take(("u", "s"), must_exist=False) is session
