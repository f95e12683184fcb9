"""No files and no network from a client's SQL: whoever reaches the port must not reach the desk behind it.

The embedded engine has one user with every right and no way to take one away, so the statement is refused
before it gets there. Where in doubt a statement is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NoReturn

from infra.local.clickhouse.errors import Code, EngineError
from infra.local.clickhouse.lexer import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from infra.local.clickhouse.lexer import Token

__all__ = ["Fence"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Of the functions that make tables, those that stay inside the engine. The others are unknown to us or
# reach out, so a newer engine's additions are refused until somebody has looked at them.
_LOCAL_FUNCTIONS: Final = _words(
    """
    dictionary format fuzzjson fuzzquery generaterandom generate_series generateseries input loop merge
    mergetreeanalyzeindexes mergetreeanalyzeindexesuuid mergetreecodecblockcounts mergetreeindex
    mergetreeprojection mergetreetextindex null numbers numbers_mt primes prometheusquery
    prometheusqueryrange sqlstandardvalues timeseriesdata timeseriesmetricfamilies timeseriesmetrics
    timeseriessamples timeseriesselector timeseriestags values view viewexplain viewifpermitted zeros zeros_mt
    """
)
_LOCAL_ENGINES: Final = _words(
    """
    aggregatingmergetree alias atomic buffer coalescingmergetree collapsingmergetree dictionary fuzzjson
    fuzzquery generaterandom graphitemergetree join log loop materializedview memory merge mergetree null
    ordinary replacingmergetree set stripelog summingmergetree timeseries tinylog versionedcollapsingmergetree
    view
    """
)
# Scalar functions: `file` reads one, `ai*` call a service, `disk` places a table anywhere.
_SCALARS: Final = frozenset({"file", "disk", "catboostevaluate"})
_AI: Final = frozenset(
    f"ai{name}" for name in ("classify", "embed", "extract", "filter", "generate", "redact", "similarity")
) | {"aitranslate"}
# Settings whose value is the path of a file, or a URL.
_SETTINGS: Final = frozenset(
    {
        "format_avro_schema_registry_url",
        "format_schema",
        "format_template_resultset",
        "format_template_row",
        "iceberg_metadata_file_path",
        "url_base",
    }
)
_VERBS: Final = frozenset({"BACKUP", "COPY", "EXECUTE", "RESTORE", "SNAPSHOT"})
_SYSTEM: Final = frozenset({"FAILPOINT", "INSTRUMENT", "KILL", "LISTEN", "SHUTDOWN", "SUSPEND"})
_DICTIONARY_SOURCES: Final = frozenset({"clickhouse", "null"})
_HIGHER_ORDER: Final = ("array", "map", "apply", "__apply")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """What clients may not use, in lower case: functions that are called, and engines of tables."""

    functions: frozenset[str]
    engines: frozenset[str]

    @classmethod
    def around(cls, table_functions: Iterable[str], engines: Iterable[str]) -> Fence:
        """Return the fence for an engine that has these table functions and engines."""
        functions = {name.lower() for name in table_functions} - _LOCAL_FUNCTIONS
        return cls(
            functions=frozenset(functions) | _SCALARS | _AI,
            engines=frozenset({name.lower() for name in engines} - _LOCAL_ENGINES) | {"overlay"},
        )

    def check_settings(self, names: Iterable[str]) -> None:
        """Raise EngineError (ACCESS_DENIED) for a setting that names a file or a URL."""
        for name in names:
            if name.lower() in _SETTINGS:
                _refuse(f"setting {name}")

    def check(self, statement: Sequence[Token]) -> None:
        """Raise EngineError (ACCESS_DENIED) for a statement that could reach a file or the network."""
        _check_verbs(statement)
        for index, (token, following) in enumerate(pairwise(statement)):
            if token.kind is Kind.SYMBOL:
                continue
            self._check_call(statement, index, following)
            if token.upper == "ENGINE":
                self._check_engine(statement, index)
            elif token.upper == "SOURCE" and following.is_symbol("("):
                _check_source(statement, index + 2)
            elif following.is_symbol("="):
                self.check_settings([token.name])
            elif following.kind is Kind.STRING and (token.upper in {"OUTFILE", "INFILE"}):
                _refuse(token.upper)

    def _check_call(self, statement: Sequence[Token], index: int, following: Token) -> None:
        token = statement[index]
        if token.kind is Kind.QUOTED and "\\" in token.name and following.is_symbol("("):
            _refuse("a function whose quoted name has a backslash")
        name = token.name.lower()
        if name not in self.functions:
            return
        if following.is_symbol("("):
            if not _is_table_name(statement, index):
                _refuse(f"function {token.name}")
        elif name in _SCALARS | _AI and _is_passed_on(statement, index):
            _refuse(f"function {token.name}")

    def _check_engine(self, statement: Sequence[Token], index: int) -> None:
        after = statement[index + 1 : index + 3]
        name = after[1] if after[0].is_symbol("=") and len(after) > 1 else after[0]
        if name.name.lower() in self.engines or (name.kind is Kind.QUOTED and "\\" in name.name):
            _refuse(f"engine {name.name}")


def _check_verbs(statement: Sequence[Token]) -> None:
    words = [token.upper for token in statement]
    verb = words[0] if words else ""
    if verb in _VERBS:
        _refuse(verb)
    if verb == "SYSTEM" and not _SYSTEM.isdisjoint(words):
        _refuse(" ".join(words[:3]).strip())
    if verb == "ATTACH" and "FROM" in words and "SELECT" not in words:
        _refuse("ATTACH ... FROM")
    if verb in {"CREATE", "ALTER"} and words[1:3] == ["NAMED", "COLLECTION"]:
        _refuse(f"{verb} NAMED COLLECTION")


def _is_table_name(statement: Sequence[Token], index: int) -> bool:
    """Whether the name before `(` is that of a table: INSERT INTO url (...), CREATE TABLE file (...)."""
    if index and statement[index - 1].is_symbol("."):
        return True
    before = [token.upper for token in statement[:index]]
    return before in (
        ["INSERT", "INTO"],
        ["INSERT", "INTO", "TABLE"],
        ["CREATE", "TABLE"],
        ["CREATE", "TABLE", "IF", "NOT", "EXISTS"],
    )


def _is_passed_on(statement: Sequence[Token], index: int) -> bool:
    """Whether a function's bare name is an argument that is called: arrayMap(file, ...), APPLY file."""
    before = statement[max(index - 2, 0) : index]
    if before and before[-1].upper == "APPLY":
        return True
    opened = len(before) > 1 and before[-1].is_symbol("(")
    return opened and before[0].name.lower().startswith(_HIGHER_ORDER)


def _check_source(statement: Sequence[Token], index: int) -> None:
    """Allow a dictionary to read this engine's own tables, nothing else."""
    source = statement[index] if index < len(statement) else None
    if source is None or source.name.lower() not in _DICTIONARY_SOURCES:
        _refuse(f"dictionary source {source.name if source else ''}")
    depth = 1
    for token in statement[index:]:
        depth += token.is_symbol("(") - token.is_symbol(")")
        if not depth:
            return
        if token.name.upper() in {"HOST", "PORT", "NAME"}:
            _refuse("a dictionary source on another host")


def _refuse(what: str) -> NoReturn:
    message = (
        f"default: Not enough privileges. {what} may read files or use the network, "
        "which clients of the embedded endpoint may not."
    )
    raise EngineError.raised(Code.ACCESS_DENIED, message)
