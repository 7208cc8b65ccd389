"""The figure files of a report. Drawing takes as long as everything else, so helper processes may do it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from vssbench.rendering.figures.charts import Chart
from vssbench.rendering.images.tiles import TileSheet
from vssbench.results.helper_processes import Shared


@dataclass(frozen=True, slots=True)
class FigureFile:
    """One figure that is written as SVG and PDF."""

    stem: str
    """File name without suffix."""
    caption: str
    content: Sequence[Chart] | TileSheet


def draw(figures: Sequence[FigureFile], folder: Path) -> list[Path]:
    """Write the files into an existing folder, two for each figure, the SVG first. Raises StorageError."""
    # here, so that a process that lets others draw need not load matplotlib
    from vssbench.rendering.figures import mpl

    return [path for figure in figures for path in mpl.save(mpl.drawn(figure.content), folder / figure.stem)]


def shared(helper: Executor | None, figures: Sequence[FigureFile], folder: Path) -> list[Shared[list[Path]]]:
    """The same by whoever comes to it first, a call for each figure."""
    return [Shared(helper, draw, [figure], folder) for figure in figures]


def load_modules() -> None:
    """Import what drawing needs, for a process that has nothing else to do yet."""
    import seaborn  # noqa: F401

    from vssbench.rendering.figures import mpl  # noqa: F401
