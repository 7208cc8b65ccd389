"""The paper's tables in its own arrangement, measured numbers beside the published ones, as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vssbench.rendering.tables import latex
from vssbench.rendering.tables import markdown
from vssbench.rendering.tables.columns import MISSING
from vssbench.rendering.tables.latency import frame_times
from vssbench.rendering.paper.identity import PaperIdentity, paper_identity
from vssbench.rendering.paper.published import INTERVALS, describes, scope_note
from vssbench.rendering.tables.summary import Row, printable, summary_table
from vssbench.rendering.tables.csv_text import guarded
from vssbench.results.published import PublishedRow, read_published
from vssbench.analysis.run import Run

PAPERS = ("ar-seg",)
DATASETS = {"camvid": "CamVid", "cityscapes": "Cityscapes"}
BACKBONES = {"pspnet18": "PSPNet18", "bisenet18": "BiSeNet18"}
EXPERIMENTS = {
    "baseline": "Baseline",
    "creff_architecture": "Architecture of CReFF",
    "creff_location": "Location of CReFF",
    "fst": "Feature similarity training",
    "keyframe_interval": "Keyframe interval",
}
MIOU_HEADS = ("mIoU (%) paper", "mIoU (%) ours", "interval", "ours - paper", "paper inside")
COST_HEADS = ("GFLOPs paper", "GMACs thop ours", "GMACs exact ours")
STOPWATCH_NOTE = (
    "Ours is the stopwatch's median time per frame over a group of pictures, decoding and motion excluded"
)
STEP_NOTE = "Ours is wall time inside the method while the run was made, decoding and motion excluded"


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One table of the paper, ready to print; text is not escaped."""

    name: str
    """table1 ... table5."""
    caption: str
    heads: tuple[str, ...]
    """The first `labels` columns are text, the others numbers."""
    labels: int
    sections: tuple[tuple[tuple[str, ...], ...], ...]
    """Rows of cells; the paper draws a line between sections."""
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Rows of all sections."""
        return [row for section in self.sections for row in section]


@dataclass(frozen=True, slots=True)
class Measured:
    """One of our rows and what it is in the paper."""

    identity: PaperIdentity
    row: Row
    run: Run


def measured_rows(runs: Sequence[Run]) -> list[Measured]:
    """All rows of the runs that the paper knows; of several alike the tables take the first."""
    found = []
    for run in runs:
        for row in summary_table(run).rows:
            identity = paper_identity(run, row.dataset, row.codec, row.method)
            if identity is not None:
                found.append(Measured(identity, row, run))
    return found


def paper_tables(runs: Sequence[Run]) -> list[PaperTable]:
    """Tables 1 to 5; cells of ours are empty where no run measured the row."""
    ours = measured_rows(runs)
    notes = tuple(dict.fromkeys(note for note in map(scope_note, runs) if note))
    return [
        _table1(ours, notes),
        _table2(ours, notes),
        _table3(ours, notes),
        _table4(ours, notes),
        _table5(_timed_first(ours), notes),
    ]


def _match(table: str, published: PublishedRow, ours: Sequence[Measured]) -> Measured | None:
    return next((one for one in ours if describes(table, published, one.identity)), None)


def _miou_cells(published: PublishedRow, mine: Measured | None) -> tuple[str, ...]:
    theirs = float(published["miou_percent"] or math.nan)
    if mine is None:
        return (f"{theirs:.2f}", MISSING, MISSING, MISSING, MISSING)
    value, low, high = (100 * v for v in (mine.row.values["miou"], mine.row.low, mine.row.high))
    known = math.isfinite(low)
    inside = ("yes" if low <= theirs <= high else "no") if known else MISSING
    interval = f"[{low:.2f}, {high:.2f}]" if known else MISSING
    return (f"{theirs:.2f}", f"{value:.2f}", interval, f"{value - theirs:+.2f}", inside)


def _cost_cells(published: PublishedRow, mine: Measured | None) -> tuple[str, ...]:
    theirs = float(published["gflops"] or math.nan)
    values = mine.row.values if mine else {}
    own = (values.get("gop_mean_thop_gmacs", math.nan), values.get("gop_mean_gmacs", math.nan))
    return (f"{theirs:.2f}", *(f"{v:.2f}" if math.isfinite(v) else MISSING for v in own))


def _sections(rows: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """Rows grouped by their first element, which is a key and not printed."""
    grouped: dict[str, list[tuple[str, ...]]] = {}
    for key, cells in rows:
        grouped.setdefault(key, []).append(cells)
    return tuple(tuple(cells) for cells in grouped.values())


def _once(cells: Sequence[tuple[str, ...]], columns: int) -> list[tuple[str, ...]]:
    """Repeated leading labels printed once, as the paper does."""
    shown, before = [], ("",) * columns
    for row in cells:
        kept = ["" if row[: i + 1] == before[: i + 1] else row[i] for i in range(columns)]
        shown.append((*kept, *row[columns:]))
        before = row[:columns]
    return shown


def _table1(ours: Sequence[Measured], notes: tuple[str, ...]) -> PaperTable:
    rows = []
    for one in read_published("table1"):
        mine = _match("table1", one, ours)
        scale = float(one["lr_scale"] or 1)
        method = "1.0x" if one["method"] == "constant" else f"AR {scale:.1f}"
        labels = (DATASETS[str(one["dataset"])], BACKBONES[str(one["backbone"])], method)
        rows.append((f"{labels[0]} {labels[1]}", (*labels, *_miou_cells(one, mine), *_cost_cells(one, mine))))
    heads = ("Dataset", "Backbone", "Method", *MIOU_HEADS, *COST_HEADS)
    sections = tuple(tuple(_once(section, 2)) for section in _sections(rows))
    return PaperTable(
        "table1", "Image-based methods on CamVid test and Cityscapes val.", heads, 3, sections, notes
    )


def _table2(ours: Sequence[Measured], notes: tuple[str, ...]) -> PaperTable:
    rows = []
    for one in read_published("table2"):
        mine = _match("table2", one, ours)
        relative = [
            f"{float(one[key] or 0):+.1f}" for key in ("relative_miou_percent", "relative_gflops_percent")
        ]
        values = mine.row.values if mine else {}
        own = [
            f"{100 * values[key]:+.1f}" if key in values and math.isfinite(values[key]) else MISSING
            for key in ("rel_miou", "rel_gmacs")
        ]
        cells = (*_miou_cells(one, mine), relative[0], own[0], *_cost_cells(one, mine), relative[1], own[1])
        dataset = DATASETS[str(one["dataset"])]
        rows.append((dataset, (dataset, str(one["method"]), *cells)))
    heads = (
        "Dataset", "Method", *MIOU_HEADS, "rel. mIoU (%) paper", "ours", *COST_HEADS, "rel. GFLOPs (%) paper", "ours",
    )  # fmt: skip
    printed = tuple(str(one["note"]) for one in read_published("table2") if one["note"])
    sections = tuple(tuple(_once(section, 1)) for section in _sections(rows))
    caption = "Video-based methods; relative changes against the single-frame network of each method."
    return PaperTable("table2", caption, heads, 2, sections, (*notes, *printed))


def _table3(ours: Sequence[Measured], notes: tuple[str, ...]) -> PaperTable:
    rows = []
    for one in read_published("table3"):
        mine = _match("table3", one, ours)
        name = EXPERIMENTS[str(one["experiment"])]
        method = f"AR0.5-PSP18, {one['method']}" if one["method"] in INTERVALS else str(one["method"])
        rows.append((name, (name, method, *_miou_cells(one, mine), *_cost_cells(one, mine))))
    heads = ("Experiment", "Method", *MIOU_HEADS, *COST_HEADS)
    sections = tuple(tuple(_once(section, 1)) for section in _sections(rows))
    return PaperTable("table3", "Ablations on CamVid with PSPNet18.", heads, 2, sections, notes)


def _table4(ours: Sequence[Measured], notes: tuple[str, ...]) -> PaperTable:
    rows = []
    for one in read_published("table4"):
        mine = _match("table4", one, ours)
        codec = str(one["codec"])
        rows.append((codec, (codec, str(one["method"]), *_miou_cells(one, mine), *_cost_cells(one, mine))))
    heads = ("Codec", "Method", *MIOU_HEADS, *COST_HEADS)
    sections = tuple(tuple(_once(section, 1)) for section in _sections(rows))
    return PaperTable("table4", "Videos compressed by different encoders, CamVid.", heads, 2, sections, notes)


def _table5(ours: Sequence[Measured], notes: tuple[str, ...]) -> PaperTable:
    """The paper's three columns; under each of its rows one of ours: by stopwatch, or else the run's step times."""
    published = read_published("table5")
    heads = ("Dataset", "Measured", "1.0x baseline", "AR 0.5", "AR 0.3")
    sections, sources = [], []
    for dataset, title in DATASETS.items():
        mine = [one for one in published if one["dataset"] == dataset]
        theirs = tuple(_time_text(float(one["latency_ms"] or math.nan)) for one in mine)
        found = [_match("table5", one, ours) for one in mine]
        label, cells, source = _own_times(found)
        sources.append(source)
        sections.append(((title, f"paper, {mine[0]['device']}", *theirs), ("", label, *cells)))
    explained = tuple(dict.fromkeys(source for source in sources if source))
    return PaperTable("table5", "Running time per frame.", heads, 2, tuple(sections), (*notes, *explained))


def _timed_first(ours: Sequence[Measured]) -> list[Measured]:
    """The rows that a stopwatch timed before the others, as one run measures accuracy and another times."""
    return sorted(ours, key=lambda one: (one.row.dataset, one.row.method) not in frame_times(one.run))


def _own_times(found: Sequence[Measured | None]) -> tuple[str, tuple[str, ...], str]:
    """Label, cells and explanation of our row: one source for all its cells, so that they can be compared."""
    known = [one for one in found if one is not None]
    timed = [
        None if one is None else frame_times(one.run).get((one.row.dataset, one.row.method)) for one in found
    ]
    watched = [one for one in timed if one is not None]
    if watched:
        cells = tuple(
            MISSING if one is None else _time_text(one.median_ms) + ("" if one.stable else " ~")
            for one in timed
        )
        devices = ", ".join(dict.fromkeys(one.device for one in watched if one.device)) or "unknown device"
        unstable = (
            "" if all(one.stable for one in watched) else "; ~: an unstable series, the record says why"
        )
        return f"ours, {devices}", cells, STOPWATCH_NOTE + unstable
    cells = tuple(MISSING if one is None else _time_text(one.row.values["gop_ms"]) for one in found)
    return f"ours, {_device(known[0].run) if known else 'not measured'}", cells, STEP_NOTE if known else ""


def _device(run: Run) -> str:
    return str(run.environment.get("bits", {}).get("device", "unknown device"))


def _time_text(ms: float) -> str:
    """'31.2 ms (32 fps)', as the paper prints it."""
    return f"{ms:.1f} ms ({1000 / ms:.0f} fps)" if math.isfinite(ms) and ms > 0 else MISSING


def table_markdown(table: PaperTable) -> str:
    """A headed pipe table; empty lines between the paper's sections are left out."""
    number = table.name.removeprefix("table")
    cells = [[markdown.escape(cell) for cell in row] for row in table.rows]
    body = markdown.table([markdown.escape(h) for h in table.heads], cells, numbers_from=table.labels)
    notes = "".join(f"\n- {markdown.escape(note)}" for note in table.notes)
    return f"## Table {number}\n\n{markdown.escape(table.caption)}\n\n{body}\n" + (
        f"{notes}\n" if notes else ""
    )


def table_latex(table: PaperTable) -> str:
    """A booktabs tabular under a caption, small enough for a page of two columns."""
    spec = "l" * table.labels + "r" * (len(table.heads) - table.labels)
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}",
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{latex.escape(table.caption)} {_latex_notes(table)}}}",
        r"\scriptsize\setlength{\tabcolsep}{2.5pt}",
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        *_head_lines(table.heads),
    ]
    for section in table.sections:
        lines.append(r"\midrule")
        lines += [" & ".join(map(latex.escape, row)) + r" \\" for row in section]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table*}", ""])


def _head_lines(heads: Sequence[str]) -> list[str]:
    """Headings over two lines: what is measured, and by whom."""
    split = []
    for head in heads:
        words = head.rsplit(" ", 1)
        split.append(words if words[-1] in ("paper", "ours", "inside") and len(words) == 2 else [head, ""])
    return [" & ".join(latex.escape(pair[i]) for pair in split) + r" \\" for i in (0, 1)]


def _latex_notes(table: PaperTable) -> str:
    return latex.escape("; ".join(table.notes) + "." if table.notes else "").replace("..", ".")


def table_csv(table: PaperTable) -> str:
    """The cells as CSV; headings as printed."""
    buffer = io.StringIO()
    rows = [[guarded(cell) for cell in row] for row in table.rows]
    csv.writer(buffer, lineterminator="\n").writerows([table.heads, *rows])
    return buffer.getvalue()


def document(tables: Sequence[PaperTable], title: str) -> str:
    """A LaTeX document of all tables that plain pdflatex compiles, to look at them."""
    head = (
        "\\documentclass[twocolumn]{article}\n\\usepackage[T1]{fontenc}\n\\usepackage{booktabs}\n"
        "\\addtolength{\\oddsidemargin}{-2cm}\\addtolength{\\textwidth}{4cm}\n\\begin{document}\n"
    )
    inputs = "".join(f"\\input{{{table.name}.tex}}\n" for table in tables)
    return f"{head}\\section*{{{latex.escape(printable(title))}}}\n{inputs}\\end{{document}}\n"


def texts(runs: Sequence[Run], figures: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """(file name, content) of everything that is text; figures: (caption, file name)."""
    tables = paper_tables(runs)
    title = " + ".join(str(run.experiment.get("title") or run.path.name) for run in runs)
    for table in tables:
        yield f"{table.name}.tex", table_latex(table)
        yield f"{table.name}.csv", table_csv(table)
    yield "paper.tex", document(tables, title)
    parts = [f"# {markdown.escape(printable(title))}: beside the paper", *map(table_markdown, tables)]
    parts += [
        f"## {markdown.escape(caption)}\n\n![{markdown.escape(caption)}]({name})\n"
        for caption, name in figures
    ]
    yield "paper.md", "\n".join(parts)
