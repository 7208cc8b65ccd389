"""The report as one HTML page that needs no network: text, tables, charts and pictures in a single file.

Everything from data passes through Jinja's autoescape or markupsafe. Scripts and styles are inline and named by hash
in the Content-Security-Policy, so that nothing else on the page could run even if it slipped through.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from vssbench.rendering.figures import svg as charts
from vssbench.rendering.figures.budget import BudgetPanel, budget_charts
from vssbench.rendering.tables.columns import COLUMNS
from vssbench.rendering.figures.curves import Panel
from vssbench.rendering.figures.decomposition import decomposition_charts
from vssbench.rendering.page.frames import FrameCase
from vssbench.rendering.tables.further import further_section
from vssbench.rendering.page.media import FrameMedia
from vssbench.rendering.page.provenance import Provenance
from vssbench.rendering.paper.published import scope_note
from vssbench.rendering.tables.seeds import NOTE, SeedTextRow
from vssbench.rendering.tables.summary import DifferenceRow, FamilyRow, SummaryTable, interval_text, kbps_text
from vssbench.rendering.page.viewer import Scores, Viewer, frame_miou
from vssbench.rendering.figures.waterfall import Waterfall, stage_names, waterfall_charts
from vssbench.analysis.run import Run


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
    summary: SummaryTable
    panels: Sequence[Panel]
    curve_names: dict[str, str]
    """Title of every method -> name of the curve it is drawn in; they differ where a method has several seeds."""
    class_names: dict[str, list[str]]
    palettes: dict[str, list[list[int]]]
    provenance: Provenance
    copies: dict[str, str]
    """Format -> the summary in it, for the copy buttons."""
    differences: Sequence[DifferenceRow] = ()
    families: Sequence[FamilyRow] = ()
    budgets: Sequence[BudgetPanel] = ()
    """The curves behind `families`."""
    seeds: Sequence[SeedTextRow] = ()
    waterfalls: Sequence[Waterfall] = ()
    viewer: Viewer | None = None
    stills: Sequence[FrameCase] = ()
    """Cases shown as strips besides the viewer; their pictures are among the viewer's."""
    embedded: bool = False
    """Pictures are data: URLs, not files beside the page."""


def page(content: PageContent) -> str:
    """The HTML text of a report."""
    style = _template_text("page.css")
    script = _template_text("page.js") + _template_text("viewer.js")
    panels = content.panels
    curves = {curve.method: curve.series for panel in panels for curve in panel.curves}
    series = {title: curves[name] for title, name in content.curve_names.items()}
    used = {column.key for column in content.summary.columns}
    viewer = content.viewer
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=content.title,
            policy=_policy(style, script, content.embedded),
            style=Markup(style),  # our own file, never data
            script=Markup(script),
            summary=content.summary,
            columns=[c for c in COLUMNS if c.key in used],
            column_groups=_column_groups(content.summary),
            scope=scope_note(content.run) if "pub_miou" in used else None,
            panels=panels,
            datasets=list(dict.fromkeys(panel.dataset for panel in panels)),
            codecs=list(dict.fromkeys(panel.codec for panel in panels)),
            rates=sorted({round(panel.kbps) for panel in panels if panel.kbps == panel.kbps}),
            curves=sorted(curves, key=curves.__getitem__),
            curve_names=content.curve_names,
            series={**series, **curves},
            miou_d_charts=charts.miou_d_charts(panels),
            cost_charts=charts.cost_charts(panels),
            bitrate_charts=charts.bitrate_charts(panels),
            further=further_section(content.run),
            waterfall_charts=waterfall_charts(content.waterfalls),
            stages=stage_names(content.waterfalls),
            decomposition_charts=decomposition_charts(content.run, series),
            class_charts=charts.class_charts(panels, content.class_names),
            class_tables=[_class_table(panel, content.class_names, content.palettes) for panel in panels],
            viewer=viewer.data if viewer and viewer.data["tracks"] else None,
            kept=_kept_note(content),
            cases=[case_view(c, viewer.media[c.place], viewer.scores) for c in content.stills]
            if viewer
            else [],
            provenance=content.provenance,
            differences=content.differences,
            families=content.families,
            budget_charts=budget_charts(content.budgets),
            budget_names={c.name: c.series for one in content.budgets for c in one.curves},
            seeds=content.seeds,
            seed_note=NOTE,
            copies=content.copies,
        )
    )


def _kept_note(content: PageContent) -> str:
    kept = len(content.viewer.cases) if content.viewer else 0
    scored = sum(
        {(g.dataset, g.codec): int(g.frames.sum()) for g in content.run.groups}.values()
    )  # methods of one section are scored on the same frames
    return f"The run kept pictures of {kept} of {scored} scored frames."


def _column_groups(summary: SummaryTable) -> list[tuple[str, str]]:
    """(key, heading) of the groups of columns that can be hidden, in their order."""
    return list(dict.fromkeys((c.group, c.group) for c in summary.columns if c.group))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template_text),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals.update(
        interval_text=interval_text,
        kbps_text=kbps_text,
        legend_mark=charts.legend_mark,
        share_bar=charts.share_bar,
    )
    return environment


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


def _class_table(
    panel: Panel, class_names: dict[str, list[str]], palettes: dict[str, list[list[int]]]
) -> dict[str, Any]:
    """Rows of the per-class table: swatch, name, one value per method, and which value is best."""
    rows = []
    for i, name in enumerate(class_names[panel.dataset]):
        values = [curve.class_iou[i] for curve in panel.curves]
        shown = [round(100 * v, 1) for v in values if v == v]
        best = max(shown) if len(set(shown)) > 1 else None
        rows.append(
            {
                "swatch": charts.swatch(palettes[panel.dataset][i]),
                "name": name,
                "values": values,
                "best": best,
            }
        )
    return {"panel": panel, "rows": rows}


def case_view(case: FrameCase, media: FrameMedia, scores: Scores) -> CaseView:
    """All layers of a kept case."""
    layers = [Layer("decoded", "decoded frame", media.decoded)]
    if media.motion is not None:
        note = "arrows point to where the content was in the keyframe; tinted: no motion"
        layers.append(Layer("motion", "motion to the keyframe", media.decoded, media.motion, "dim", note))
    layers.append(Layer("truth", "truth", media.truth, look="flat"))
    answers = []
    for number, method in enumerate(case.prediction_names):
        per_class = scores[case.place].get(method)
        miou = None if per_class is None else frame_miou(per_class)
        note = "" if miou is None else f"this frame: mIoU {100 * miou:.1f} %"
        prediction = Layer(f"p{number}", method, media.predictions[method], look="flat", note=note)
        wrong = media.errors[method]
        errors = Layer(
            f"e{number}", f"errors of {method}", media.decoded, wrong, "pale flat", "vermilion: wrong"
        )
        answers.append((prediction, errors))
    facts = [f"decoded as {case.frame_type}"]
    facts += [] if case.coded_bytes is None else [f"{case.coded_bytes} bytes"]
    facts += [] if case.qp is None else [f"QP {case.qp:.1f}"]
    legend = tuple((charts.swatch(c), name) for c, name in zip(case.palette, case.class_names, strict=False))
    return CaseView(
        case.describe(), ", ".join(facts), case.dataset, case.codec, tuple(layers), tuple(answers), media.width,
        media.height, legend,
    )  # fmt: skip
