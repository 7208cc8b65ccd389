"""Further metrics of a run as tables: contours, consistency over time, and mIoU by segment size and by motion."""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup

from vssbench.rendering.tables import markdown
from vssbench.rendering.tables.columns import MISSING
from vssbench.rendering.tables.summary import printable
from vssbench.analysis.run import Run

POOLED = "pooled mIoU, "


@dataclass(frozen=True, slots=True)
class FurtherTable:
    """One table: a row per dataset, codec and method."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[tuple[str, str, str], tuple[float, ...]], ...]
    """(dataset, codec, method) and a value per head, 0..1, NaN where it does not exist."""


def further_tables(run: Run) -> list[FurtherTable]:
    """All tables of a run; empty where it was made without further metrics."""
    values = {
        (g.dataset, g.codec, g.method): {
            row.metric: row.value for row in g.further if (row.distance, row.class_index) == (-1, -1)
        }
        for g in run.groups
        if g.further
    }
    metrics = list(dict.fromkeys(name for found in values.values() for name in found))
    plain = [
        name for name in metrics if not name.startswith((POOLED, "pooled mean recall", "share of pixels"))
    ]
    tables = [("Contours and consistency over time", plain, plain)]
    binned = [name for name in metrics if name.startswith(POOLED)]
    for quantity in dict.fromkeys(_quantity(name) for name in binned):
        mine = [name for name in binned if _quantity(name) == quantity]
        heads = [name.removeprefix(POOLED).removeprefix(quantity).strip() for name in mine]
        tables.append((f"mIoU by {quantity}", mine, heads))
    return [
        FurtherTable(
            title,
            tuple(heads),
            tuple(
                (place, tuple(found.get(name, math.nan) for name in names)) for place, found in values.items()
            ),
        )
        for title, names, heads in tables
        if names
    ]


def _quantity(metric: str) -> str:
    """'motion px/frame (exact)' of 'pooled mIoU, motion px/frame (exact) 0.5 .. 1'."""
    text = metric.removeprefix(POOLED)
    return text[: text.index(")") + 1] if ")" in text else "true segment, share of frame"


def _text(value: float) -> str:
    return f"{100 * value:.2f}" if math.isfinite(value) else MISSING


def further_section(run: Run) -> Markup:
    """A section of the page; '' without further metrics."""
    tables = further_tables(run)
    if not tables:
        return Markup("")
    parts = [Markup('<section id="further">\n<h2>Further metrics</h2>\n<p class="note">In percent; names and variants as in '
                    "docs/metrics.md, values by distance and class in table.csv.</p>\n")]  # fmt: skip
    for one in tables:
        heads = Markup("").join(
            Markup('<th scope="col">{}</th>').format(text)
            for text in ("dataset", "codec", "method", *one.heads)
        )
        body = Markup("").join(
            Markup('<tr><td>{}</td><td>{}</td><th scope="row">{}</th>{}</tr>\n').format(
                *(printable(text) for text in place),
                Markup("").join(Markup('<td class="number">{}</td>').format(_text(v)) for v in values),
            )
            for place, values in one.rows
        )
        parts.append(
            Markup(
                '<h3>{0}</h3>\n<div class="wide" tabindex="0" role="region" aria-label="{0}"><table><thead><tr>{1}</tr>'
                "</thead>\n<tbody>\n{2}</tbody></table></div>\n"
            ).format(one.title, heads, body)
        )
    return Markup("").join([*parts, Markup("</section>\n")])


def further_markdown(run: Run) -> str:
    """The same tables as Markdown; '' without further metrics."""
    texts = []
    for one in further_tables(run):
        heads = [markdown.escape(text) for text in ("dataset", "codec", "method", *one.heads)]
        cells = [
            [*(markdown.escape(text) for text in place), *map(_text, values)] for place, values in one.rows
        ]
        texts.append(f"## {one.title}\n\n{markdown.table(heads, cells, numbers_from=3)}\n")
    return "\n".join(texts)
