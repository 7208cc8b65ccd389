"""The report as one HTML page that needs no network: text, tables, charts and pictures in a single file.

Everything from data passes through Jinja's autoescape or markupsafe. Scripts and styles are inline and named by hash
in the Content-Security-Policy, so that nothing else on the page could run even if it slipped through.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.resources import files

import jinja2
from markupsafe import Markup

from vssbench.analysis.run import Run
from vssbench.rendering.curves import Panel
from vssbench.rendering.figures.report_charts import ReportCharts
from vssbench.rendering.figures.svg import drawn
from vssbench.rendering.marks import legend_mark, part_swatch, swatch
from vssbench.rendering.page.media import FrameMedia
from vssbench.rendering.page.provenance import Provenance
from vssbench.rendering.page.viewer import Scores, Viewer, frame_miou
from vssbench.rendering.styles import PARTS
from vssbench.rendering.tables.html import html_table
from vssbench.rendering.tables.published import scope_note
from vssbench.rendering.tables.scores import class_table
from vssbench.rendering.tables.summary import Summary, summary_table
from vssbench.rendering.tables.text_table import Looks, TextTable
from vssbench.results.frames import FrameCase


@dataclass(frozen=True, slots=True)
class Layer:
    """One picture of a case: a base and what lies over it."""

    key: str
    title: str
    source: str
    """Address relative to the page, or a data: URL."""
    overlay: str | None = None
    look: str = ""
    """How base and overlay are drawn: 'dim', 'pale', 'flat' (no smoothing)."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class CaseView:
    """A kept case as a strip of pictures, for readers without scripts and for paper."""

    name: str
    facts: str
    dataset: str
    codec: str
    shared: tuple[Layer, ...]
    """Decoded frame, motion where there is any, truth."""
    answers: tuple[tuple[Layer, Layer], ...]
    """Prediction and error map of each method."""
    width: int
    height: int
    legend: tuple[tuple[Markup, str], ...]


@dataclass(frozen=True, slots=True)
class PageContent:
    """Everything that stands on the page."""

    run: Run
    title: str
    summary: Summary
    panels: Sequence[Panel]
    looks: Looks
    """Title of every method and name of every curve -> the curve it is drawn in; they differ where it has several seeds."""
    provenance: Provenance
    copies: dict[str, str]
    """Format -> the summary in it, for the copy buttons."""
    charts: ReportCharts
    glossary: Mapping[str, str]
    """Name of every curve -> what the method is."""
    findings: Sequence[str]
    """The first paragraphs, in words."""
    differences: TextTable
    families: TextTable
    seeds: TextTable
    coded: TextTable
    """Bitrate and quality by sequence."""
    further: Sequence[TextTable]
    losses: TextTable
    viewer: Viewer | None = None
    stills: Sequence[FrameCase] = ()
    """Cases shown as strips besides the viewer; their pictures are among the viewer's."""
    embedded: bool = False
    """Pictures are data: URLs, not files beside the page."""


def page(content: PageContent) -> str:
    """The HTML text of a report."""
    style = _template_text("page.css")
    script = _template_text("page.js") + _template_text("viewer.js")
    panels, charts, viewer = content.panels, content.charts, content.viewer
    series = dict(sorted(content.looks.values(), key=lambda look: look[1]))
    budgets = {line.name: line.series for chart in charts.budgets for line in chart.lines}
    used = {column.key for column in content.summary.columns}
    shown = {f.name: getattr(charts, f.name) for f in fields(charts) if f.name != "score"}
    table = summary_table(content.summary, content.looks).without_lone("dataset")
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=content.title,
            score=content.run.roster.score,
            reference=content.run.roster.truth,
            findings=content.findings,
            policy=_policy(style, script, content.embedded),
            style=Markup(style),  # our own file, never data
            script=Markup(script),
            summary=content.summary,
            summary_table=html_table(table, sortable=True),
            column_groups=list(dict.fromkeys(c.group for c in table.columns if c.group)),
            explained=[column for column in table.columns if column.meaning],
            scope=scope_note(content.run) if "pub_miou" in used else None,
            datasets=list(dict.fromkeys(panel.dataset for panel in panels)),
            codecs=list(dict.fromkeys(panel.codec for panel in panels)),
            rates=sorted({round(panel.kbps) for panel in panels if panel.kbps == panel.kbps}),
            legend=_legend(series),
            curves=list(series),
            marks=[(name, legend_mark(number)) for name, number in series.items()],
            curve_names={title: name for title, (name, _) in content.looks.items()},
            series={title: number for title, (_, number) in content.looks.items()},
            bands=any(line.around == "band" for chart in charts.distances for line in chart.lines),
            with_legend={
                kind
                for kind, found in shown.items()
                if not all(getattr(chart, "named_directly", False) for chart in found)
            },
            glossary=content.glossary,
            charts={kind: [drawn(chart) for chart in found] for kind, found in shown.items()},
            tables={
                name: _shown(getattr(content, name))
                for name in ("differences", "families", "seeds", "losses", "coded")
            },
            further=[_shown(table) for table in content.further],
            stages=[(part_swatch(f"t{i % 8}"), name) for i, name in enumerate(_stages(charts))],
            parts=[(part_swatch(f"u{i}"), name) for i, (name, _, _) in enumerate(PARTS.values())],
            class_tables=_class_tables(content),
            viewer=viewer.data if viewer and viewer.data["tracks"] else None,
            kept=_kept_note(content),
            cases=_case_views(content),
            class_legends=_class_legends(content.stills),
            provenance=content.provenance,
            budget_legend=_legend(budgets),
            copies=content.copies,
        )
    )


def _case_views(content: PageContent) -> list[CaseView]:
    viewer, roster = content.viewer, content.run.roster
    if viewer is None:
        return []
    return [
        case_view(c, viewer.media[c.place], viewer.scores, roster.score, roster.truth_title)
        for c in content.stills
    ]


def _shown(table: TextTable) -> dict[str, object] | None:
    """Title, notes and element of a table; None where it has no row."""
    if not table.rows:
        return None
    element = html_table(table.without_lone("dataset"))
    notes = " ".join(table.notes)
    return {"title": table.title, "notes": notes, "element": element, "rows": len(table.rows)}


def _legend(series: Mapping[str, int]) -> Markup:
    """Entries of a legend, hidden with their methods."""
    return Markup("").join(
        Markup('<li data-method="{}">{} {}</li>').format(name, legend_mark(number), name)
        for name, number in series.items()
    )


def _stages(charts: ReportCharts) -> Sequence[str]:
    return charts.waterfalls[0].stage_names if charts.waterfalls else ()


def _class_tables(content: PageContent) -> list[dict[str, object]]:
    found = []
    for panel in content.panels:
        table = class_table(panel, content.run.datasets[panel.dataset], digits=1)
        found.append({"panel": panel, "element": html_table(table, caption=True)})
    return found


def _class_legends(stills: Sequence[FrameCase]) -> list[tuple[str, list[tuple[Markup, str]]]]:
    """Colour and name of every class, once per dataset, for the viewer."""
    found: dict[str, list[tuple[Markup, str]]] = {}
    for case in stills:
        pairs = zip(case.palette, case.class_names, strict=False)
        found.setdefault(case.dataset, [(swatch(colour), name) for colour, name in pairs])
    return list(found.items())


def _kept_note(content: PageContent) -> str:
    kept = len(content.viewer.cases) if content.viewer else 0
    scored = sum(
        {(g.dataset, g.codec): int(g.frames.sum()) for g in content.run.groups}.values()
    )  # methods of one section are scored on the same frames
    return f"The run kept pictures of {kept} of {scored} scored frames."


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_template_text),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def _template_text(name: str) -> str:
    return (files("vssbench.reports") / "templates" / name).read_text(encoding="utf-8")


def _policy(style: str, script: str, embedded: bool) -> str:
    """A policy under which only this style and this script work, and only the report's own pictures load."""

    def digest(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    rules = (
        "default-src 'none'",
        "img-src data:" if embedded else "img-src 'self' data:",
        f"style-src {digest(style)}",
        f"script-src {digest(script)}",
    )
    return "; ".join((*rules, "base-uri 'none'", "form-action 'none'"))


def case_view(case: FrameCase, media: FrameMedia, scores: Scores, score: str, truth: str) -> CaseView:
    """All layers of a kept case. score: what its methods are scored by; truth: what by, see `Roster.truth_title`."""
    layers = [Layer("decoded", "decoded frame", media.decoded)]
    if media.motion is not None:
        note = "arrows point to where the content was in the keyframe; tinted: no motion"
        layers.append(Layer("motion", "motion to the keyframe", media.decoded, media.motion, "dim", note))
    layers.append(Layer("truth", truth, media.truth, look="flat"))
    answers = []
    for number, method in enumerate(case.prediction_names):
        per_class = scores[case.place].get(method)
        miou = None if per_class is None else frame_miou(per_class)
        note = "" if miou is None else f"this frame: {score} {100 * miou:.1f} %"
        prediction = Layer(f"p{number}", method, media.predictions[method], look="flat", note=note)
        wrong = media.errors[method]
        errors = Layer(
            f"e{number}", f"errors of {method}", media.decoded, wrong, "pale flat", "vermilion: wrong"
        )
        answers.append((prediction, errors))
    facts = [f"decoded as {case.frame_type}"]
    facts += [] if case.coded_bytes is None else [f"{case.coded_bytes} bytes"]
    facts += [] if case.qp is None else [f"QP {case.qp:.1f}"]
    legend = tuple((swatch(c), name) for c, name in zip(case.palette, case.class_names, strict=False))
    return CaseView(
        case.describe(), ", ".join(facts), case.dataset, case.codec, tuple(layers), tuple(answers), media.width,
        media.height, legend,
    )  # fmt: skip
