"""What Spendstream asks of a ClickHouse over HTTP, of the embedded one as of a server.

`TEST_CLICKHOUSE=http://host:port` runs the same bodies against that server.
"""

import asyncio
import gzip
import http.client
import json
import os
import time
import uuid
import zlib
from base64 import b64encode
from decimal import Decimal
from urllib.parse import urlencode, urlsplit

import clickhouse_connect
import lz4.frame
import pandas as pd
import pyarrow as pa
import pytest
import zstandard
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData

embedded_only = pytest.mark.skipif(
    bool(os.environ.get("TEST_CLICKHOUSE")), reason="about the embedded endpoint"
)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode()

    @property
    def code(self):
        return int(self.headers.get("X-ClickHouse-Exception-Code", "0"))


def http_request(url, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


@pytest.fixture
def database(clickhouse_url):
    """Make a database of one test's own."""
    name = f"contract_{uuid.uuid4().hex}"
    assert http_request(clickhouse_url, "POST", "/", f"CREATE DATABASE {name}").status == 200
    yield name
    http_request(clickhouse_url, "POST", "/", f"DROP DATABASE {name}")


@pytest.fixture
def ask(clickhouse_url, database):
    """Send SQL over plain HTTP."""

    def send(sql, *, method="POST", headers=None, body=None, **arguments):
        arguments = {"database": database} | arguments
        if method == "GET" or body is not None:
            arguments["query"] = sql
        else:
            body = sql
        return http_request(clickhouse_url, method, "/?" + urlencode(arguments), body, headers)

    return send


@pytest.fixture
def connect(clickhouse_url, database):
    clients = []

    def get_client(**options):
        address = urlsplit(clickhouse_url)
        options = {"host": address.hostname, "port": address.port, "database": database} | options
        clients.append(clickhouse_connect.get_client(**options))
        return clients[-1]

    yield get_client
    for client in clients:
        client.close()


@pytest.fixture
def client(connect):
    return connect()


@pytest.fixture
def usage(client):
    """Make a table like those of the product and return its name."""
    client.command(
        "CREATE TABLE usage (id UInt64, tenant LowCardinality(String), cost Decimal(18, 9),"
        " at DateTime('Asia/Tokyo') DEFAULT 0) ENGINE = MergeTree ORDER BY id"
    )
    return "usage"


def rows_of(client, sql="SELECT id, tenant FROM usage ORDER BY id"):
    return client.query(sql).result_rows


class TestInserts:
    def test_native_rows(self, client, usage):
        summary = client.insert(usage, [[1, "a", Decimal("0.1")]], column_names=["id", "tenant", "cost"])
        assert summary.written_rows == 1
        assert rows_of(client, "SELECT id, tenant, cost FROM usage") == [(1, "a", Decimal("0.1"))]

    def test_arrow(self, client, usage):
        client.insert_arrow(usage, pa.table({"id": range(5000), "tenant": ["a"] * 5000}))
        assert rows_of(client, "SELECT count(), uniqExact(id) FROM usage") == [(5000, 5000)]

    def test_data_frame(self, client, usage):
        client.insert_df(usage, pd.DataFrame({"id": [1, 2], "tenant": ["a", "b"]}))
        assert rows_of(client) == [(1, "a"), (2, "b")]

    @pytest.mark.parametrize(
        ("fmt", "rows"),
        [("JSONEachRow", b'{"id":1,"tenant":"a"}\n{"id":2,"tenant":"b"}\n'), ("CSV", b'1,"a"\n2,"b"\n')],
    )
    @pytest.mark.parametrize(
        ("compression", "pack"),
        [
            (None, bytes),
            ("gzip", gzip.compress),
            ("zstd", zstandard.compress),
            ("lz4", lz4.frame.compress),
            ("deflate", zlib.compress),
        ],
    )
    def test_raw(self, client, usage, fmt, rows, compression, pack):
        client.raw_insert(usage, ["id", "tenant"], pack(rows), fmt=fmt, compression=compression)
        assert rows_of(client) == [(1, "a"), (2, "b")]

    @pytest.mark.usefixtures("usage")
    def test_values_with_expressions(self, client):
        client.command("INSERT INTO usage (id, tenant) VALUES (1, 'it''s'), (1 + 1, lower('B'))")
        assert rows_of(client) == [(1, "it's"), (2, "b")]

    @pytest.mark.usefixtures("usage")
    def test_rows_after_the_statement_and_in_the_url(self, ask, client):
        assert ask("INSERT INTO usage (id, tenant) FORMAT CSV\n1,a\n").status == 200
        assert ask("INSERT INTO usage (id, tenant) FORMAT TSV", body="2\tb\n").status == 200
        assert ask("INSERT INTO usage (id, tenant) VALUES", body="(3, 'c')").status == 200
        assert rows_of(client) == [(1, "a"), (2, "b"), (3, "c")]

    @pytest.mark.usefixtures("usage")
    def test_insert_select(self, client):
        client.command("INSERT INTO usage (id, tenant) SELECT number, 'a' FROM numbers(10)")
        assert rows_of(client, "SELECT count() FROM usage") == [(10,)]

    def test_a_body_larger_than_any_buffer(self, client, usage):
        rows = b"".join(b"%d,tenant-%d\n" % (i, i % 10) for i in range(1_500_000))
        client.raw_insert(usage, ["id", "tenant"], rows, fmt="CSV")
        assert rows_of(client, "SELECT count(), sum(id) FROM usage") == [(1_500_000, 1_124_999_250_000)]

    def test_a_bad_row_is_refused_and_the_next_insert_works(self, client, usage):
        with pytest.raises(DatabaseError, match=r"Code: (27|117)\."):
            client.raw_insert(usage, ["id"], b"not a number\n", fmt="CSV")
        client.raw_insert(usage, ["id"], b"7\n", fmt="CSV")
        assert rows_of(client, "SELECT id FROM usage") == [(7,)]

    @embedded_only
    @pytest.mark.usefixtures("usage")
    def test_async_inserts_are_visible_at_once(self, ask, client):
        settings = {"async_insert": "1", "wait_for_async_insert": "0"}
        ask("INSERT INTO usage (id) FORMAT CSV\n1\n", **settings)
        ask("INSERT INTO usage (id) SETTINGS async_insert=1, wait_for_async_insert=0 VALUES (2)")
        assert rows_of(client, "SELECT id FROM usage ORDER BY id") == [(1,), (2,)]


class TestQueries:
    def test_parameters_of_the_client_and_of_the_url(self, ask, client):
        parameters = {"n": 3, "names": ["a'b", "c"]}
        found = client.query("SELECT {n:UInt8}, {names:Array(String)}", parameters=parameters)
        assert found.result_rows == [(3, ["a'b", "c"])]
        assert ask("SELECT {s:String}, {n:UInt8} + 1", param_s="x\\ty", param_n="2").text == "x\\ty\t3\n"

    def test_a_setting_lasts_for_one_query(self, client):
        sql = "SELECT toUInt32(getSetting('max_block_size'))"
        before = rows_of(client, sql)
        assert client.query(sql, settings={"max_block_size": 77}).result_rows == [(77,)]
        assert rows_of(client, sql) == before

    def test_results_in_the_forms_of_the_client(self, client):
        sql = "SELECT number AS n, toString(number) AS s FROM numbers(100000)"
        assert client.query_arrow(sql).num_rows == 100_000
        assert client.query_df(sql).shape == (100_000, 2)
        with client.query_rows_stream(sql) as rows:
            assert sum(row[0] for row in rows) == 4_999_950_000
        with client.query_arrow_stream(sql) as tables:
            assert sum(table.num_rows for table in tables) == 100_000

    @pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
    @pytest.mark.parametrize("count", [10, 300_000])
    def test_compressed_both_ways(self, connect, compress, count):
        client = connect(compress=compress)
        client.command("CREATE TABLE packed (id UInt64, s String) ENGINE = MergeTree ORDER BY id")
        client.insert("packed", [[i, "x"] for i in range(5000)], column_names=["id", "s"])
        assert rows_of(client, "SELECT sum(id) FROM packed") == [(12_497_500,)]
        assert (
            client.query("SELECT number FROM numbers({n:UInt32})", parameters={"n": count}).row_count == count
        )

    @pytest.mark.usefixtures("usage")
    def test_statements_that_are_no_select(self, client):
        assert rows_of(client, "SHOW TABLES") == [("usage",)]
        assert rows_of(client, "EXISTS TABLE usage") == [(1,)]
        assert [row[0] for row in rows_of(client, "DESCRIBE TABLE usage")] == ["id", "tenant", "cost", "at"]
        assert rows_of(client, "EXPLAIN SELECT id FROM usage")
        assert client.query("SELECT id FROM usage").result_rows == []

    def test_a_time_zone_reaches_the_client(self, client, usage):
        client.insert(usage, [[1]], column_names=["id"])
        at = rows_of(client, "SELECT at FROM usage")[0][0]
        assert str(at) == "1970-01-01 09:00:00+09:00"

    def test_external_data(self, client):
        external = ExternalData(
            file_name="ext.csv", data=b"1,a\n2,b\n", fmt="CSV", structure="n UInt8, s String"
        )
        assert client.query("SELECT sum(n), max(s) FROM ext", external_data=external).result_rows == [
            (3, "b")
        ]
        typed = ExternalData(file_name="ext.csv", data=b"1\t2\n", types=["UInt8", "Decimal(9, 2)"])
        assert client.query("SELECT _1 FROM ext", external_data=typed).result_rows == [(1,)]

    def test_long_queries_and_many_parameters_as_a_form(self, connect):
        client = connect(form_encode_query_params=True)
        found = client.query("SELECT {n:UInt8}, length({s:String})", parameters={"n": 1, "s": "x" * 300_000})
        assert found.result_rows == [(1, 300_000)]

    async def test_many_at_once(self, clickhouse_url):
        address = urlsplit(clickhouse_url)
        client = await clickhouse_connect.get_async_client(
            host=address.hostname, port=address.port, autogenerate_session_id=False
        )
        try:
            found = await asyncio.gather(*(client.query(f"SELECT {i}, sleep(0.01)") for i in range(40)))
        finally:
            await client.close()
        assert [result.result_rows[0][0] for result in found] == list(range(40))


class TestWire:
    def test_health_checks(self, clickhouse_url):
        for path in ("/", "/ping", "/replicas_status"):
            answer = http_request(clickhouse_url, "GET", path)
            assert (answer.status, answer.text) == (200, "Ok.\n")
        assert http_request(clickhouse_url, "GET", "/nowhere").status == 404

    def test_headers(self, ask):
        answer = ask("SELECT 1 AS one", query_id="contract-headers", default_format="JSONEachRow")
        assert answer.headers["X-ClickHouse-Query-Id"] == "contract-headers"
        assert answer.headers["X-ClickHouse-Format"] == "JSONEachRow"
        assert answer.headers["X-ClickHouse-Timezone"]
        assert answer.headers["Content-Type"].startswith("application/x-ndjson")
        assert json.loads(answer.headers["X-ClickHouse-Summary"])["elapsed_ns"]
        assert answer.text == '{"one":1}\n'

    def test_the_format_of_a_header_and_of_the_statement(self, ask):
        header = {"X-ClickHouse-Format": "CSV"}
        assert ask("SELECT 'a'", headers=header).text == '"a"\n'
        assert ask("SELECT 'a' FORMAT TSV", headers=header).text == "a\n"
        assert ask("SELECT 'a' FORMAT JSONCompact SETTINGS max_threads = 1").text.startswith("{")

    @pytest.mark.parametrize("accept", ["deflate", "gzip;q=0.5, br", "lz4", "identity, zstd"])
    def test_a_result_is_packed_as_the_client_accepts(self, ask, accept):
        unpack = {
            "deflate": zlib.decompress,
            "gzip": gzip.decompress,
            "lz4": lz4.frame.decompress,
            "zstd": lambda packed: zstandard.ZstdDecompressor().decompressobj().decompress(packed),
        }
        sql, header = "SELECT number FROM numbers(100000) FORMAT TSV", {"Accept-Encoding": accept}
        answer = ask(sql, headers=header, enable_http_compression="1")
        rows = unpack[answer.headers["Content-Encoding"]](answer.body)
        assert rows.splitlines()[-1] == b"99999"
        assert "Content-Encoding" not in ask(sql, headers=header).headers

    def test_credentials_in_each_place(self, ask):
        basic = {"Authorization": "Basic " + b64encode(b"default:").decode()}
        assert ask("SELECT 1", headers=basic).text == "1\n"
        assert ask("SELECT 1", headers={"X-ClickHouse-User": "default"}).text == "1\n"
        assert ask("SELECT 1", user="default", password="").text == "1\n"
        refused = ask("SELECT 1", user="nobody")
        assert (refused.status, refused.code) == (403, 516)

    @pytest.mark.parametrize(
        ("sql", "code", "status"),
        [
            ("SELEC 1", 62, 400),
            ("SELECT 1; SELECT 2", 62, 400),
            ("SELECT nothing", 47, 404),
            ("SELECT * FROM nowhere", 60, 404),
            ("SELECT nofunction()", 46, 404),
            ("SELECT 1 FORMAT Nope", 73, 404),
            ("SELECT throwIf(1)", 395, 500),
            ("SELECT toUInt8('x')", 6, 400),
        ],
    )
    def test_errors(self, ask, sql, code, status):
        answer = ask(sql)
        assert (answer.status, answer.code) == (status, code)
        assert answer.text.startswith(f"Code: {code}. DB::Exception: ")

    def test_an_unknown_setting(self, ask):
        answer = ask("SELECT 1", no_such_setting="1")
        assert (answer.status, answer.code) == (404, 115)

    def test_an_error_amid_rows_reaches_the_client(self, client):
        rows = client.query_rows_stream(
            "SELECT throwIf(number = 500000) FROM numbers(1000000)", settings={"max_threads": 1}
        )
        with pytest.raises(StreamFailureError, match="Code: 395"), rows as stream:
            list(stream)

    def test_the_whole_result_is_waited_for_on_request(self, ask):
        sql = "SELECT throwIf(number = 500000) FROM numbers(1000000)"
        assert ask(sql, wait_end_of_query="1").code == 395

    def test_native_blocks_for_a_protocol_version(self, ask):
        plain = b"\x02\x01" + b"\x01a\x05UInt8\x01" + b"\x01b\x06String\x01x"
        info = b"\x01\x00\x02\xff\xff\xff\xff\x00"
        flagged = b"\x02\x01" + b"\x01a\x05UInt8\x00\x01" + b"\x01b\x06String\x00\x01x"
        sql = "SELECT toUInt8(1) AS a, 'x' AS b FORMAT Native"
        assert ask(sql).body == plain
        assert ask(sql, client_protocol_version="54405").body == info + plain
        assert ask(sql, client_protocol_version="54460").body == info + flagged

    def test_pages_of_this_machine_may_ask(self, ask):
        origin = {"Origin": "http://localhost:3000"}
        assert ask("SELECT 1", headers=origin, add_http_cors_header="1").headers[
            "Access-Control-Allow-Origin"
        ]
        assert "Access-Control-Allow-Origin" not in ask("SELECT 1", headers=origin).headers


class TestReadOnly:
    @pytest.mark.parametrize("readonly", ["1", "2"])
    @pytest.mark.parametrize("session", [{}, {"session_id": "readonly"}])
    @pytest.mark.parametrize(
        "sql",
        [
            "INSERT INTO usage (id) VALUES (1)",
            "INSERT INTO usage (id) SELECT 1",
            "DROP TABLE usage",
            "CREATE TABLE other (a Int8) ENGINE = Memory",
            "ALTER TABLE usage DELETE WHERE 1",
            "TRUNCATE TABLE usage",
            "SET readonly = 0",
        ],
    )
    @pytest.mark.usefixtures("usage")
    def test_writes_are_refused(self, ask, readonly, session, sql):
        if session:
            session = {"session_id": uuid.uuid4().hex}
        answer = ask(sql, readonly=readonly, **session)
        assert (answer.status, answer.code) == (500, 164)
        assert ask("SELECT count() FROM usage", readonly=readonly, **session).text == "0\n"

    @pytest.mark.parametrize("session", [False, True])
    def test_settings_change_under_2_not_under_1(self, ask, session):
        arguments = {"session_id": uuid.uuid4().hex} if session else {}
        sql = "SELECT 1 SETTINGS max_threads = 1"
        assert ask(sql, readonly="1", **arguments).code == 164
        assert ask(sql, readonly="2", **arguments).text == "1\n"
        assert ask("SELECT getSetting('max_block_size')", readonly="2", max_block_size="99").text == "99\n"

    @pytest.mark.usefixtures("usage")
    def test_a_get_reads_only(self, ask):
        assert ask("SELECT count() FROM usage", method="GET").text == "0\n"
        assert ask("DROP TABLE usage", method="GET").code == 164

    @pytest.mark.usefixtures("usage")
    def test_a_client_that_only_reads(self, connect):
        reader = connect(settings={"readonly": "1"})
        assert rows_of(reader, "SELECT count() FROM usage") == [(0,)]
        with pytest.raises(DatabaseError, match="Code: 164"):
            reader.command("DROP TABLE usage")

    @pytest.mark.usefixtures("usage")
    def test_a_session_can_write_again(self, ask):
        session = {"session_id": uuid.uuid4().hex}
        assert ask("SELECT 1", readonly="1", **session).text == "1\n"
        assert ask("INSERT INTO usage (id) VALUES (1)", **session).status == 200


class TestSessions:
    def test_temporary_tables_and_settings_last(self, ask):
        session = {"session_id": uuid.uuid4().hex}
        assert ask("CREATE TEMPORARY TABLE mine (a UInt8)", **session).status == 200
        assert ask("INSERT INTO mine FORMAT CSV\n1\n2\n", **session).status == 200
        assert ask("SET max_block_size = 55", **session).status == 200
        assert ask("SELECT sum(a), getSetting('max_block_size') FROM mine", **session).text == "3\t55\n"
        assert ask("SELECT * FROM mine").code == 60

    def test_a_url_setting_covers_the_session_for_one_request(self, ask):
        session = {"session_id": uuid.uuid4().hex}
        sql = "SELECT getSetting('max_block_size')"
        ask("SET max_block_size = 55", **session)
        assert ask(sql, max_block_size="66", **session).text == "66\n"
        assert ask(sql, **session).text == "55\n"
        ask("SET max_block_size = 77", max_block_size="66", **session)
        assert ask(sql, **session).text == "77\n"

    def test_a_url_database_covers_the_session_for_one_request(self, ask):
        session = {"session_id": uuid.uuid4().hex}
        assert ask("USE system", database="", **session).status == 200
        assert ask("SELECT currentDatabase()", database="default", **session).text == "default\n"
        assert ask("SELECT currentDatabase()", database="", **session).text == "system\n"

    def test_one_request_at_a_time(self, ask, clickhouse_url):
        session, mark = uuid.uuid4().hex, uuid.uuid4().hex
        busy = http.client.HTTPConnection(urlsplit(clickhouse_url).netloc, timeout=30)
        try:
            busy.request("POST", f"/?session_id={session}", f"SELECT sleep(2), '{mark}'")
            running = f"SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleep%{mark}%'"
            deadline = time.monotonic() + 10
            while ask(running).text == "0\n":
                assert time.monotonic() < deadline
            assert ask("SELECT 1", session_id=session).code == 373
        finally:
            busy.close()

    @pytest.mark.parametrize("fmt", ["TabSeparatedWithNames", "TSV", "JSON"])
    def test_rows_of_a_failed_query_are_not_in_the_next_result(self, ask, fmt):
        session = {"session_id": uuid.uuid4().hex}
        fails = f"SELECT throwIf(number = 90000) AS a FROM numbers(100000) FORMAT {fmt}"
        ask(fails, max_block_size="1000", max_threads="1", wait_end_of_query="1", **session)
        assert ask("SELECT 1 AS b FORMAT TSVWithNames", **session).text == "b\n1\n"

    def test_a_session_that_must_exist(self, ask):
        session = {"session_id": uuid.uuid4().hex}
        assert ask("SELECT 1", session_check="1", **session).code == 372
        ask("SELECT 1", **session)
        assert ask("SELECT 1", session_check="1", **session).text == "1\n"

    def test_a_timeout_has_a_bound(self, ask):
        assert ask("SELECT 1", session_id=uuid.uuid4().hex, session_timeout="99999").code == 374


@pytest.mark.usefixtures("table")
class TestRefusedRows:
    """An insert that the engine could not store is an error, whichever way its rows came."""

    ROWS = pa.table({"x": pa.array([1, 6, 3], pa.uint64())})

    @pytest.fixture
    def table(self, ask):
        created = ask("CREATE TABLE t (x UInt64, CONSTRAINT no_6 CHECK x != 6) ENGINE = MergeTree ORDER BY x")
        assert created.status == 200

    def bodies(self):
        arrow = pa.BufferOutputStream()
        with pa.ipc.new_file(arrow, self.ROWS.schema) as writer:
            writer.write_table(self.ROWS)
        yield b"INSERT INTO t FORMAT Arrow\n" + arrow.getvalue().to_pybytes()
        yield b"INSERT INTO t FORMAT JSONEachRow\n" + b'{"x":1}{"x":6}'
        yield b"INSERT INTO t VALUES (1), (6)"
        yield b"INSERT INTO t (x) SETTINGS max_insert_block_size = 10 -- why not\nFORMAT CSV\n1\n6\n"

    def test_a_violated_constraint_is_told_and_nothing_is_stored(self, ask):
        for body in self.bodies():
            answer = ask(body)
            assert (answer.status, answer.code) == (500, 469), body
            assert "no_6" in answer.text
            assert ask("SELECT count() FROM t").text == "0\n"

    def test_the_same_without_the_row_is_stored(self, ask):
        answer = ask("INSERT INTO t (x) -- a comment\nFORMAT CSV\n1\n3\n")
        assert answer.status == 200
        assert json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"] == "2"
        assert ask("SELECT groupArray(x) FROM t").text == "[1,3]\n"
