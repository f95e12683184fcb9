"""Statements, as the embedded endpoint reads them before the engine does."""

import pytest

from infra.local.clickhouse.errors import EngineError
from infra.local.clickhouse.lexer import Kind, tokens
from infra.local.clickhouse.statements import find_insert, parse


def lexed(sql):
    return [token.text for token in tokens(sql.encode())]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 'it''s', 'a\\'b'", ["SELECT", "'it''s'", ",", "'a\\'b'"]),
        ('SELECT `a``b`, "c"', ["SELECT", "`a``b`", ",", '"c"']),
        ("SELECT 1 -- FORMAT CSV\n, 2", ["SELECT", "1", ",", "2"]),
        ("SELECT 1 // x\n# y\n#! z\n, 2", ["SELECT", "1", ",", "2"]),
        ("SELECT /* a /* nested */ comment ' */ 1", ["SELECT", "1"]),
        ("SELECT $tag$ it's $tag$, 1", ["SELECT", "$tag$ it's $tag$", ",", "1"]),
        ("SELECT 1 AS $x$, f('a')", ["SELECT", "1", "AS", "$x$", ",", "f", "(", "'a'", ")"]),
        ("SELECT \u2018a b\u2019, \u201cc\u201d", ["SELECT", "\u2018a b\u2019", ",", "\u201cc\u201d"]),
        ("SELECT 1e-5, 1.5, {x:UInt8}", ["SELECT", "1e-5", ",", "1.5", ",", "{", "x", ":", "UInt8", "}"]),
    ],
)
def test_quotes_and_comments_hide_what_they_hold(sql, expected):
    assert lexed(sql) == expected


def test_a_letter_beyond_ascii_does_not_hide_the_quote_after_it():
    assert [token.kind for token in tokens("a\u2018'\u2019".encode())] == [Kind.WORD, Kind.STRING]


def test_an_open_comment_runs_to_the_end():
    assert lexed("SELECT 1 /* /* */ f('x')") == ["SELECT", "1"]


@pytest.mark.parametrize(
    ("body", "head", "fmt", "rows"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2\n", "INSERT INTO t", "CSV", b"1,2\n"),
        (b"insert into db.t (a, b) format JSONEachRow {}", "insert into db.t (a, b)", "JSONEachRow", b"{}"),
        (b"INSERT INTO t VALUES (1), (2)", "INSERT INTO t", "Values", b" (1), (2)"),
        (b"INSERT INTO t FORMAT Native\n\x00'\xff", "INSERT INTO t", "Native", b"\x00'\xff"),
        (b"INSERT INTO t FORMAT Native \r\n\nx", "INSERT INTO t", "Native", b"\nx"),
        (b"INSERT INTO t SETTINGS a=1 FORMAT TSV", "INSERT INTO t", "TSV", b""),
        (b"INSERT INTO `format` (`values`) FORMAT TSV\n1", "INSERT INTO `format` (`values`)", "TSV", b"1"),
        (b"INSERT INTO format FORMAT TSV\n1", "INSERT INTO format", "TSV", b"1"),
        (b"INSERT INTO db.values FORMAT TSV\n1", "INSERT INTO db.values", "TSV", b"1"),
        (
            b"/* c */ INSERT INTO TABLE t (a) -- c\nVALUES(1)",
            "/* c */ INSERT INTO TABLE t (a) -- c",
            "Values",
            b"(1)",
        ),
        (b"INSERT INTO t", "INSERT INTO t", "", b""),
        (b"INSERT INTO t (a);", "INSERT INTO t (a)", "", b""),
    ],
)
def test_an_insert_ends_where_its_rows_begin(body, head, fmt, rows):
    insert = find_insert(body)
    assert (insert.head, insert.input, body[insert.data_start :]) == (head, fmt, rows)


@pytest.mark.parametrize(
    "body",
    [
        b"SELECT 1",
        b"",
        b"INSERT INTO t SELECT 1 FORMAT CSV",
        b"INSERT INTO t (a) WITH 1 AS x SELECT x",
        b"INSERT INTO t (SELECT 1)",
        b"INSERT INTO t FROM INFILE 'x' FORMAT CSV",
    ],
)
def test_other_statements_have_no_rows(body):
    assert find_insert(body) is None


@pytest.mark.parametrize(
    ("sql", "output", "inner"),
    [
        ("SELECT 1", "", "SELECT 1"),
        ("SELECT 1 FORMAT CSV;", "CSV", "SELECT 1"),
        ("SELECT 1\nformat JSON SETTINGS a=1 ;; ", "JSON", "SELECT 1\n SETTINGS a=1"),
        ("SELECT 'FORMAT CSV'", "", "SELECT 'FORMAT CSV'"),
        ("SELECT * FROM (SELECT 1 FORMAT CSV)", "", "SELECT * FROM (SELECT 1 FORMAT CSV)"),
        ("SELECT format FROM t", "", "SELECT format FROM t"),
        ("SELECT format AS x", "", "SELECT format AS x"),
        ("SELECT 1 -- FORMAT CSV", "", "SELECT 1"),
    ],
)
def test_the_output_format_is_the_one_at_the_end(sql, output, inner):
    statement = parse(sql.encode())
    assert (statement.output, statement.inner) == (output, inner)


@pytest.mark.parametrize(
    ("sql", "selects"),
    [
        ("SELECT 1", True),
        ("(SELECT 1) UNION ALL SELECT 2", True),
        ("WITH 1 AS x SELECT x", True),
        ("SHOW TABLES", False),
        ("DROP TABLE t", False),
        ("EXPLAIN SELECT 1", False),
    ],
)
def test_only_selects_stream(sql, selects):
    assert parse(sql.encode()).selects is selects


@pytest.mark.parametrize("sql", [b"", b" ; ", b"-- nothing", b"SELECT 1; SELECT 2", b"SELECT '\xff'"])
def test_anything_but_one_statement_is_a_syntax_error(sql):
    with pytest.raises(EngineError) as refused:
        parse(sql)
    assert refused.value.code == 62


@pytest.mark.parametrize(
    ("body", "settings"),
    [
        (b"INSERT INTO t (a) SETTINGS a=1, b='x' FORMAT TSV", "SETTINGS a=1, b='x'"),
        (b"INSERT INTO settings FORMAT TSV", ""),
        (b"INSERT INTO db.settings (settings) FORMAT TSV", ""),
        (b"INSERT INTO t SETTINGS a=1 -- c\nFORMAT TSV", "SETTINGS a=1 -- c"),
    ],
)
def test_the_settings_of_an_insert_are_told_apart(body, settings):
    assert find_insert(body).settings == settings
