"""The first paragraph of a report says what the tables say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vssbench.analysis.differences import paired_differences
from vssbench.analysis.run import Run
from vssbench.rendering.page.findings import findings
from vssbench.rendering.report import write_report

LIKE = {
    "big": ("constant", 0.70, 0.0, (40.0, 40.0)),
    "same": ("ar-seg", 0.70, 0.0, (20.0, 20.0)),
    "worse": ("warp-only", 0.60, 0.0, (0.02, 0.02)),
}


def test_the_paragraph_names_winner_cheapest_and_verdicts_as_the_tables_have_them(run: Run) -> None:
    sections = paired_differences(run)
    text = findings(run, sections)[0]
    here = run.summary[run.summary["codec"] == "hevc-700k"]
    best, cheap = here.loc[here["miou"].idxmax()], here.loc[here["gop_mean_gmacs"].idxmin()]
    assert text.startswith(
        "streets coded as hevc-700k: 4 methods on the same bits, scored on 16 labelled frames of 4 sequences."
    )
    assert f"Highest mIoU: {best['method']} with {100 * best['miou']:.2f} %" in text
    assert f"cheapest: {cheap['method']} with {100 * cheap['miou']:.2f} %" in text
    assert {found.mark for found in sections[0].differences} == {"-"}
    assert "constant 0.5, warp-only and AR-Seg 0.5 are less accurate than constant 1.0." in text


def test_what_cannot_be_told_apart_and_what_could_go_unseen_is_said(fabricate: Any, tmp_path: Path) -> None:
    run = fabricate(tmp_path / "run", methods=LIKE, units=2, distances=2, pictures=False)
    text = findings(run, paired_differences(run))[0]
    assert "same is not told apart from big." in text
    assert "worse is less accurate than big." in text
    write_report(run, tmp_path / "out", pictures=False, figure_files=False)
    html = (tmp_path / "out/index.html").read_text()
    assert (
        html.index("same is not told apart from big.") < html.index('id="cost"') < html.index('id="summary"')
    )
    assert "0.020" in (tmp_path / "out/report.md").read_text()  # a small cost is no 0.00
    single = fabricate(tmp_path / "one", methods=LIKE, sequences=1, units=2, distances=2, pictures=False)
    (alone, _) = findings(single, paired_differences(single))
    assert "(1 sequence, an interval needs 4): other sequences may order the methods otherwise." in alone
