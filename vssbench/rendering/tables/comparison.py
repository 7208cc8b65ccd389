"""Two runs side by side: as a table for the terminal and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from vssbench.rendering.tables import markdown
from vssbench.rendering.tables.columns import MISSING
from vssbench.rendering.tables.summary import VERDICTS, printable
from vssbench.analysis.differences import RunDifference

HEADS = (
    "dataset",
    "codec",
    "method",
    "mIoU change",
    "interval",
    "adjusted p",
    "verdict",
    "GMACs change",
    "same pixels",
)


def comparison_cells(found: Sequence[RunDifference]) -> list[list[str]]:
    """One line of cells per method, in percentage points and percent, not escaped."""
    rows = []
    for item in found:
        miou = item.difference.miou
        known = math.isfinite(miou.low)
        p_value = item.difference.adjusted_p_value
        rows.append(
            [
                printable(item.dataset),
                printable(item.codec),
                printable(item.method),
                f"{100 * miou.estimate:+.2f}",
                f"[{100 * miou.low:+.2f}, {100 * miou.high:+.2f}]" if known else MISSING,
                "< 0.001" if p_value < 0.001 else f"{p_value:.3f}",
                VERDICTS[item.difference.mark],
                _relative(*item.gop_mean_gmacs),
                "yes" if item.same_pixels else "no",
            ]
        )
    return rows


def _relative(before: float, after: float) -> str:
    return f"{100 * (after / before - 1):+.1f} %" if before > 0 and math.isfinite(after) else MISSING


def comparison_markdown(first: str, second: str, found: Sequence[RunDifference]) -> str:
    """A headed table: second run minus first run."""
    cells = [[markdown.escape(cell) for cell in row] for row in comparison_cells(found)]
    heading = f"## {markdown.escape(second)} against {markdown.escape(first)}"
    return f"{heading}\n\n{markdown.table(HEADS, cells, numbers_from=3)}\n"


def comparison_of_runs(first: str, second: str, found: Sequence[RunDifference]) -> Table:
    """The same as a rich table."""
    title = Text(printable(f"{second} against {first}: change of mIoU in percentage points"), style="bold")
    view = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, show_edge=False)
    for number, head in enumerate(HEADS):
        view.add_column(head, justify="right" if number >= 3 else "left", overflow="fold")
    for row in comparison_cells(found):
        view.add_row(*(Text(cell) for cell in row))
    return view
