"""Every page of the console in a real browser: opened, its range changed, a variable chosen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest

from dashboards.catalogue import DASHBOARDS
from dashboards.panel import Dashboard
from tests.dashboards.conftest import running_console

sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]

MILLIS = 60_000
SETTLED = "#rows:not([aria-busy])"
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1440, "height": 900}
each_page = pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.slug)


class Visit:
    """A page in the browser, and what it complained about."""

    def __init__(self, browser, address, **context):
        self.context = browser.new_context(**{"viewport": DESK, "reduced_motion": "reduce", **context})
        self.page = self.context.new_page()
        self.page.set_default_timeout(MILLIS)
        self.complaints = []
        self.elsewhere = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda asked: self._asked(asked.url))
        self.address = address

    def _heard(self, said):
        if said.type in ("error", "warning"):
            self.complaints.append(said.text)

    def _asked(self, url):
        if not url.startswith((self.address, "data:", "blob:")):
            self.elsewhere.append(url)

    def open(self, place):
        self.page.goto(f"{self.address}/{place}")
        self.settle()

    def settle(self):
        self.page.wait_for_selector(SETTLED)

    def asked_for(self, action):
        """Do something, and wait until the panels show what came of it."""
        with self.page.expect_response(lambda response: "/panels/" in response.url):
            action()
        self.settle()

    def begin(self):
        """Be as a browser that has never been here, except for what it keeps of scripts it has compiled.

        That it keeps only while it stays on one site, so no other lies between two tests.
        """
        if self.page.url.startswith(self.address):
            self.page.evaluate("localStorage.clear()")
        self.context.clear_cookies()
        self.complaints.clear()
        self.elsewhere.clear()

    def end(self):
        self.page.unroute_all()
        assert self.complaints == []
        assert self.elsewhere == [], "everything comes from the console itself"

    def close(self):
        self.context.close()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def desk(browser, console: str) -> Iterator[Visit]:
    """One window for all tests: to compile the charts' library anew is most of what a visit costs."""
    found = Visit(browser, console)
    yield found
    found.close()


@pytest.fixture(scope="module")
def phone(browser, console: str) -> Iterator[Visit]:
    found = Visit(browser, console, viewport=PHONE, is_mobile=True, has_touch=True)
    yield found
    found.close()


@pytest.fixture
def visit(desk: Visit) -> Iterator[Visit]:
    desk.begin()
    yield desk
    desk.end()


@pytest.fixture
def visit_by_phone(phone: Visit) -> Iterator[Visit]:
    phone.begin()
    yield phone
    phone.end()


@each_page
def test_a_page_answers_every_question(visit: Visit, board: Dashboard, pictures: Path) -> None:
    visit.open(f"{board.slug}?from=now-24h")
    panels = [panel for panel in board.panels if panel.sql]
    assert visit.page.locator(".panel").count() == len(panels)
    assert visit.page.locator(".failed").count() == 0
    assert visit.page.locator(".panel[aria-busy]").count() == 0
    for panel in panels:
        box = visit.page.locator(f"#panel-{panel.id}")
        assert box.locator("h3").inner_text() == panel.title
        assert box.locator(".js-plotly-plot, table, dl, .empty").count() >= 1
    visit.page.wait_for_timeout(300)  # for the picture only: charts fit themselves in
    visit.page.screenshot(path=pictures / f"{board.slug}.png", full_page=True)


@each_page
def test_what_is_chosen_is_put_into_the_address_and_goes_along_to_the_next_page(
    visit: Visit, board: Dashboard
) -> None:
    visit.open(board.slug)
    visit.asked_for(lambda: visit.page.select_option("#range", "now-6h"))
    assert "from=now-6h" in visit.page.url
    assert visit.page.locator(".failed").count() == 0
    visit.asked_for(visit.page.go_back)
    assert visit.page.input_value("#range") == board.since
    team = visit.page.locator("#variable-team")
    team.locator("summary").click()
    visit.asked_for(lambda: team.get_by_label("search").check())
    assert "team=search" in visit.page.url
    assert team.locator("summary").inner_text() == "Team: search"
    assert visit.page.locator(".failed").count() == 0
    other = "trust" if board.slug != "trust" else "overview"
    visit.asked_for(lambda: visit.page.locator(f"nav a[href*='/{other}?']").click())
    assert "team=search" in visit.page.url
    assert visit.page.locator("#variable-team summary").inner_text() == "Team: search"


def test_a_narrower_page_shows_less(visit: Visit) -> None:
    def spend(place):
        visit.open(place)
        text = visit.page.locator("#panel-totals dd").first.inner_text()
        return float(text.strip("$").replace(",", ""))

    everything = spend("overview?from=now-24h")
    parts = [spend(f"overview?from=now-24h&team={team}") for team in ("search", "support", "it's")]
    assert all(0 < part < everything for part in parts)
    together = spend("overview?from=now-24h&team=search&team=support&team=it's")
    assert together == pytest.approx(sum(parts), abs=0.05)


def test_a_span_between_two_times_is_shown(visit: Visit) -> None:
    visit.open("overview")
    visit.page.select_option("#range", "custom")
    assert visit.page.input_value("#from") < visit.page.input_value("#to")
    visit.page.fill("#from", "2023-01-01T00:00")
    visit.page.fill("#to", "2023-01-02T00:00")
    visit.asked_for(lambda: visit.page.click("#apply"))
    assert "from=2023-01-01T00" in visit.page.url
    assert visit.page.locator("#panel-spend-over-time .empty").inner_text() == "Nothing in this range."


def test_the_numbers_are_behind_every_chart(visit: Visit) -> None:
    visit.open("ai-spend?from=now-24h")
    charts = visit.page.locator(".chart")
    assert charts.count() > 5
    for at in range(charts.count()):
        assert charts.nth(at).get_attribute("role") == "img"
        assert "The numbers are below." in charts.nth(at).get_attribute("aria-label")
    visit.page.locator(".behind summary").first.click()
    rows = visit.page.locator(".behind").first.locator("tbody tr")
    rows.nth(5).wait_for()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d", rows.first.locator("td").first.inner_text())


def test_dark_is_chosen_and_remembered(visit: Visit, pictures: Path) -> None:
    visit.open("overview?from=now-24h")
    visit.page.click("#theme")
    assert visit.page.get_attribute("html", "data-theme") == "dark"
    visit.open("overview?from=now-24h")
    assert visit.page.get_attribute("html", "data-theme") == "dark"
    visit.page.wait_for_timeout(300)
    visit.page.screenshot(path=pictures / "overview-dark.png", full_page=True)


def test_the_system_s_preference_is_followed(browser, console: str) -> None:
    visit = Visit(browser, console, color_scheme="dark")
    visit.open("trust")
    assert visit.page.get_attribute("html", "data-theme") == "dark"
    visit.close()


@each_page
def test_nothing_is_wider_than_a_phone(visit_by_phone: Visit, board: Dashboard, pictures: Path) -> None:
    visit_by_phone.open(f"{board.slug}?from=now-24h")
    page = visit_by_phone.page
    page.wait_for_timeout(300)
    page.screenshot(path=pictures / f"{board.slug}-phone.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_everything_is_reached_by_keyboard(visit: Visit) -> None:
    visit.open("overview?from=now-24h")
    reached = []
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.className") == "skip"
    for _ in range(70):
        visit.page.keyboard.press("Tab")
        reached.append(
            visit.page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")
        )
    assert {"theme", "range", "live", "reload", "Trust", "?", "Show the numbers"} <= set(reached)
    team = visit.page.locator("#variable-team")
    team.locator("summary").focus()
    visit.page.keyboard.press("Enter")
    visit.page.keyboard.press("Tab")
    visit.asked_for(lambda: visit.page.keyboard.press("Space"))
    assert "team=" in visit.page.url
    visit.page.keyboard.press("Escape")
    assert team.get_attribute("open") is None


def test_what_is_on_a_page_has_names_for_who_does_not_see_it(visit: Visit) -> None:
    visit.open("overview?from=now-24h")
    nameless = visit.page.evaluate(
        """() => [...document.querySelectorAll('button, select, input, a, [role=img], [role=region]')]
            .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length))
            .map((e) => e.outerHTML)"""
    )
    assert nameless == []
    assert visit.page.locator("h1").count() == 1
    levels = visit.page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map((e) => +e.tagName[1])")
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = visit.page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(set(ids)) == len(ids)
    labelled = visit.page.evaluate(
        """() => [...document.querySelectorAll('[aria-labelledby]')]
            .every((e) => document.getElementById(e.getAttribute('aria-labelledby')))"""
    )
    assert labelled


def test_a_question_that_fails_says_so_and_can_be_asked_again(visit: Visit) -> None:
    broken = "**/panels/totals?*"
    refusal = {
        "status": 503,
        "content_type": "application/json",
        "body": '{"detail": "ClickHouse does not answer"}',
    }
    visit.page.route(broken, lambda route: route.fulfill(**refusal))
    visit.open("overview?from=now-24h")
    box = visit.page.locator("#panel-totals")
    assert "ClickHouse does not answer" in box.locator("[role=alert]").inner_text()
    assert "1 of" in visit.page.locator("#status").inner_text()
    assert visit.page.locator("#panel-spend-today dd").count() == 2, "the others are shown"
    visit.page.unroute(broken)
    box.get_by_role("button", name="Try again").click()
    box.locator("dd").first.wait_for()
    visit.page.locator("#status", has_text="UTC").wait_for()
    assert visit.page.get_attribute("#status", "class") == ""
    assert visit.page.evaluate("document.activeElement.closest('.panel')?.id") == "panel-totals"
    assert visit.complaints.pop().startswith("Failed to load resource")


def test_a_console_that_went_away_is_told(visit: Visit) -> None:
    visit.page.route("**/api/pages/overview", lambda route: route.abort())
    visit.open("overview")
    assert visit.page.locator("#rows [role=alert]").inner_text() == "The console does not answer."
    assert visit.complaints.pop().startswith("Failed to load resource")


def test_who_reads_on_stays_in_place_when_answers_come_anew(visit: Visit) -> None:
    visit.open("ai-spend?from=now-24h")
    table = visit.page.locator("#panel-cache-hit-ratio-by .scroll")
    table.evaluate("table => { table.scrollTop = 40; table.focus(); }")
    visit.asked_for(lambda: visit.page.evaluate("document.getElementById('reload').click()"))
    assert table.evaluate("table => table.scrollTop") == 40
    assert table.evaluate("table => table === document.activeElement")


def test_a_recommendation_is_accepted_and_that_taken_back(visit: Visit) -> None:
    visit.open("optimisation?from=now-24h")
    box = visit.page.locator("#panel-recommendations")
    assert "half of the CPU is never used" in box.inner_text()
    for button, tag in (
        ("Accept", "accepted"),
        ("Take back", None),
        ("Dismiss", "dismissed"),
        ("Take back", None),
    ):
        box.get_by_role("button", name=button).focus()
        visit.page.keyboard.press("Enter")
        if tag:
            box.locator(".tag", has_text=tag).wait_for()
        else:
            box.get_by_role("button", name="Accept").wait_for()
        assert visit.page.locator("#status").inner_text() == "Kept."
        assert visit.page.evaluate("document.activeElement.dataset.of") == str(UUID(int=21))


def answered(address: str, method: str, path: str, body: bytes = b"", **headers: str) -> int:
    connection = HTTPConnection(address.removeprefix("http://"), timeout=20)
    connection.request(method, path, body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_nobody_else_decides(console: str) -> None:
    place, body = f"/api/recommendations/{UUID(int=21)}", b'{"decision": "accepted"}'
    as_json = {"content-type": "application/json"}
    assert answered(console, "POST", place, body, **as_json) == 403
    assert answered(console, "POST", place, body, **as_json, **{"x-spendstream-token": "guessed"}) == 403


def test_another_site_s_name_for_our_address_is_refused(console: str) -> None:
    assert answered(console, "GET", "/overview", host="evil.example") == 400
    assert answered(console, "GET", "/overview", host="localhost") == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 307),
        ("/nothing", 404),
        ("/static/nothing.js", 404),
        ("/static/..%2fapp.py", 404),
        ("/api/pages/nothing", 404),
        ("/api/pages/overview/panels/nothing?from=now-1h", 404),
        ("/api/pages/overview/variables/nothing?from=now-1h", 404),
        ("/api/pages/trust/panels/lag?from=now-1h", 404),
        ("/api/pages/overview/panels/totals", 422),
        ("/api/pages/overview/panels/totals?from=nothing", 400),
        ("/api/pages/overview/panels/totals?from=now-1h&points=100000", 422),
        ("/api/pages/overview/panels/totals?from=now-1h" + "&team=a" * 201, 400),
    ],
)
def test_what_is_not_there_or_makes_no_sense_is_refused(console: str, path: str, status: int) -> None:
    assert answered(console, "GET", path) == status


def test_names_from_outside_stay_text(visit: Visit) -> None:
    visit.open("overview?from=now-24h&team=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    assert visit.page.locator("img[src=x]").count() == 0
    assert visit.page.locator("#variable-team summary").inner_text() == "Team: <img src=x onerror=alert(1)>"


def test_a_clickhouse_that_is_away_is_told(browser) -> None:
    with running_console("http://127.0.0.1:1") as address:
        visit = Visit(browser, address)
        visit.open("overview")
        assert "ClickHouse does not answer" in visit.page.locator(".failed").first.inner_text()
        visit.close()
