"""What a replay says while it waits: enough, and not the same line twice a second."""

from __future__ import annotations

import pytest

from producers.progress import Quiet, told


def test_a_reason_is_told_when_it_is_new_and_again_after_a_while() -> None:
    now, lines = 0.0, []
    quiet = Quiet(lines.append, monotonic=lambda: now)
    quiet.waiting("broker away")
    now = 5.0
    quiet.waiting("broker away")
    assert lines == ["broker away"]
    now = 10.0
    quiet.waiting("broker away")
    quiet.waiting("something else")
    assert lines == ["broker away", "broker away", "something else"]


def test_a_reason_that_comes_back_after_progress_is_new() -> None:
    lines: list[str] = []
    quiet = Quiet(lines.append, monotonic=lambda: 0.0)
    quiet.waiting("broker away")
    quiet.sent(1)
    quiet.waiting("broker away")
    assert lines == ["broker away", "broker away"]


def test_nothing_is_drawn_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with told("replay", 10) as progress:
        progress.sent(10)
    assert capsys.readouterr() == ("", "")


def test_trouble_is_told_on_standard_error_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with told("replay", 10) as progress:
        progress.waiting("Kafka at [::1]:9092: no connection")
    assert capsys.readouterr() == ("", "spendstream: Kafka at [::1]:9092: no connection\n")


def test_a_terminal_shows_how_many_of_how_many(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with told("replay", 10) as progress:
        progress.sent(7)
    out, err = capsys.readouterr()
    assert out == ""
    assert "7/10" in err
    assert "events/s" in err
