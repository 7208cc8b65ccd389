"""The page in a real browser, opened as a user would: by its file, offline. Skips where there is no chromium."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
from collections.abc import Callable

import pytest

from vssbench.rendering.report import Report, write_report
from vssbench.results.run import Run

Open = Callable[[str], str]

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000",
)  # fmt: skip


@pytest.fixture(scope="module")
def page(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return write_report(run, tmp_path_factory.mktemp("browser"), figure_files=False)


@pytest.fixture(scope="module")
def browse(page: Report, tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Opens the page with a URL fragment and returns the document after its script ran."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        if "chromium" in os.environ.get("VSSBENCH_REQUIRE", ""):
            pytest.fail("VSSBENCH_REQUIRE names chromium, but there is none")
        pytest.skip("needs chromium")

    def open_page(fragment: str) -> str:
        profile = tmp_path_factory.mktemp("profile")
        address = page.page.resolve().as_uri() + fragment
        command = [browser, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", address]
        made = subprocess.run(command, capture_output=True, timeout=120, check=True)
        complaints = [line for line in made.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]
        assert complaints == []
        return made.stdout.decode()

    return open_page


def rows(document: str) -> list[tuple[str, str]]:
    """(codec, method) of the shown rows of the summary, in their order."""
    table = document.split('<table class="sortable"')[1].split("</table>")[0]
    found = re.findall(r"<tr ([^>]*)>", table)
    shown = [attributes for attributes in found if 'class="off"' not in attributes]

    def value(attributes: str, name: str) -> str:
        return html.unescape(re.search(f'data-{name}="([^"]*)"', attributes)[1])  # type: ignore[index]

    return [(value(a, "codec"), value(a, "method")) for a in shown]


def test_the_page_opens_without_a_complaint_in_the_order_of_the_experiment(browse: Open, run: Run) -> None:
    document = browse("")
    assert rows(document) == list(zip(run.summary["codec"], run.summary["method"], strict=True))
    assert 'id="viewer" class="screen">' in document
    assert re.search(r'id="under"[^>]*src="data:image/webp', document)


def test_a_link_can_carry_the_sorting(browse: Open, run: Run) -> None:
    ordered = run.summary.sort_values("miou", ascending=False)
    assert rows(browse("#sort=3d")) == list(zip(ordered["codec"], ordered["method"], strict=True))
    ordered = run.summary.sort_values("miou")
    assert rows(browse("#sort=3a")) == list(zip(ordered["codec"], ordered["method"], strict=True))


def test_a_link_can_carry_filters(browse: Open) -> None:
    document = browse("#no-method=warp-only,AR-Seg%25200.5&no-codec=h264-700k")
    assert rows(document) == [("hevc-700k", "constant 1.0"), ("hevc-700k", "constant 0.5")]
    hidden = re.findall(r'<g class="series [^"]*off[^"]*" data-method="([^"]*)"', document)
    assert set(hidden) >= {"warp-only", "AR-Seg 0.5"}


def test_a_link_can_carry_the_state_of_the_viewer(browse: Open) -> None:
    document = browse("#case=1&left=e0&right=p2&at=25")
    assert (
        re.search(r'id="over" alt="errors of constant 1.0"', document)
        or 'alt="errors of constant 1.0" src' in document
    )
    assert "inset(0px 75% 0px 0px)" in document
    assert "left: 25%" in document


def test_a_broken_link_falls_back_to_the_default(browse: Open, run: Run) -> None:
    document = browse("#case=99&left=nothing&sort=77d&no-method=unknown&at=x")
    assert len(rows(document)) == len(run.summary)
