from __future__ import annotations

import math

from vssbench.rendering.curves import Curve, Panel
from vssbench.rendering.figures.classes_mpl import class_iou_figure


def _curve(method: str, class_iou: tuple[float, ...]) -> Curve:
    nothing = (math.nan,)
    return Curve(
        "d", "c", method, 0, (0,), (0.5,), nothing, nothing, 0.5, 0.4, 0.6, 1.0, 300.0, "hevc", class_iou
    )


def test_every_method_and_class_has_its_cell_and_absent_classes_are_blank():
    panel = Panel("d", "c", 300.0, (_curve("one", (0.25, 0.5)), _curve("two", (1.0, math.nan))))
    figure = class_iou_figure([panel, panel], {"d": ["road", "sky"]})
    assert len(figure.axes) == 2
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["25", "50", "100"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["road", "sky"]
