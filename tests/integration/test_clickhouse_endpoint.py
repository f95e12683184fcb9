"""The embedded ClickHouse endpoint as a process: its life, its fence, and clients in other languages."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from infra.local.clickhouse.columns import Cursor, parse_type
from tests.fixtures.clickhouse import command, running_endpoint

pytestmark = pytest.mark.skipif(bool(os.environ.get("TEST_CLICKHOUSE")), reason="about the embedded endpoint")

DEADLINE = 15


@contextmanager
def connection(url):
    opened = http.client.HTTPConnection(urlsplit(url).netloc, timeout=DEADLINE)
    try:
        yield opened
    finally:
        opened.close()


def ask(url, sql, path="/", headers=None):
    """Return status, text and headers of the answer to a statement."""
    with connection(url) as opened:
        opened.request("POST", path, sql, headers or {})
        answer = opened.getresponse()
        return answer.status, answer.read().decode(), answer.headers


def rows(url, sql, path="/"):
    status, text, _ = ask(url, sql, path)
    assert status == 200, text
    return text.removesuffix("\n")


def wait_until(condition):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.01)


def run_second(*arguments, **environment):
    return subprocess.run(
        command(*arguments),
        cwd=Path(__file__).parents[2],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


class TestLife:
    def test_it_says_one_line_and_ends_with_0(self, tmp_path):
        with running_endpoint(tmp_path / "data") as endpoint:
            ready = rf"clickhouse endpoint ready on http://127\.0\.0\.1:\d+ data {tmp_path}/data\n"
            assert re.fullmatch(ready, endpoint.ready_line)
            assert rows(endpoint.url, "SELECT 1") == "1"
            assert endpoint.stop() == 0
            assert endpoint.process.stdout.read() == ""

    def test_a_restart_keeps_everything(self, tmp_path):
        with running_endpoint(tmp_path) as endpoint:
            assert rows(endpoint.url, "SHOW TABLES") == ""
        with running_endpoint(tmp_path) as endpoint:  # on the traces of an empty database
            rows(endpoint.url, "CREATE TABLE kept (a UInt8) ENGINE = MergeTree ORDER BY a")
            rows(endpoint.url, "INSERT INTO kept VALUES (1), (2)")
            rows(endpoint.url, "CREATE DATABASE other")
            rows(endpoint.url, "CREATE VIEW other.sums AS SELECT sum(a) AS s FROM default.kept")
            endpoint.process.send_signal(signal.SIGINT)
            assert endpoint.process.wait(DEADLINE) == 0
        with running_endpoint(tmp_path) as endpoint:
            assert rows(endpoint.url, "SELECT s FROM other.sums") == "3"
            rows(endpoint.url, "DROP TABLE kept SYNC")
        with running_endpoint(tmp_path) as endpoint:
            assert rows(endpoint.url, "SHOW TABLES") == ""

    def test_acknowledged_inserts_survive_a_kill(self, tmp_path):
        acknowledged = []

        def insert_until_it_dies(url, lane):
            try:
                for batch in range(lane, 1_000_000, 2):
                    sql = f"INSERT INTO ledger SELECT {batch}, number FROM numbers(100)"
                    if ask(url, sql)[0] == 200:
                        acknowledged.append(batch)
            except (OSError, http.client.HTTPException):
                pass

        with running_endpoint(tmp_path) as endpoint:
            table = "CREATE TABLE ledger (batch UInt32, n UInt32) ENGINE = MergeTree ORDER BY (batch, n)"
            rows(endpoint.url, table)
            lanes = [
                threading.Thread(target=insert_until_it_dies, args=(endpoint.url, lane)) for lane in (0, 1)
            ]
            for lane in lanes:
                lane.start()
            wait_until(lambda: len(acknowledged) >= 40)
            endpoint.kill()
            for lane in lanes:
                lane.join(DEADLINE)
        with running_endpoint(tmp_path) as endpoint:
            whole = "SELECT batch FROM ledger GROUP BY batch HAVING count() = 100 ORDER BY batch"
            assert set(acknowledged) <= set(map(int, rows(endpoint.url, whole).split()))

    def test_a_refreshable_view_refreshes(self, clickhouse_url):
        view = f"tick_{uuid.uuid4().hex}"
        sql = (
            f"CREATE MATERIALIZED VIEW {view} REFRESH EVERY 1 HOUR (a UInt8) ENGINE = Memory AS SELECT 7 AS a"
        )
        rows(clickhouse_url, sql)
        wait_until(lambda: rows(clickhouse_url, f"SELECT a FROM {view}") == "7")
        rows(clickhouse_url, f"DROP TABLE {view}")

    def test_a_second_owner_is_told_so(self, clickhouse_endpoint):
        second = run_second(clickhouse_endpoint.directory)
        assert second.returncode == 2
        assert second.stdout == ""
        assert second.stderr.count("\n") == 1
        assert str(clickhouse_endpoint.directory) in second.stderr
        assert f"process {clickhouse_endpoint.process.pid}:" in second.stderr
        assert "--data-dir" in second.stderr
        assert rows(clickhouse_endpoint.url, "SELECT 1") == "1"

    def test_a_taken_port_is_told(self, clickhouse_endpoint, tmp_path):
        second = run_second(tmp_path, clickhouse_endpoint.port)
        assert second.returncode == 2
        assert second.stderr.count("\n") == 1
        assert f"port {clickhouse_endpoint.port}:" in second.stderr

    def test_a_directory_that_cannot_be_made_is_told(self, tmp_path):
        (tmp_path / "file").write_text("")
        second = run_second(tmp_path / "file" / "data")
        assert second.returncode == 2
        assert second.stderr.count("\n") == 1

    def test_a_running_request_ends_before_the_process(self, tmp_path):
        answers = []
        with running_endpoint(tmp_path) as endpoint:
            slow = threading.Thread(target=lambda: answers.append(rows(endpoint.url, "SELECT sleep(1), 5")))
            slow.start()
            busy = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleep%'"
            wait_until(lambda: rows(endpoint.url, busy) == "1")
            assert endpoint.stop() == 0
            slow.join(DEADLINE)
        assert answers == ["0\t5"]

    def test_a_request_that_does_not_end_is_stopped(self, tmp_path):
        answers = []
        with running_endpoint(tmp_path, grace=0.2) as endpoint:

            def endless():
                try:
                    answers.append(ask(endpoint.url, TestQueries.ENDLESS)[0])
                except (OSError, http.client.HTTPException) as error:
                    answers.append(error)

            query = threading.Thread(target=endless)
            query.start()
            wait_until(lambda: TestQueries.running(endpoint.url, "sipHash64"))
            assert endpoint.stop() == 0
            query.join(DEADLINE)
        assert len(answers) == 1

    def test_an_upload_that_stops_does_not_hold_the_process(self, tmp_path):
        with running_endpoint(tmp_path, grace=0.2) as endpoint, connection(endpoint.url) as opened:
            rows(endpoint.url, "CREATE TABLE half (a String) ENGINE = MergeTree ORDER BY a")
            opened.putrequest("POST", "/?query=INSERT%20INTO%20half%20FORMAT%20LineAsString")
            opened.putheader("Content-Length", str(2 << 20))
            opened.endheaders(b"a line\n" * 100_000)
            assert endpoint.stop() == 0
        with running_endpoint(tmp_path) as endpoint:
            assert rows(endpoint.url, "SELECT count() FROM half") == "0"


@pytest.fixture(scope="module")
def listener():
    """Listen where attacks would connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


class TestFence:
    ATTACKS = (
        "SELECT * FROM file('{secret}', LineAsString)",
        "SELECT * FROM `file`/* */('{secret}', LineAsString)",
        "SELECT file('{secret}')",
        "SELECT '{secret}' AS a, * APPLY file FROM (SELECT '{secret}')",
        "SELECT arrayMap(file, ['{secret}'])",
        "SELECT * FROM '{secret}'",
        "SELECT * FROM `{secret}`",
        "SELECT * FROM default.`{secret}`",
        "FROM '{secret}' SELECT *",
        "DESCRIBE TABLE file('{secret}', LineAsString)",
        "CREATE TABLE stolen (a String) ENGINE = File(LineAsString, '{secret}')",
        "CREATE DATABASE stolen ENGINE = Filesystem('{directory}')",
        "INSERT INTO target FROM INFILE '{secret}' FORMAT LineAsString",
        "INSERT INTO target VALUES (file('{secret}'))",
        "INSERT INTO target VALUES ((SELECT * FROM file('{secret}', LineAsString)))",
        "INSERT INTO FUNCTION file('{directory}/made', LineAsString) SELECT 'x'",
        "SELECT 'x' INTO OUTFILE '{directory}/made'",
        "SHOW TABLES INTO OUTFILE '{directory}/made'",
        "SELECT 1 FORMAT Template SETTINGS format_template_row = '{secret}'",
        "SELECT /* /* */ ' */ 1, * FROM file('{secret}', LineAsString) -- '",
        "SELECT 1 // '\n, file('{secret}') // '",
        "SELECT 1 AS $x$, file('{secret}')",
        "SELECT * FROM Python(os)",
        "SELECT * FROM url('http://127.0.0.1:{port}/', LineAsString)",
        "SELECT * FROM s3('http://127.0.0.1:{port}/a/b', LineAsString)",
        "SELECT * FROM remote('127.0.0.1:{port}', system.one)",
        "SELECT * FROM executable('id', TSV, 'a String')",
        "BACKUP TABLE target TO File('{directory}/made')",
        "1 + 1",
    )

    @pytest.mark.parametrize("attack", ATTACKS)
    def test_no_file_and_no_network(self, clickhouse_url, tmp_path, listener, attack):
        secret = tmp_path / "secret.txt"
        secret.write_text("the-secret")
        database = f"fence_{uuid.uuid4().hex}"
        path = f"/?database={database}"
        rows(clickhouse_url, f"CREATE DATABASE {database}")
        rows(clickhouse_url, "CREATE TABLE target (a String) ENGINE = Memory", path)
        sql = attack.format(secret=secret, directory=tmp_path, port=listener.getsockname()[1])
        status, text, headers = ask(clickhouse_url, sql, path)
        assert status in {400, 403, 404}
        assert headers["X-ClickHouse-Exception-Code"] in {"497", "60", "62"}
        assert "the-secret" not in text
        assert [entry.name for entry in tmp_path.iterdir()] == ["secret.txt"]
        assert rows(clickhouse_url, "SELECT count() FROM target", path) == "0"
        with pytest.raises(BlockingIOError):
            listener.accept()
        rows(clickhouse_url, f"DROP DATABASE {database}")

    def test_a_path_is_no_table_by_parameter(self, clickhouse_url, tmp_path):
        (tmp_path / "secret.txt").write_text("the-secret")
        path = f"/?param_t={quote(str(tmp_path / 'secret.txt'))}"
        assert ask(clickhouse_url, "SELECT * FROM {t:Identifier}", path)[0] == 404

    def test_a_setting_of_the_url_names_no_file(self, clickhouse_url):
        path = "/?format_template_row=%2Fetc%2Fpasswd"
        assert ask(clickhouse_url, "SELECT 1 FORMAT Template", path)[0] == 403

    def test_foreign_pages_are_refused(self, clickhouse_url):
        assert ask(clickhouse_url, "SELECT 1", headers={"Origin": "https://evil.example"})[0] == 403
        assert ask(clickhouse_url, "SELECT 1", headers={"Host": "evil.example"})[0] == 403
        assert ask(clickhouse_url, "SELECT 1", headers={"Origin": "http://localhost:3000"})[0] == 200

    def test_a_browser_may_ask_first(self, clickhouse_url):
        with connection(clickhouse_url) as opened:
            opened.request("OPTIONS", "/", headers={"Origin": "http://localhost:3000"})
            answer = opened.getresponse()
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"

    def test_a_password_from_the_environment(self, tmp_path):
        account = {"SPENDSTREAM_CLICKHOUSE_USER": "ann", "SPENDSTREAM_CLICKHOUSE_PASSWORD": "pa:ss"}
        with running_endpoint(tmp_path, **account) as endpoint:
            basic = {"Authorization": "Basic " + b64encode(b"ann:pa:ss").decode()}
            assert ask(endpoint.url, "SELECT 1", headers=basic)[:2] == (200, "1\n")
            assert ask(endpoint.url, "SELECT 1", "/?user=ann&password=pa:ss")[:2] == (200, "1\n")
            for path in ("/", "/?user=ann&password=wrong", "/?user=default"):
                status, text, headers = ask(endpoint.url, "SELECT 1", path)
                assert (status, headers["X-ClickHouse-Exception-Code"]) == (403, "516")
                assert "pa:ss" not in text
            with connection(endpoint.url) as opened:
                opened.request("GET", "/ping")
                assert opened.getresponse().status == 200


class TestQueries:
    ENDLESS = "SELECT count() FROM numbers(10000000000000) WHERE sipHash64(number) = 7"

    @staticmethod
    def running(url, mark):
        known = f"query LIKE '%{mark}%' AND query NOT LIKE '%processes%'"
        return int(rows(url, f"SELECT count() FROM system.processes WHERE {known}"))

    def test_a_query_is_killed_by_its_id(self, clickhouse_url):
        mark, answers = uuid.uuid4().hex, []
        sql, path = f"{self.ENDLESS} AND '{mark}' != ''", f"/?query_id={mark}"
        query = threading.Thread(target=lambda: answers.append(ask(clickhouse_url, sql, path)))
        query.start()
        wait_until(lambda: self.running(clickhouse_url, mark))
        assert ask(clickhouse_url, "SELECT 1", path)[2]["X-ClickHouse-Exception-Code"] == "216"
        rows(clickhouse_url, f"KILL QUERY WHERE query_id = '{mark}' SYNC")
        query.join(DEADLINE)
        assert answers[0][2]["X-ClickHouse-Exception-Code"] == "394"

    def test_a_query_ends_when_its_client_leaves(self, clickhouse_url):
        mark = uuid.uuid4().hex
        with connection(clickhouse_url) as opened:
            opened.request("POST", "/", f"{self.ENDLESS} AND '{mark}' != ''")
            wait_until(lambda: self.running(clickhouse_url, mark))
        wait_until(lambda: not self.running(clickhouse_url, mark))

    def test_a_large_result_is_not_held(self, clickhouse_endpoint):
        process = Path(f"/proc/{clickhouse_endpoint.process.pid}")

        def memory(kind):
            return int(re.search(rf"{kind}:\s+(\d+) kB", (process / "status").read_text())[1])

        (process / "clear_refs").write_text("5")  # the peak starts from now
        before, size = memory("VmRSS"), 0
        with connection(clickhouse_endpoint.url) as opened:
            opened.request("POST", "/", "SELECT repeat('x', 200) FROM numbers(5000000) FORMAT TSV")
            answer = opened.getresponse()
            while piece := answer.read(1 << 20):
                size += len(piece)
        assert size == 201 * 5_000_000
        assert memory("VmHWM") - before < size * 3 // 4 // 1024

    def test_every_column_of_every_type_is_framed(self, clickhouse_url):
        sql = """
            SELECT number AS a, repeat('x', number) AS b, toDecimal128(number, 4) AS c, [number, NULL] AS d,
                map('k', toLowCardinality(toString(number))) AS e, (number, 'x') AS f,
                toUUID('00000000-0000-0000-0000-000000000000') AS g,
                CAST(number % 2 ? NULL : 'v', 'LowCardinality(Nullable(String))') AS h, now64(3, 'UTC') AS i,
                CAST('a', 'Enum8(\\'a\\' = 1, \\'b)\\' = 2)') AS j, toIPv6('::1') AS k,
                toFixedString('ab', 3) AS l,
                [[toLowCardinality('x')], []] AS m,
                CAST(number, 'Variant(String, UInt64)') AS n, 1.5 AS o,
                CAST([(1, 'x')], 'Nested(p UInt8, q String)') AS p, toDateTime(0, 'Asia/Tokyo') AS q,
                true AS r,
                toInt256(1) AS s, INTERVAL 1 DAY AS t, (0., 0.)::Point AS u, toDate32('2024-01-01') AS v
            FROM numbers(200) FORMAT Native
        """
        settings = "/?allow_suspicious_low_cardinality_types=1&max_block_size=70"
        with connection(clickhouse_url) as opened:
            opened.request("POST", f"{settings}&client_protocol_version=54460", sql)
            data = opened.getresponse().read()
        cursor, names, types, total = Cursor(data), [], [], 0
        while cursor.position < len(data):
            assert data[cursor.position : cursor.position + 8] == b"\x01\x00\x02\xff\xff\xff\xff\x00"
            cursor.skip(8)
            columns, count = cursor.varint(), cursor.varint()
            for _ in range(columns):
                names.append(cursor.text())
                types.append(cursor.text())
                assert cursor.fixed(1) == 0
                parse_type(types[-1]).skip_prefix(cursor)
                parse_type(types[-1]).skip_values(cursor, count)
            total += count
        assert total == 200
        assert "".join(names[:22]) == "abcdefghijklmnopqrstuv"
        assert types[16] == "DateTime('Asia/Tokyo')"


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
class TestCurl:
    def curl(self, *arguments, data=b""):
        done = subprocess.run(
            ["curl", "-sS", "--max-time", str(DEADLINE), *arguments],
            input=data,
            capture_output=True,
            check=True,
        )
        return done.stdout.decode()

    def test_queries(self, clickhouse_url):
        assert self.curl(clickhouse_url) == "Ok.\n"
        assert self.curl(clickhouse_url, "-d", "SELECT 1") == "1\n"
        assert self.curl(f"{clickhouse_url}/?query=SELECT%202") == "2\n"
        assert (
            self.curl("--compressed", f"{clickhouse_url}/?query=SELECT%203&enable_http_compression=1")
            == "3\n"
        )

    def test_a_pipe_and_a_form(self, clickhouse_url):
        table = f"piped_{uuid.uuid4().hex}"
        self.curl(clickhouse_url, "-d", f"CREATE TABLE {table} (a UInt32) ENGINE = MergeTree ORDER BY a")
        lines = b"".join(b"%d\n" % i for i in range(400_000))  # large enough for curl to ask before it sends
        insert = f"{clickhouse_url}/?query=INSERT%20INTO%20{table}%20FORMAT%20TSV"
        self.curl(insert, "--data-binary", "@-", data=lines)
        assert self.curl(clickhouse_url, "-d", f"SELECT count() FROM {table}") == "400000\n"
        url = f"{clickhouse_url}/?query=SELECT%20sum(a)%20FROM%20ext&ext_structure=a%20UInt8"
        assert self.curl(url, "-F", "ext=@-", data=b"1\n2\n") == "3\n"
        self.curl(clickhouse_url, "-d", f"DROP TABLE {table}")


JAVASCRIPT = """
import { createClient } from '@clickhouse/client'
const client = createClient({ url: process.argv[2], compression: { request: true, response: true } })
const table = process.argv[3], found = {}
found.ping = (await client.ping()).success
await client.command({ query: `CREATE TABLE ${table} (a UInt64, b String) ENGINE = MergeTree ORDER BY a` })
await client.insert({ table, values: [{ a: 1, b: 'x' }, { a: 2, b: 'y' }], format: 'JSONEachRow' })
const query = `SELECT b FROM ${table} WHERE a = {a: UInt64}`
found.rows = await (await client.query({ query, query_params: { a: 2 }, format: 'JSONEachRow' })).json()
found.streamed = 0
const rows = await client.query({ query: 'SELECT number FROM numbers(200000)', format: 'JSONEachRow' })
for await (const batch of rows.stream()) found.streamed += batch.length
found.code = await client.command({ query: 'SELECT nothing' }).catch((error) => error.code)
await client.command({ query: `DROP TABLE ${table}` })
await client.close()
console.log(JSON.stringify(found))
"""


@pytest.fixture(scope="module")
def javascript(tmp_path_factory):
    """Install the JavaScript client once, where npm can."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("needs npm and node")
    directory = tmp_path_factory.mktemp("javascript")
    (directory / "package.json").write_text('{"private": true}')
    (directory / "client.mjs").write_text(JAVASCRIPT)
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "@clickhouse/client@1.23"]
    try:
        done = subprocess.run(install, cwd=directory, capture_output=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm does not answer in time")
    if done.returncode:
        pytest.skip("npm cannot install @clickhouse/client")
    return directory


def test_the_javascript_client(clickhouse_url, javascript):
    script = ["node", "client.mjs", clickhouse_url, f"js_{uuid.uuid4().hex}"]
    done = subprocess.run(
        script, cwd=javascript, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = {"ping": True, "rows": [{"b": "y"}], "streamed": 200_000, "code": "47"}
    assert json.loads(done.stdout.splitlines()[-1]) == expected
