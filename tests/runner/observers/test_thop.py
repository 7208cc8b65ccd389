from __future__ import annotations

import pytest
import torch

from vssbench.method import BuildContext
from vssbench.registry import methods
from vssbench.runner.observers.thop import thop_gop_mean

SIZE = (720, 960)


def build(name: str, **options):
    method_class = methods.load(name)
    context = BuildContext(12, SIZE, 12, torch.device("meta"))
    with torch.device("meta"):
        return method_class(method_class.Options(**options), context)


@pytest.mark.parametrize(
    ("name", "options", "published"),
    [
        ("constant", {"network": "pspnet18-camvid"}, 309.02),
        ("ar-seg", {"network": "pspnet18-camvid", "lr_scale": 0.5}, 101.98),
        ("ar-seg", {"network": "bisenet18", "lr_scale": 0.7}, 31.89),
    ],
)
def test_the_papers_counter_gives_the_printed_figures_of_table_1(name, options, published) -> None:
    assert thop_gop_mean(name, build(name, **options), SIZE, 12) == pytest.approx(published, abs=0.01)


def test_what_the_paper_did_not_count_has_no_figure() -> None:
    assert thop_gop_mean("constant", build("constant", network="bisenet18", width=12), SIZE, 12) is None
    assert thop_gop_mean("warp-only", build("warp-only", network="bisenet18"), SIZE, 12) is None
