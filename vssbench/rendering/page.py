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

from vssbench.rendering import charts
from vssbench.rendering.columns import COLUMNS
from vssbench.rendering.curves import Panel
from vssbench.rendering.latex import summary_latex
from vssbench.rendering.markdown import summary_markdown
from vssbench.rendering.pictures import (
    PictureCase,
    encode_flat,
    encode_photo,
    error_image,
    label_image,
    motion_image,
)
from vssbench.rendering.provenance import Provenance
from vssbench.rendering.seed_table import NOTE, SeedTextRow
from vssbench.rendering.tables import DifferenceRow, FamilyRow, SummaryTable, interval_text, kbps_text

WIDEST_PICTURE = 640
"""Columns of the pictures on the page."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One picture of a case, as the viewer offers it."""

    key: str
    """Short name for the URL fragment."""
    title: str
    source: str
    """data: URL."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class CaseView:
    """A picture case ready for the template."""

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


def page(
    title: str,
    summary: SummaryTable,
    panels: Sequence[Panel],
    class_names: dict[str, list[str]],
    palettes: dict[str, list[list[int]]],
    cases: Sequence[PictureCase],
    provenance: Provenance,
    summary_csv: str,
    differences: Sequence[DifferenceRow] = (),
    families: Sequence[FamilyRow] = (),
    seeds: Sequence[SeedTextRow] = (),
) -> str:
    """The HTML text of a report."""
    style, script = _template_text("page.css"), _template_text("page.js")
    datasets = list(dict.fromkeys(panel.dataset for panel in panels))
    methods = {curve.method: curve.series for panel in panels for curve in panel.curves}
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=title,
            policy=_policy(style, script),
            style=Markup(style),  # our own file, never data
            script=Markup(script),
            summary=summary,
            columns=[c for c in COLUMNS if c.key in {used.key for used in summary.columns}],
            panels=panels,
            datasets=datasets,
            codecs=list(dict.fromkeys(panel.codec for panel in panels)),
            methods=sorted(methods, key=methods.__getitem__),
            series=methods,
            miou_d_charts=charts.miou_d_charts(panels),
            cost_charts=charts.cost_charts(panels),
            bitrate_charts=charts.bitrate_charts(panels),
            class_tables=[_class_table(panel, class_names, palettes) for panel in panels],
            cases=[case_view(case) for case in cases],
            provenance=provenance,
            differences=differences,
            families=families,
            seeds=seeds,
            seed_note=NOTE,
            copies={
                "CSV": summary_csv,
                "Markdown": summary_markdown(summary),
                "LaTeX": summary_latex(summary),
            },
        )
    )


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


def _policy(style: str, script: str) -> str:
    """A policy under which only this style and this script work, and only embedded pictures load."""

    def digest(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    rules = (
        "default-src 'none'",
        "img-src data:",
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


def case_view(case: PictureCase) -> CaseView:
    """All layers of a picture case as embedded pictures."""
    layers = [Layer("decoded", "decoded frame", _photo(case.decoded))]
    motion = motion_image(case)
    if motion is not None:
        note = f"arrows point to where the content was in the keyframe, longest {case.largest_motion:.1f} px; hatched: no motion"
        layers.append(Layer("motion", "motion to the keyframe", _photo(motion), note))
    layers.append(Layer("truth", "truth", _flat(label_image(case.truth, case))))
    answers = []
    for number, (method, labels) in enumerate(case.predictions.items()):
        note = f"this frame: mIoU {100 * case.frame_miou(method):.1f} %"
        prediction = Layer(f"p{number}", method, _flat(label_image(labels, case)), note)
        errors = Layer(
            f"e{number}", f"errors of {method}", _flat(error_image(case, method)), "vermilion: wrong"
        )
        answers.append((prediction, errors))
    size = "" if case.coded_bytes is None else f", {case.coded_bytes} bytes"
    height, width = case.truth.shape
    legend = tuple(
        (charts.swatch(colour), name)
        for colour, name in zip(case.palette.tolist(), case.class_names, strict=False)
    )
    facts = f"decoded as {case.frame_type}{size}"
    return CaseView(
        case.name, facts, case.dataset, case.codec, tuple(layers), tuple(answers), width, height, legend
    )


def _photo(image: Any) -> str:
    return _data_url(encode_photo(image, WIDEST_PICTURE))


def _flat(image: Any) -> str:
    return _data_url(encode_flat(image, WIDEST_PICTURE))


def _data_url(webp: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(webp).decode("ascii")
