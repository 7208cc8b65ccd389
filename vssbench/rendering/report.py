"""A run folder in, a report folder out.

OUT/index.html         one offline page
OUT/report.md          the same as text
OUT/summary.csv        one row per dataset, codec and method, not rounded
OUT/table.csv          tidy: one row per number, with intervals
OUT/seeds.csv          one row per method with mean and intervals over training seeds, where there are several
OUT/table.tex          the summary for a paper (booktabs)
OUT/figures/*.svg|pdf  mIoU_d, accuracy against cost, picture strips
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vssbench.errors import InputError
from vssbench.rendering import figures, latex, markdown, page
from vssbench.rendering.class_figure import class_iou_figure
from vssbench.rendering.curves import Panel, panels
from vssbench.rendering.pictures import PictureCase, picture_cases
from vssbench.rendering.provenance import provenance
from vssbench.rendering.seed_table import seed_text_rows
from vssbench.rendering.tables import SummaryTable, difference_rows, family_rows, printable, summary_table
from vssbench.results.differences import paired_differences
from vssbench.results.families import family_comparisons
from vssbench.results.run import Run
from vssbench.results.seeds import seed_table
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
    on_stage: Progress = lambda text: None,
) -> Report:
    """Render a run into a folder; existing files of an earlier report are replaced.

    pictures: embed and draw the stored frames (leave out where frames must not be passed on).
    figure_files: write SVG and PDF files besides the page.
    Raises InputError if nothing is stored yet or a record is damaged, StorageError if the folder cannot be written.
    """
    on_stage("reading records")
    if not run.groups:
        raise InputError(
            f"{run.path}: no unit is stored yet, so there is nothing to report; run the experiment first"
        )
    summary, drawn = summary_table(run), panels(run)
    cases = picture_cases(run) if pictures else []
    found: list[Path] = []
    on_stage("figures")
    class_names = {name: list(dataset["class_names"]) for name, dataset in run.datasets.items()}
    drawings = _draw(drawn, cases, class_names, output / "figures", found) if figure_files else []
    on_stage("page and tables")
    texts = _texts(run, summary, drawn, cases, drawings)
    for name, text in texts.items():
        write_atomically(output / name, text.encode("utf-8"))
        found.append(output / name)
    return Report(output, output / "index.html", tuple(found))


def _texts(
    run: Run,
    summary: SummaryTable,
    drawn: list[Panel],
    cases: list[PictureCase],
    drawings: list[tuple[str, str]],
) -> dict[str, str]:
    """File name -> content of everything that is text."""
    title = printable(str(run.experiment.get("title") or run.path.name))
    class_names = {name: list(dataset["class_names"]) for name, dataset in run.datasets.items()}
    palettes = {name: dataset["palette"] for name, dataset in run.datasets.items()}
    source = provenance(run)
    differences = difference_rows(paired_differences(run))
    families = family_rows(family_comparisons(run))
    summary_csv = summary_text(run)
    over = seed_text_rows(run)
    seeds = {"seeds.csv": seed_table(run).to_csv(index=False, lineterminator="\n")} if run.over_seeds else {}
    return {
        "index.html": page.page(
            title,
            summary,
            drawn,
            class_names,
            palettes,
            cases,
            source,
            summary_csv,
            differences,
            families,
            over,
        ),
        "report.md": markdown.report_markdown(
            title, summary, drawn, class_names, source, drawings, differences, families, over
        ),
        "summary.csv": summary_csv,
        **seeds,
        "table.csv": run.table.to_csv(index=False, lineterminator="\n"),
        "table.tex": latex.summary_latex(summary),
    }


def summary_text(run: Run) -> str:
    """The summary as CSV: stored values, not rounded; mIoU in 0..1."""
    return str(run.summary.to_csv(index=False, lineterminator="\n"))


def _draw(
    drawn: list[Panel],
    cases: list[PictureCase],
    class_names: dict[str, list[str]],
    folder: Path,
    found: list[Path],
) -> list[tuple[str, str]]:
    """Write the figure files, add them to `found`; (caption, path of the SVG from the report)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(folder, error) from error
    drawings = [("mIoU by keyframe distance", "miou_d", figures.miou_d_figure(drawn))]
    cost = figures.cost_figure(drawn)
    if cost is not None:
        drawings.append(("Accuracy against cost", "cost", cost))
    drawings.append(("IoU by class", "class_iou", class_iou_figure(drawn, class_names)))
    for number, case in enumerate(cases):
        drawings.append((f"Pictures: {case.name}", f"pictures-{number}", figures.strip_figure(case)))
    for _, stem, figure in drawings:
        found += figures.save(figure, folder / stem)
    return [(caption, f"figures/{stem}.svg") for caption, stem, _ in drawings]
