"""The benchmark of dashboards asks every question over what it made, and what it made adds up."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.dashboards import main
from dashboards.catalogue import DASHBOARDS


@pytest.mark.slow
def test_every_panel_is_asked_over_a_day_and_over_thirty(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["dashboards", "--events", "3000", "--runs", "1", "--json"])
    main()  # its exit code says how fast the machine is
    found = json.loads(capsys.readouterr().out)
    assert found["events"] == 3000
    assert found["windows"] > 3000
    asked = {(each["page"], each["question"], each["since"]) for each in found["answers"]}
    assert asked == {
        (board.title, question, since)
        for board in DASHBOARDS
        for since in ("now-24h", "now-30d")
        for question in ["", *(panel.title for panel in board.panels if panel.sql)]
    }
    assert all(each["milliseconds"] > 0 for each in found["answers"])
