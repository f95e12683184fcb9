"""The command line's manners: one line for each mistake, and an exit code that says whose it is."""

from __future__ import annotations

import click
import pytest

from spendstream import cli, errors
from spendstream.cli import main


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Let the command line raise what the test puts into the list."""
    raised: list[BaseException] = []

    def fail(**_: object) -> None:
        raise raised[0]

    monkeypatch.setattr(cli.cli, "main", fail)
    return raised


def every_error() -> list[type[errors.SpendstreamError]]:
    return [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_of_ours_is_lines_and_a_code(
    kind: type[errors.SpendstreamError], failing: list[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    failing.append(kind("one\ntwo"))
    with pytest.raises(SystemExit) as caught:
        main([])
    usage = {errors.ConfigError, errors.AlreadyRunning, errors.RecordingError}
    assert caught.value.code == (2 if kind in usage else 1)
    assert capsys.readouterr() == ("", "spendstream: one\nspendstream: two\n")


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_is_either_transient_or_terminal(kind: type[errors.SpendstreamError]) -> None:
    if kind is not errors.SpendstreamError:
        assert issubclass(kind, errors.TransientError) != issubclass(kind, errors.TerminalError)


def test_a_transient_error_says_when_to_try_again() -> None:
    assert errors.StoreUnavailable("away").retry_after > 0
    assert errors.BrokerUnavailable("away", retry_after=7).retry_after == 7


def test_an_error_that_nobody_expected_keeps_its_trace(failing: list[BaseException]) -> None:
    failing.append(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        main([])


def test_ctrl_c_ends_quietly(failing: list[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    failing.append(click.Abort())
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fly"], "No such command 'fly'. See `spendstream --help`."),
        (["query"], "Missing argument 'SQL'. See `spendstream query --help`."),
        (["report"], "Missing command: expected one of anomalies, budgets,"),
        (["alerts"], "expected one of test. See `spendstream alerts --help`."),
        (["replay", "x", "--speed", "fast"], "'fast' is no speed"),
        (["up", "--for", "ever"], "expected a duration like 20s, 5m or 1h, found 'ever'."),
    ],
)
def test_a_wrong_call_is_one_line_that_says_where_to_look(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    output, line = capsys.readouterr()
    assert (caught.value.code, output, line.count("\n")) == (2, "", 1)
    assert expected in line


def test_who_says_nothing_sees_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    output, said = capsys.readouterr()
    assert (caught.value.code, output) == (2, "")
    assert said.startswith("Usage: spendstream")


def test_all_mistakes_of_the_configuration_are_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPENDSTREAM_GATEWAY_PROT", "1")
    monkeypatch.setenv("SPENDSTREAM_LOG_LEVEL", "loud")
    with pytest.raises(SystemExit) as caught:
        main(["query", "SELECT 1"])
    lines = capsys.readouterr().err.splitlines()
    assert (caught.value.code, len(lines)) == (2, 2)
    assert all(line.startswith("spendstream: SPENDSTREAM_") for line in lines)


@pytest.mark.parametrize("command", cli.cli.list_commands(click.Context(cli.cli)))
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([command, "--help"])
    assert f"Usage: spendstream {command}" in capsys.readouterr().out
