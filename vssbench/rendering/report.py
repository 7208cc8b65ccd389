"""A run folder in, a report folder out.

OUT/index.html         one offline page
OUT/media/...          frames for its viewer, unless they are embedded
OUT/report.md          the same as text
OUT/summary.csv        one row per dataset, codec and method, not rounded
OUT/table.csv          tidy: one row per number, with intervals
OUT/coded.csv          bitrate, PSNR and SSIM of each coded sequence
OUT/seeds.csv          one row per method with mean and intervals over training seeds, where there are several
OUT/table.tex          the summary for a paper (booktabs)
OUT/figures/*.svg|pdf  the charts of the page, picture strips
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

from vssbench.analysis.differences import paired_differences
from vssbench.analysis.run import Run
from vssbench.analysis.seeds import seed_frame
from vssbench.errors import InputError
from vssbench.files import storage_error, write_atomically
from vssbench.rendering.curves import Panel, looks, panels, panels_over_seeds
from vssbench.rendering.figures.files import FigureFile, shared
from vssbench.rendering.figures.report_charts import ReportCharts, report_charts
from vssbench.rendering.images.tiles import strip
from vssbench.rendering.page.findings import findings
from vssbench.rendering.page.frames import Track, tracks
from vssbench.rendering.page.glossary import glossary
from vssbench.rendering.page.markdown import report_markdown
from vssbench.rendering.page.media import FOLDER, MediaStore
from vssbench.rendering.page.page import PageContent, page
from vssbench.rendering.page.provenance import provenance
from vssbench.rendering.page.viewer import Viewer, make_viewer
from vssbench.rendering.tables import latex, markdown
from vssbench.rendering.tables.comparisons import difference_table, family_table, over_seeds_table
from vssbench.rendering.tables.csv_text import frame_csv
from vssbench.rendering.tables.scores import coded_table, further_tables, loss_table
from vssbench.rendering.tables.summary import summary_frame, summary_of, summary_table
from vssbench.rendering.tables.text_table import scored_by
from vssbench.rendering.text import printable
from vssbench.results.frames import FrameCase
from vssbench.results.helper_processes import Shared, in_reverse

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
    on_stage("figures")
    scores = panels_over_seeds(run, panels(run))
    charts = report_charts(run, scores)
    figures, drawings = charts.files() if figure_files else [], list[Shared[list[Path]]]()
    folder = output / "figures"
    if figure_files:
        _make_folder(folder)
        drawings += shared(helper, figures, folder)
    store = MediaStore(embed)
    viewer = make_viewer(run, _shortened(tracks(run), frames), store) if pictures else None
    stills = _stills(viewer)
    if figure_files:
        strips = [
            FigureFile(
                f"frame-{number}", f"Frame: {case.describe()}", strip(case.picture(), run.roster.truth_title)
            )
            for number, case in enumerate(stills)
        ]
        figures += strips
        drawings += shared(helper, strips, folder)
    on_stage("page and tables")
    content = _content(run, scores, charts, viewer, stills, embed)
    html = page(content)
    media = _write_media(output, store)
    found = [path for paths in in_reverse(drawings) for path in paths]
    for name, text in {"index.html": html, **_texts(content, figures)}.items():
        write_atomically(output / name, text.encode("utf-8"))
        found.append(output / name)
    return Report(output, output / "index.html", (*found, *media))


def _content(
    run: Run,
    scores: list[Panel],
    charts: ReportCharts,
    viewer: Viewer | None,
    stills: list[FrameCase],
    embed: bool,
) -> PageContent:
    summary, styles = summary_of(run, run.families), looks(run, scores)
    table, score = summary_table(summary), run.roster.score
    sections = paired_differences(run)
    return PageContent(
        run=run,
        title=printable(run.title),
        summary=summary,
        panels=scores,
        looks=styles,
        provenance=provenance(run),
        copies={
            "CSV": frame_csv(summary_frame(run, summary)),
            "Markdown": markdown.pipe_table(table),
            "LaTeX": f"{latex.NEEDS}\n{latex.tabular(table)}",
        },
        charts=charts,
        findings=findings(run, sections),
        glossary=glossary(run, styles),
        differences=scored_by(score, difference_table(sections, styles)),
        families=family_table(run.families),
        seeds=scored_by(score, over_seeds_table(run, styles)),
        coded=coded_table(run),
        further=further_tables(run, styles),
        losses=loss_table(run.decompositions, styles),
        viewer=viewer,
        stills=stills,
        embedded=embed,
    )


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


def _texts(content: PageContent, figures: list[FigureFile]) -> dict[str, str]:
    """File name -> content of everything that is text but the page."""
    run = content.run
    seeds = {"seeds.csv": frame_csv(seed_frame(run.over_seeds))} if run.over_seeds else {}
    captions = [(figure.caption, f"figures/{figure.stem}.svg") for figure in figures]
    return {
        "report.md": report_markdown(content, captions),
        "summary.csv": content.copies["CSV"],
        **seeds,
        "coded.csv": frame_csv(run.coded),
        "table.csv": frame_csv(run.table),
        "table.tex": content.copies["LaTeX"],
    }
