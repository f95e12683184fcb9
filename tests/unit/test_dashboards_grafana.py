"""Grafana's JSON is what the panels say, fits Grafana's schema, and keeps the rules of its linter."""

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from dashboards.catalogue import DASHBOARDS
from dashboards.grafana.__main__ import main
from dashboards.grafana.rendering import FOLDER, BoardModel, JSONEncoder, files
from dashboards.macros import TimeRange, expand

REPOSITORY = Path(__file__).parents[2]
PROVISIONING = REPOSITORY / "infra" / "grafana" / "provisioning"
BOARDS = {path.stem: json.loads(text) for path, text in files(DASHBOARDS).items()}
PANELS = [
    pytest.param(board, panel, id=f"{slug}/{panel['title']}")
    for slug, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
each_panel = pytest.mark.parametrize(("board", "panel"), PANELS)


def test_what_is_committed_is_what_the_panels_say():
    assert main(["--check"]) == 0, "run `make dashboards`"
    assert {path.stem for path in FOLDER.glob("*.json")} == set(BOARDS)


def test_writing_again_changes_nothing():
    before = {path: path.stat().st_mtime_ns for path in FOLDER.glob("*.json")}
    assert main([]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in FOLDER.glob("*.json")}


def test_all_dashboards_are_there_and_link_to_each_other():
    assert [board["title"] for board in BOARDS.values()] == [
        "Overview",
        "Teams & chargeback",
        "AI spend",
        "Kubernetes",
        "Budgets & forecast",
        "Anomalies",
        "Optimisation",
        "Trust",
    ]
    for board in BOARDS.values():
        [link] = board["links"]
        assert (link["type"], link["tags"], link["keepTime"], link["includeVars"]) == (
            "dashboards", ["spendstream"], True, True,
        )  # fmt: skip


@each_board
def test_a_dashboard_fits_grafana_s_schema(board):
    again = BoardModel.from_json(board)
    assert json.loads(json.dumps(again, cls=JSONEncoder)) == board


@each_board
def test_a_dashboard_has_an_address_a_description_a_refresh_and_utc(board):
    assert board["uid"].startswith("spendstream-")
    assert board["description"].endswith(".")
    assert (board["refresh"], board["timezone"], board["tags"]) == ("30s", "utc", ["spendstream"])


@each_board
def test_variables_are_asked_again_when_the_range_changes(board):
    source, *rest = board["templating"]["list"]
    assert (source["name"], source["type"]) == ("datasource", "datasource")
    for variable in rest:
        assert variable["label"]
        assert variable["description"]
        if variable["type"] == "query":
            assert (variable["refresh"], variable["multi"], variable["includeAll"]) == (2, True, True)
            assert variable["datasource"]["uid"] == "${datasource}"


@each_board
def test_no_datasource_is_named(board):
    uids = set(re.findall(r'"uid": "([^"]*)"', json.dumps(board))) - {board["uid"]}
    assert uids <= {"${datasource}", "${prometheus}"}


@each_board
def test_panels_do_not_overlap_and_have_ids_of_their_own(board):
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    places = [panel["gridPos"] for panel in board["panels"]]
    for one, other in combinations(places, 2):
        assert (
            one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        )  # fmt: skip
    assert all(place["x"] + place["w"] <= 24 for place in places)


@each_panel
def test_a_panel_asks_a_question_and_explains_its_answer(board, panel):
    assert panel["title"].endswith("?")
    assert len(panel["description"]) > 20
    assert panel["description"].endswith(".")
    titles = [each["title"] for each in board["panels"]]
    assert titles.count(panel["title"]) == 1


@each_panel
def test_a_panel_has_a_unit_and_a_legend_where_it_has_series(board, panel):
    del board
    assert panel["fieldConfig"]["defaults"]["unit"]
    if panel["type"] == "timeseries":
        assert panel["options"]["legend"]["showLegend"] is True
        assert panel["maxDataPoints"] <= 120, "or a month is asked of windows of minutes"
        assert panel["interval"] in ("1m", "60m")


@each_panel
def test_nothing_is_red_for_being_above_eighty(board, panel):
    del board
    steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
    assert steps or panel["type"] == "table"
    assert all(step["value"] != 80 for step in steps)


@each_panel
def test_a_panel_uses_only_variables_that_its_dashboard_has(board, panel):
    names = {variable["name"] for variable in board["templating"]["list"]}
    [target] = panel["targets"]
    used = set(re.findall(r"\$\{(\w+)", json.dumps(target)))
    assert used <= names
    if "rawSql" in target:
        assert target["format"] == (0 if panel["type"] == "timeseries" else 1)
        assert "__" not in re.sub(r"\$__\w+", "", target["rawSql"])


def provisioned(name):
    return yaml.safe_load((PROVISIONING / name).read_text(encoding="utf-8"))


def test_alert_rules_need_no_variables_and_name_datasources_that_are_provisioned():
    sources = {each["uid"] for each in provisioned("datasources/spendstream.yaml")["datasources"]}
    [group] = provisioned("alerting/rules.yaml")["groups"]
    time = TimeRange(start=0, end=10_800_000)
    for rule in group["rules"]:
        query, condition = rule["data"]
        assert query["datasourceUid"] in sources
        assert (condition["datasourceUid"], rule["condition"]) == ("__expr__", "B")
        assert "$" not in expand(query["model"]["rawSql"], time), "the plugin leaves nothing"
        assert "$" not in json.dumps([rule["labels"], rule["annotations"]]), "the environment would be put in"
        assert rule["annotations"]["description"]


def test_alerts_go_to_a_contact_point_that_is_provisioned():
    found = provisioned("alerting/contact-points.yaml")
    points = {point["name"] for point in found["contactPoints"]}
    assert {policy["receiver"] for policy in found["policies"]} == points
