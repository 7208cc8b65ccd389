"""A run folder in, a report folder out.

OUT/index.html         one offline page
OUT/media/...          frames for its viewer, unless they are embedded
OUT/report.md          the same as text
OUT/summary.csv        one row per dataset, codec and method, not rounded
OUT/table.csv          tidy: one row per number, with intervals
OUT/seeds.csv          one row per method with mean and intervals over training seeds, where there are several
OUT/table.tex          the summary for a paper (booktabs)
OUT/figures/*.svg|pdf  mIoU_d, accuracy against cost, picture strips
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

from vssbench.errors import InputError
from vssbench.rendering.tables import latex
from vssbench.rendering.tables import markdown
from vssbench.rendering.figures.budget import budget_panels
from vssbench.rendering.figures.curves import Panel, curve_names, panels, panels_over_seeds
from vssbench.rendering.figures.decomposition import decomposition_markdown
from vssbench.rendering.figures.files import Drawn, draw_curves, draw_parts, draw_strips
from vssbench.rendering.page.frames import FrameCase, Track, tracks
from vssbench.rendering.tables.further import further_markdown
from vssbench.rendering.page.media import FOLDER, MediaStore
from vssbench.rendering.page.page import PageContent, page
from vssbench.rendering.page.provenance import provenance
from vssbench.rendering.tables.seeds import seed_text_rows
from vssbench.rendering.tables.summary import SummaryTable, difference_rows, family_rows, printable, summary_table
from vssbench.rendering.page.viewer import Viewer, make_viewer
from vssbench.rendering.figures.waterfall import waterfalls
from vssbench.rendering.tables.csv_text import frame_csv
from vssbench.analysis.differences import paired_differences
from vssbench.results.helper_processes import Shared, in_reverse
from vssbench.analysis.run import Run
from vssbench.analysis.seeds import seed_table
from vssbench.results.store import storage_error, write_atomically

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Report:
    """The files of a written report."""

    folder: Path
    page: Path
    files: tuple[Path, ...]

    def __str__(self) -> str:
        return str(self.page)


def write_report(
    run: Run,
    output: Path,
    *,
    pictures: bool = True,
    figure_files: bool = True,
    embed: bool = False,
    frames: int | None = None,
    helper: Executor | None = None,
    on_stage: Progress = lambda text: None,
) -> Report:
    """Render a run into a folder; existing files of an earlier report are replaced.

    pictures: show the kept frames (leave out where frames must not be passed on).
    figure_files: write SVG and PDF files besides the page.
    embed: put the frames into the page instead of a folder beside it.
    frames: at most so many per dataset and codec, the last of its longest sequence; default: all that the run kept.
    helper: processes that draw the figure files, for commands (results/helper_processes.py); default: drawn here.
    Raises InputError if nothing is stored yet or a record is damaged, StorageError if the folder cannot be written.
    """
    on_stage("reading records")
    if not run.groups:
        raise InputError(
            f"{run.path}: no unit is stored yet, so there is nothing to report; run the experiment first"
        )
    families = run.families
    summary, drawn = summary_table(run, families), panels_over_seeds(run, panels(run))
    budgets = budget_panels(drawn, families)
    class_names = {name: list(dataset["class_names"]) for name, dataset in run.datasets.items()}
    on_stage("figures")
    folder = output / "figures"
    drawings: list[Shared[Drawn]] = []
    if figure_files:
        _make_folder(folder)
        drawings += [
            Shared(helper, draw_curves, drawn, budgets, folder),
            Shared(helper, draw_parts, drawn, class_names, run.decompositions, folder),
        ]
    store = MediaStore(embed)
    viewer = make_viewer(run, _shortened(tracks(run), frames), store) if pictures else None
    stills = _stills(viewer)
    if figure_files:
        strips = [(case.describe(), case.picture()) for case in stills]
        drawings.append(Shared(helper, draw_strips, strips, folder))
    on_stage("page and tables")
    content = PageContent(
        run=run,
        title=printable(str(run.experiment.get("title") or run.path.name)),
        summary=summary,
        panels=drawn,
        curve_names=curve_names(run),
        class_names=class_names,
        palettes={name: dataset["palette"] for name, dataset in run.datasets.items()},
        provenance=provenance(run),
        copies={
            "CSV": summary_text(run, summary),
            "Markdown": markdown.summary_markdown(summary),
            "LaTeX": latex.summary_latex(summary),
        },
        differences=difference_rows(paired_differences(run)),
        families=family_rows(families),
        budgets=budgets,
        seeds=seed_text_rows(run),
        waterfalls=waterfalls(run),
        viewer=viewer,
        stills=stills,
        embedded=embed,
    )
    html = page(content)
    media = _write_media(output, store)
    figures = [figure for part in in_reverse(drawings) for figure in part]
    found = [path for _, paths in figures for path in paths]
    captions = [(caption, paths[0].relative_to(output).as_posix()) for caption, paths in figures]
    for name, text in {"index.html": html, **_texts(content, drawn, captions)}.items():
        write_atomically(output / name, text.encode("utf-8"))
        found.append(output / name)
    return Report(output, output / "index.html", (*found, *media))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(folder, error) from error


def _shortened(found: list[Track], frames: int | None) -> list[Track]:
    """The first track of each dataset and codec with its last `frames` cases; all tracks where None."""
    if frames is None:
        return found
    first: dict[tuple[str, str], Track] = {}
    for track in found:
        first.setdefault(
            (track.dataset, track.codec), replace(track, cases=track.cases[-frames:] if frames else ())
        )
    return [track for track in first.values() if track.cases]


def _stills(viewer: Viewer | None) -> list[FrameCase]:
    """One case per dataset and codec for strips: the last frame at the largest distance of its first sequence."""
    chosen: dict[tuple[str, str], FrameCase] = {}
    for case in viewer.cases.values() if viewer else ():
        best = chosen.setdefault((case.dataset, case.codec), case)
        if case.sequence == best.sequence and case.distance >= best.distance:
            chosen[case.dataset, case.codec] = case
    return list(chosen.values())


def _write_media(output: Path, store: MediaStore) -> list[Path]:
    """Write the pictures beside the page and remove those of an earlier report. Raises StorageError."""
    written = []
    folder = output / FOLDER
    try:
        for stale in sorted(folder.glob("[0-9]*/[0-9]*-d[0-9]*-*.*")):
            if stale.relative_to(output).as_posix() not in store.files:
                stale.unlink()
        for name, data in store.files.items():
            path = output / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # hundreds of small files that can be made again at any time: no temporary name, no flush for each
            path.write_bytes(data)
            written.append(path)
    except OSError as error:
        raise storage_error(folder, error) from error
    return written


def _texts(content: PageContent, curves: list[Panel], drawings: list[tuple[str, str]]) -> dict[str, str]:
    """File name -> content of everything that is text but the page. `curves`: as in the figure files."""
    run = content.run
    seeds = {"seeds.csv": frame_csv(seed_table(run))} if run.over_seeds else {}
    return {
        "report.md": markdown.report_markdown(
            content.title,
            content.summary,
            curves,
            content.class_names,
            content.provenance,
            drawings,
            content.differences,
            content.families,
            content.seeds,
        )
        + "".join(
            f"\n{text}"
            for text in (decomposition_markdown(run.decompositions), further_markdown(run))
            if text
        ),
        "summary.csv": content.copies["CSV"],
        **seeds,
        "table.csv": frame_csv(run.table),
        "table.tex": content.copies["LaTeX"],
    }


def summary_text(run: Run, summary: SummaryTable) -> str:
    """The summary as CSV: stored values, not rounded; mIoU in 0..1. Published numbers are in columns of their own."""
    frame = run.summary.copy()
    derived = [c.key for c in summary.columns if c.key not in frame.columns]
    rows = {(row.dataset, row.codec, row.method): row for row in summary.rows}
    for key in derived:
        places = zip(frame["dataset"], frame["codec"], frame["method"], strict=True)
        frame[key] = [rows[place].values[key] if place in rows else math.nan for place in places]
    return frame_csv(frame)
