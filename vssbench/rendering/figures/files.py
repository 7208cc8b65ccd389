"""The figure files of a report. Drawing takes as long as everything else, so a helper process may do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vssbench.rendering.figures.budget import BudgetPanel
from vssbench.rendering.figures.curves import Panel
from vssbench.rendering.images.colours import PictureCase
from vssbench.analysis.decomposition import Decomposition

Drawn = list[tuple[str, list[Path]]]
"""(caption, files) of each figure; the first file is the SVG."""


def draw_curves(panels: Sequence[Panel], budgets: Sequence[BudgetPanel], folder: Path) -> Drawn:
    """Write mIoU over distance, over cost and along budget knobs into an existing folder. Raises StorageError."""
    # here, so that a process that lets others draw need not load matplotlib
    from vssbench.rendering.figures import mpl as figures

    made = [("mIoU by keyframe distance", "miou_d", figures.miou_d_figure(panels))]
    cost = figures.cost_figure(panels)
    if cost is not None:
        made.append(("Accuracy against cost", "cost", cost))
    if budgets:
        from vssbench.rendering.figures.budget_mpl import budget_figure

        made.append(
            ("Accuracy against cost along each method's budget knob", "budget", budget_figure(budgets))
        )
    return [(caption, figures.save(figure, folder / stem)) for caption, stem, figure in made]


def draw_parts(
    panels: Sequence[Panel],
    class_names: Mapping[str, Sequence[str]],
    losses: Sequence[Decomposition],
    folder: Path,
) -> Drawn:
    """Write IoU by class, and the loss by cause where it was measured, into an existing folder. Raises StorageError."""
    from vssbench.rendering.figures.classes_mpl import class_iou_figure
    from vssbench.rendering.figures.decomposition_mpl import decomposition_figure
    from vssbench.rendering.figures.mpl import save

    made = [("IoU by class", "class_iou", class_iou_figure(panels, class_names))]
    if losses:
        made.append(("Where the loss comes from", "loss", decomposition_figure(losses)))
    return [(caption, save(figure, folder / stem)) for caption, stem, figure in made]


def draw_strips(strips: Sequence[tuple[str, PictureCase]], folder: Path) -> Drawn:
    """Write a strip of pictures for each (description, frame) into an existing folder. Raises StorageError."""
    from vssbench.rendering.figures import mpl as figures

    return [
        (f"Frame: {text}", figures.save(figures.strip_figure(case), folder / f"frame-{number}"))
        for number, (text, case) in enumerate(strips)
    ]


def load_modules() -> None:
    """Import what drawing needs, for a process that has nothing else to do yet."""
    import seaborn  # noqa: F401

    from vssbench.rendering.figures import classes_mpl as class_figure  # noqa: F401
    from vssbench.rendering.figures import decomposition_mpl as decomposition_figure  # noqa: F401
    from vssbench.rendering.figures import mpl as figures  # noqa: F401
