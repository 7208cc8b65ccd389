"""The paper's tables in its own arrangement, measured numbers beside the published ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vssbench.analysis.run import Run
from vssbench.rendering.tables import latex, markdown
from vssbench.rendering.tables.csv_text import table_csv
from vssbench.rendering.tables.derived import SummaryRow, timed
from vssbench.rendering.tables.published import scope_note
from vssbench.rendering.tables.summary import summary_of
from vssbench.rendering.tables.text_table import Cell, Column, TextRow, TextTable, text_column, texts
from vssbench.rendering.text import MISSING, printable
from vssbench.results.identity import PaperIdentity
from vssbench.results.published import INTERVALS, PublishedRow, describes, read_published

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
MIOU = (
    Column("pub_miou", "mIoU (%)", by="paper"),
    Column("miou", "mIoU (%)", scale=100, by="ours"),
    Column("interval", "interval"),
    Column("difference", "ours - paper", signed=True),
    Column("inside", "paper", by="inside"),
)
COST = (
    Column("pub_gflops", "GFLOPs", "", "lower", by="paper"),
    Column("gop_mean_thop_gmacs", "GMACs thop", "", "lower", by="ours"),
    Column("gop_mean_gmacs", "GMACs exact", "", "lower", by="ours"),
)
RELATIVE_MIOU = (
    Column("pub_rel_miou", "rel. mIoU (%)", digits=1, signed=True, by="paper"),
    Column("rel_miou", "", digits=1, scale=100, signed=True, by="ours"),
)
RELATIVE_COST = (
    Column("pub_rel_gflops", "rel. GFLOPs (%)", digits=1, signed=True, by="paper"),
    Column("rel_gmacs", "", digits=1, scale=100, signed=True, by="ours"),
)
STOPWATCH_NOTE = (
    "Ours is the stopwatch's median time per frame over a group of pictures, decoding and motion excluded"
)
STEP_NOTE = "Ours is wall time inside the method while the run was made, decoding and motion excluded"


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One table of the paper."""

    number: int
    caption: str
    table: TextTable

    @property
    def name(self) -> str:
        """table1 ... table5."""
        return f"table{self.number}"


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """One of our rows and what it is in the paper."""

    identity: PaperIdentity
    row: SummaryRow
    run: Run


def measured_rows(runs: Sequence[Run]) -> list[MeasuredRow]:
    """All rows of the runs that the paper knows; of several alike the tables take the first."""
    found = []
    for run in runs:
        for row in summary_of(run).rows:
            identity = run.roster.identity(row.dataset, row.codec, row.method)
            if identity is not None:
                found.append(MeasuredRow(identity, row, run))
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


def _match(number: int, published: PublishedRow, ours: Sequence[MeasuredRow]) -> MeasuredRow | None:
    return next((one for one in ours if describes(f"table{number}", published, one.identity)), None)


def _values(published: PublishedRow, mine: MeasuredRow | None) -> dict[str, float]:
    """Theirs and ours by the key of the column, NaN where there is none."""
    theirs = {
        "pub_miou": "miou_percent",
        "pub_gflops": "gflops",
        "pub_rel_miou": "relative_miou_percent",
        "pub_rel_gflops": "relative_gflops_percent",
    }
    numbers = {key: _number(published.get(name)) for key, name in theirs.items()}
    ours = dict(mine.row.values) if mine else {}
    return {**ours, **numbers, "difference": 100 * ours.get("miou", math.nan) - numbers["pub_miou"]}


def _number(value: str | float | None) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def _cells(columns: Sequence[Column], published: PublishedRow, mine: MeasuredRow | None) -> list[Cell]:
    values = _values(published, mine)
    cells = []
    for column in columns:
        if column.key == "interval":
            ends = MIOU[1].interval(mine.row.low, mine.row.high) if mine else Cell("")
            cells.append(Cell(ends.text or MISSING))
        elif column.key == "inside":
            cells.append(Cell(_inside(values["pub_miou"], mine)))
        else:
            cells.append(column.cell(values.get(column.key)))
    return cells


def _inside(theirs: float, mine: MeasuredRow | None) -> str:
    """Whether the published mIoU lies in our interval."""
    if mine is None or not math.isfinite(mine.row.low):
        return MISSING
    return "yes" if 100 * mine.row.low <= theirs <= 100 * mine.row.high else "no"


Labelled = tuple[tuple[str, ...], PublishedRow]


def _table(
    number: int,
    caption: str,
    heads: Sequence[str],
    labelled: Sequence[Labelled],
    ours: Sequence[MeasuredRow],
    notes: tuple[str, ...],
    columns: Sequence[Column] = (*MIOU, *COST),
) -> PaperTable:
    """Sections by all labels but the last, each of which is printed once, as the paper does."""
    grouped: dict[tuple[str, ...], list[TextRow]] = {}
    for labels, published in labelled:
        rows = grouped.setdefault(labels[:-1], [])
        shown = ("",) * (len(labels) - 1) if rows else labels[:-1]
        cells = _cells(columns, published, _match(number, published, ours))
        rows.append(TextRow((*texts(*shown, labels[-1]), *cells)))
    sections = tuple(tuple(rows) for rows in grouped.values())
    text = tuple(text_column(head) for head in heads)
    return PaperTable(number, caption, TextTable(f"Table {number}", (*text, *columns), sections, notes))


def _table1(ours: Sequence[MeasuredRow], notes: tuple[str, ...]) -> PaperTable:
    labelled = []
    for one in read_published("table1"):
        method = "1.0x" if one["method"] == "constant" else f"AR {_number(one['lr_scale']):.1f}"
        labelled.append(((DATASETS[str(one["dataset"])], BACKBONES[str(one["backbone"])], method), one))
    caption = "Image-based methods on CamVid test and Cityscapes val."
    return _table(1, caption, ("Dataset", "Backbone", "Method"), labelled, ours, notes)


def _table2(ours: Sequence[MeasuredRow], notes: tuple[str, ...]) -> PaperTable:
    published = read_published("table2")
    labelled = [((DATASETS[str(one["dataset"])], str(one["method"])), one) for one in published]
    printed = tuple(str(one["note"]) for one in published if one["note"])
    caption = "Video-based methods; relative changes against the single-frame network of each method."
    columns = (*MIOU, *RELATIVE_MIOU, *COST, *RELATIVE_COST)
    return _table(2, caption, ("Dataset", "Method"), labelled, ours, (*notes, *printed), columns)


def _table3(ours: Sequence[MeasuredRow], notes: tuple[str, ...]) -> PaperTable:
    labelled = []
    for one in read_published("table3"):
        method = f"AR0.5-PSP18, {one['method']}" if one["method"] in INTERVALS else str(one["method"])
        labelled.append(((EXPERIMENTS[str(one["experiment"])], method), one))
    caption = "Ablations on CamVid with PSPNet18."
    return _table(3, caption, ("Experiment", "Method"), labelled, ours, notes)


def _table4(ours: Sequence[MeasuredRow], notes: tuple[str, ...]) -> PaperTable:
    labelled = [((str(one["codec"]), str(one["method"])), one) for one in read_published("table4")]
    caption = "Videos compressed by different encoders, CamVid."
    return _table(4, caption, ("Codec", "Method"), labelled, ours, notes)


def _table5(ours: Sequence[MeasuredRow], notes: tuple[str, ...]) -> PaperTable:
    """The paper's three columns; under each of its rows one of ours: by stopwatch, or else the run's step times."""
    published = read_published("table5")
    columns = (
        text_column("Dataset"),
        text_column("Measured"),
        *(Column(head, head) for head in ("1.0x baseline", "AR 0.5", "AR 0.3")),
    )
    sections, sources = [], []
    for dataset, title in DATASETS.items():
        rows = [one for one in published if one["dataset"] == dataset]
        theirs = [_time_text(_number(one["latency_ms"])) for one in rows]
        label, cells, source = _own_times([_match(5, one, ours) for one in rows])
        sources.append(source)
        lines = ((title, f"paper, {rows[0]['device']}", *theirs), ("", label, *cells))
        sections.append(tuple(TextRow(texts(*line)) for line in lines))
    explained = tuple(dict.fromkeys(source for source in sources if source))
    table = TextTable("Table 5", columns, tuple(sections), (*notes, *explained))
    return PaperTable(5, "Running time per frame.", table)


def _timed_first(ours: Sequence[MeasuredRow]) -> list[MeasuredRow]:
    """The rows that a stopwatch timed before the others, as one run measures accuracy and another times."""
    return sorted(ours, key=lambda one: (one.row.dataset, one.row.method) not in timed(one.run))


def _own_times(found: Sequence[MeasuredRow | None]) -> tuple[str, tuple[str, ...], str]:
    """Label, cells and explanation of our row: one source for all its cells, so that they can be compared."""
    known = [one for one in found if one is not None]
    records = [
        timed(one.run).get((one.row.dataset, one.row.method)) if one is not None else None for one in found
    ]
    watched = [record for record in records if record is not None]
    if watched:
        cells = tuple(
            _time_text(record.gop_mean.median_ms) + " ~" * (not record.gop_mean.stable) if record else MISSING
            for record in records
        )
        devices = ", ".join(dict.fromkeys(record.device for record in watched))
        unstable = not all(record.gop_mean.stable for record in watched)
        remark = "; ~: an unstable series, the record says why" if unstable else ""
        return f"ours, {devices}", cells, STOPWATCH_NOTE + remark
    cells = tuple(MISSING if one is None else _time_text(one.row.values["gop_ms"]) for one in found)
    return f"ours, {_device(known[0].run) if known else 'not measured'}", cells, STEP_NOTE if known else ""


def _device(run: Run) -> str:
    return str(run.environment.bits.get("device", "unknown device"))


def _time_text(ms: float) -> str:
    """'31.2 ms (32 fps)', as the paper prints it."""
    return f"{ms:.1f} ms ({1000 / ms:.0f} fps)" if math.isfinite(ms) and ms > 0 else MISSING


def table_latex(paper: PaperTable) -> str:
    """A booktabs tabular under a caption, small enough for a page of two columns."""
    notes = "; ".join(paper.table.notes) + "." if paper.table.notes else ""
    caption = f"{latex.escape(paper.caption)} {latex.escape(notes.replace('..', '.'))}"
    return "\n".join(
        (
            latex.NEEDS,
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{caption}}}",
            r"\scriptsize\setlength{\tabcolsep}{2pt}",
            latex.tabular(paper.table) + r"\end{table*}",
            "",
        )
    )


def document(tables: Sequence[PaperTable], title: str) -> str:
    """A LaTeX document of all tables that plain pdflatex compiles, to look at them."""
    head = (
        "\\documentclass[twocolumn]{article}\n\\usepackage[T1]{fontenc}\n\\usepackage{booktabs}\n"
        "\\addtolength{\\oddsidemargin}{-2cm}\\addtolength{\\textwidth}{4cm}\n\\begin{document}\n"
    )
    inputs = "".join(f"\\input{{{paper.name}.tex}}\n" for paper in tables)
    return f"{head}\\section*{{{latex.escape(printable(title))}}}\n{inputs}\\end{{document}}\n"


def paper_files(runs: Sequence[Run], figures: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """(file name, content) of everything that is text; figures: (caption, file name)."""
    tables = paper_tables(runs)
    title = " + ".join(run.title for run in runs)
    for paper in tables:
        yield f"{paper.name}.tex", table_latex(paper)
        yield f"{paper.name}.csv", table_csv(paper.table)
    yield "paper.tex", document(tables, title)
    parts = [f"# {markdown.escape(title)}: beside the paper"]
    parts += [markdown.section(paper.table, caption=paper.caption) for paper in tables]
    parts += [f"## {markdown.escape(text)}\n\n![{markdown.escape(text)}]({name})" for text, name in figures]
    yield "paper.md", "\n\n".join(parts) + "\n"
