"""What clients of the embedded endpoint may not use."""

import pytest

from infra.local.clickhouse.errors import EngineError
from infra.local.clickhouse.fence import Fence
from infra.local.clickhouse.lexer import tokens

FENCE = Fence.around(
    ["file", "url", "s3", "remote", "cluster", "python", "executable", "numbers", "newFunction", "view"],
    ["File", "URL", "Kafka", "MySQL", "Filesystem", "MergeTree", "Memory", "Atomic"],
)


def check(sql):
    FENCE.check(tuple(tokens(sql.encode())))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('/etc/passwd')",
        "SELECT * FROM FILE ('/etc/passwd', LineAsString)",
        "SELECT * FROM `file`/**/('/etc/passwd')",
        "SELECT * FROM \"fi\\x6ce\"('/etc/passwd')",
        "SELECT file('/etc/passwd')",
        "SELECT arrayMap(file, ['/etc/passwd'])",
        "SELECT * APPLY file FROM t",
        "SELECT * APPLY(file) FROM t",
        "SELECT arrayMap(x -> file(x), a) FROM t",
        "CREATE FUNCTION f AS x -> file(x)",
        "SELECT /* /* */ ' */ 1, * FROM url('http://a') -- '",
        "SELECT 1 // '\n, * FROM url('http://a') // '",
        "SELECT 1 AS $x$, * FROM url('http://a')",
        "SELECT a\u2018'\u2019, file('x') , '",
        "SELECT * FROM (SELECT * FROM s3('http://a'))",
        "SELECT * FROM remote('a:9000', b.c)",
        "SELECT * FROM Python(x)",
        "SELECT * FROM newFunction('since added')",
        "DESCRIBE TABLE file('/etc/passwd')",
        "INSERT INTO FUNCTION file('x') SELECT 1",
        "INSERT INTO TABLE FUNCTION url('x') SELECT 1",
        "CREATE TABLE t AS file('x')",
        "CREATE TABLE t (a Int8) ENGINE = File(CSV, '/tmp/x')",
        "CREATE TABLE t (a Int8) ENGINE URL('http://a')",
        "CREATE TABLE t (a Int8) ENGINE = `Kafka`()",
        "CREATE DATABASE d ENGINE = Filesystem('/')",
        "ATTACH DATABASE d ENGINE = Overlay",
        "CREATE TABLE t (a Int8) ENGINE = MergeTree SETTINGS disk = disk(type = local, path = '/')",
        "CREATE DICTIONARY d (a Int8) PRIMARY KEY a SOURCE(HTTP(url 'http://a')) LAYOUT(FLAT())",
        "CREATE DICTIONARY d (a Int8) PRIMARY KEY a SOURCE(CLICKHOUSE(HOST 'a' TABLE 't')) LAYOUT(FLAT())",
        "CREATE NAMED COLLECTION c AS url = 'http://a'",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV",
        "SELECT 1 FORMAT Template SETTINGS format_template_row = '/etc/passwd'",
        "SET format_schema = '/etc/passwd:M'",
        "BACKUP TABLE t TO File('/tmp/x')",
        "RESTORE TABLE t FROM File('/tmp/x')",
        "COPY t TO '/tmp/x'",
        "ATTACH TABLE t FROM '/tmp/x' (a Int8) ENGINE = MergeTree",
        "SYSTEM SHUTDOWN",
        "SELECT aiGenerate('text')",
    ],
)
def test_files_and_the_network_are_out_of_reach(sql):
    with pytest.raises(EngineError, match="Not enough privileges") as refused:
        check(sql)
    assert refused.value.code == 497


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'file(''/etc/passwd'')', number FROM numbers(3)",
        "SELECT file, url FROM t WHERE url = 'http://a' AND file IN ('x')",
        "SELECT sum(file), count() FROM t GROUP BY cluster",
        "INSERT INTO t (file, url) VALUES",
        "INSERT INTO cluster (a, b)",
        "INSERT INTO db.url (a)",
        "CREATE TABLE IF NOT EXISTS cluster (file String, url String) ENGINE = MergeTree ORDER BY file",
        "CREATE DATABASE d ENGINE = Atomic",
        "SELECT engine FROM system.tables WHERE engine = 'File'",
        "SELECT * FROM view(SELECT 1)",
        "CREATE DICTIONARY d (a Int8) PRIMARY KEY a SOURCE(CLICKHOUSE(TABLE 't')) LAYOUT(FLAT())",
        "CREATE MATERIALIZED VIEW v REFRESH EVERY 1 HOUR ENGINE = MergeTree ORDER BY a AS SELECT 1 AS a",
        "SYSTEM STOP MERGES",
        "KILL QUERY WHERE query_id = 'x'",
    ],
)
def test_everything_else_passes(sql):
    check(sql)


def test_a_setting_of_the_url_may_not_name_a_file():
    with pytest.raises(EngineError, match="setting format_template_row"):
        FENCE.check_settings(["max_threads", "format_template_row"])
