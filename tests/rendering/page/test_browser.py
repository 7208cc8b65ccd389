"""The page in a real browser, used as a reader would use it: by its file, offline, with mouse and keyboard.

Needs the Python package playwright and an installed chromium (`apt-get install chromium`); no browser is downloaded.
Skips where either is absent; VSSBENCH_REQUIRE=chromium turns the skip into a failure.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vssbench.analysis.run import Run
from vssbench.rendering.report import Report, write_report


@pytest.fixture(scope="module")
def report(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return write_report(run, tmp_path_factory.mktemp("browser"), figure_files=False)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One chromium for all tests of this file."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        if "chromium" in os.environ.get("VSSBENCH_REQUIRE", ""):
            pytest.fail("VSSBENCH_REQUIRE names chromium, but it or the package playwright is absent")
        pytest.skip("needs chromium and the package playwright")
    with sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield made
        made.close()


class Visit:
    """A page that notes complaints and requests."""

    def __init__(self, browser: Any, report: Report, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1300, "height": 900}, **options})
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.address = report.page.resolve().as_uri()
        self.folder = report.folder.resolve().as_uri() + "/"
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, fragment: str = "") -> Any:
        self.page.goto("about:blank")
        self.page.goto(self.address + fragment)
        return self.page

    def close(self) -> None:
        self.context.close()
        assert self.complaints == []
        outside = [url for url in self.requests if not url.startswith((self.folder, "about:blank"))]
        assert outside == []


@pytest.fixture
def visit(browser: Any, report: Report) -> Iterator[Visit]:
    """Fails after its test if the console said anything or a request left the report's folder."""
    made = Visit(browser, report)
    yield made
    made.close()


def shown_rows(page: Any) -> list[tuple[str, str]]:
    """(codec, method) of the visible rows of the summary."""
    script = "rows => rows.filter(r => r.offsetParent !== null).map(r => [r.dataset.codec, r.dataset.method])"
    return [tuple(row) for row in page.locator("table.sortable tbody tr").evaluate_all(script)]


def state(page: Any) -> dict[str, str]:
    return dict(
        pair.split("=", 1) for pair in page.evaluate("location.hash").lstrip("#").split("&") if "=" in pair
    )


def test_rows_stand_in_the_order_of_the_experiment_until_a_head_is_clicked(visit: Visit, run: Run) -> None:
    page = visit.open()
    given = list(zip(run.summary["codec"], run.summary["method"], strict=True))
    assert shown_rows(page) == given
    head = page.get_by_role("button", name=re.compile(r"^mIoU %$"))
    head.click()
    ordered = run.summary.sort_values("miou", ascending=False)
    assert shown_rows(page) == list(zip(ordered["codec"], ordered["method"], strict=True))
    assert page.locator("th[aria-sort=descending]").count() == 1
    head.press("Enter")  # the keyboard turns it round
    assert shown_rows(page) == list(zip(ordered["codec"][::-1], ordered["method"][::-1], strict=True))
    page.get_by_role("button", name="Order of the experiment").click()
    assert shown_rows(page) == given


def test_check_boxes_hide_methods_codecs_and_columns_everywhere(visit: Visit) -> None:
    page = visit.open()
    page.get_by_role("checkbox", name="warp-only").uncheck()
    page.get_by_role("checkbox", name="h264-700k").uncheck()
    assert {codec for codec, _ in shown_rows(page)} == {"hevc-700k"}
    assert "warp-only" not in {method for _, method in shown_rows(page)}
    assert page.locator("#distance svg.chart:visible").count() == 1
    assert page.locator('#distance [data-method="warp-only"]:visible').count() == 0  # nor in the legend
    heads = page.locator("#summary thead th:visible")
    assert heads.count() <= 8
    assert not page.get_by_role("columnheader", name=re.compile("GMACs key")).is_visible()
    page.get_by_role("checkbox", name="cost", exact=True).check()
    assert page.get_by_role("columnheader", name=re.compile("GMACs key")).is_visible()
    page.reload()  # the address remembers
    assert page.get_by_role("columnheader", name=re.compile("GMACs key")).is_visible()
    assert len(shown_rows(page)) == 3


def test_rows_can_be_chosen_by_bitrate(visit: Visit) -> None:
    page = visit.open()
    page.locator("#kbps-to").fill("708")
    assert {codec for codec, _ in shown_rows(page)} == {"hevc-700k"}
    page.locator("#kbps-to").fill("")
    assert {codec for codec, _ in shown_rows(page)} == {"hevc-700k", "h264-700k"}


def test_the_latex_table_lands_on_the_clipboard(browser: Any, report: Report, run: Run) -> None:
    visit = Visit(browser, report, permissions=["clipboard-read", "clipboard-write"])
    page = visit.open()
    page.get_by_role("button", name="Copy as LaTeX").click()
    page.get_by_text("copied", exact=True).wait_for()
    assert (
        page.evaluate("navigator.clipboard.readText()").strip()
        == page.locator("#copy-LaTeX").input_value().strip()
    )
    text = (report.folder / "table.tex").read_text(encoding="utf-8")
    assert page.locator("#copy-LaTeX").input_value().strip() == text.strip()
    visit.close()


def test_scrubbing_changes_the_pictures_and_the_facts(visit: Visit) -> None:
    page = visit.open()
    facts = page.locator("#facts")
    assert "d = 5" in facts.inner_text()  # opens on the last frame of the first sequence
    last = page.locator("#over img").first.get_attribute("src")
    page.locator("#frame").fill("0")
    assert "frame 20 · I picture · d = 0 · 72,000 bits · QP 24.5" in facts.inner_text()
    assert "right: AR-Seg 0.5 mIoU" in facts.inner_text()
    assert page.locator("#over img").first.get_attribute("src") != last
    page.get_by_role("button", name="Next frame").click()
    assert "d = 1" in facts.inner_text()
    assert page.evaluate("document.querySelector('#under img').naturalWidth") == 192
    assert state(page)["frame"] == "20.1"


def test_the_keyboard_steps_jumps_and_swaps(visit: Visit) -> None:
    page = visit.open("#frame=20.0")
    stage = page.locator("#stage")
    stage.focus()
    for key, expected in (
        ("ArrowRight", "d = 1"),
        ("End", "d = 5"),
        ("ArrowLeft", "d = 4"),
        ("Home", "d = 0"),
    ):
        page.keyboard.press(key)
        assert expected in page.locator("#facts").inner_text(), key
    page.keyboard.press("x")
    assert page.locator("#right").input_value() == "truth"
    page.keyboard.press("]")
    assert page.locator("#at").input_value() == "55"
    page.keyboard.press("g")
    assert page.locator("#grid figure").count() == 3 + 2 * 4
    page.keyboard.press("o")
    assert page.locator("#mix").is_checked()


def test_the_divider_follows_the_mouse(visit: Visit) -> None:
    page = visit.open()
    page.locator("#stage").scroll_into_view_if_needed()
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.4 * box["height"], steps=3)
    page.mouse.up()
    assert abs(int(page.locator("#at").input_value()) - 25) <= 1
    assert page.locator("#over").evaluate("e => e.style.clipPath").startswith("inset(0px 7")
    assert state(page)["at"] == page.locator("#at").input_value()


def test_the_worst_frame_is_one_choice_away(visit: Visit) -> None:
    page = visit.open("#right=p2&left=p0")
    data = page.evaluate(
        "JSON.parse(document.getElementById('frames').textContent).tracks[0].frames.map(f => f.miou)"
    )
    worst = min(range(len(data)), key=lambda i: data[i][2])
    lost = min(range(len(data)), key=lambda i: data[i][2] - data[i][0])
    page.locator("#worst").select_option(index=1)
    assert f"d = {worst} " in page.locator("#facts").inner_text()
    choice = page.locator("#worst optgroup").nth(1).locator("option").first.get_attribute("value")
    assert choice == str(lost)


def test_a_link_shows_what_its_sender_saw(visit: Visit) -> None:
    page = visit.open("#seq=2&frame=20.3&left=e1&right=motion&at=30&sort=3a&no-method=warp-only")
    assert page.locator("#seq option:checked").inner_text().startswith("streets · h264-700k")
    assert "d = 3" in page.locator("#facts").inner_text()
    assert page.locator("#left option:checked").inner_text() == "errors of constant 0.5"
    overlay = page.locator("#under img").nth(1)
    assert overlay.get_attribute("src").endswith("-motion.svg")
    assert overlay.evaluate("e => e.naturalWidth") == 192
    assert page.locator("th[aria-sort=ascending]").count() == 1
    assert len(shown_rows(page)) == 6
    page.evaluate("location.hash = '#view=grid&seq=0&frame=20.5'")  # Figure 3 is a state too
    page.locator("#grid figure").first.wait_for()
    assert page.locator("#grid figcaption").nth(2).inner_text() == "truth"
    assert not page.locator("#stage").is_visible()


def test_a_broken_link_falls_back_to_the_default(visit: Visit, run: Run) -> None:
    page = visit.open("#seq=99&frame=x&left=nothing&sort=77d&no-method=unknown&at=%3Cscript%3E&kbps=z")
    assert len(shown_rows(page)) == len(run.summary)
    assert page.locator("#left").input_value() == "truth"
    assert page.locator("#at").input_value() == "50"


def test_hovering_a_point_shows_its_values(visit: Visit) -> None:
    page = visit.open()
    point = page.locator("#distance .point").nth(6)  # d = 6 of the first method, where no other curve is near
    point.scroll_into_view_if_needed()
    point.hover()
    assert re.match(r"constant 1\.0\s+d = 6: mIoU \d\d\.\d\d %", page.locator("#tip").inner_text())


def test_methods_explain_themselves_on_hover(visit: Visit) -> None:
    page = visit.open()
    for place in ("#cost .legend li >> nth=2", "#summary tbody tr >> nth=2 >> th"):
        page.locator(place).hover()
        assert page.locator("#tip").inner_text().startswith("warp-only, ")
    page.locator("#glossary summary").click()
    assert page.locator("#glossary dd").nth(2).inner_text().startswith("warp-only, ")


def test_the_page_is_dark_where_the_reader_wants_it_dark(browser: Any, report: Report) -> None:
    def ground(scheme: str) -> tuple[int, ...]:
        visit = Visit(browser, report, color_scheme=scheme)
        colour = visit.open().evaluate("getComputedStyle(document.body).backgroundColor")
        visit.close()
        return tuple(map(int, re.findall(r"\d+", colour)))[:3]

    assert max(ground("dark")) < 60
    assert min(ground("light")) > 230


def test_a_narrow_screen_scrolls_in_one_direction_and_paper_has_no_controls(visit: Visit) -> None:
    page = visit.open()
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not page.locator(".case").first.is_visible()  # the viewer shows them
    page.emulate_media(media="print")
    assert not page.locator("#viewer").is_visible()
    assert page.locator(".case").first.is_visible()
    assert not page.locator(".copies").is_visible()
    folded = page.locator("details:not([open])")
    before = folded.count()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")  # paper cannot be unfolded
    assert (before > 0, folded.count()) == (True, 0)
    assert page.get_by_text('"schema_version": 1').is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert folded.count() == before


def test_the_page_opens_in_two_seconds_and_is_small(visit: Visit, report: Report) -> None:
    session = visit.context.new_cdp_session(visit.page)
    session.send(
        "Performance.enable", {"timeDomain": "threadTicks"}
    )  # processor time: other work does not count
    visit.open()
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    assert metrics["TaskDuration"] < 2
    assert report.page.stat().st_size < 3_000_000


def test_hostile_names_run_nowhere_and_can_be_filtered_and_linked(
    browser: Any, hostile_run: Run, tmp_path: Path
) -> None:
    written = write_report(hostile_run, tmp_path / "it's <b>&", figure_files=False)
    visit = Visit(browser, written)
    visit.page.on("dialog", lambda dialog: visit.complaints.append("a script ran"))
    page = visit.open()
    titles = hostile_run.roster.method_titles
    assert len(shown_rows(page)) == len(titles)
    for box in page.locator('input[data-filter="method"]').all()[1:]:
        box.uncheck()
    page.reload()  # the names travel through the address
    assert shown_rows(page) == [(hostile_run.roster.codec_titles[0], titles[0])]
    widths = page.locator("#latency svg.chart g[data-method]").nth(0).locator("rect")
    drawn = [bar.bounding_box()["width"] for bar in widths.all()]  # decode 1 ms, another stage 2 ms
    assert abs(drawn[1] / drawn[0] - 2) < 0.1
    page.locator("#view").select_option("grid")
    assert page.locator("#grid figcaption", has_text="<script>alert(1)</script>").count() == 2
    visit.close()
