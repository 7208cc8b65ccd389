"""How far the published points carry towards the BD values that the paper gives with its Figure 4.

Figure 4 integrates over LR resolutions 0.3x to 1.0x of both curves; the tables print only some of those points,
so most of this file says what cannot be checked. `python tests/metrics/test_figure4.py PATH_TO_SHARED` prints it.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from vssbench.metrics import Curve, CurveError, bd_flops, bd_miou

pytestmark = pytest.mark.needs_shared

HALF_RESOLUTION = {
    # GFLOPs as the paper's counter gives them for the plain network at half size, mIoU in percent. Only the
    # first pair is printed (Table 3). Of the others the mIoU is the mean of a released result file and the cost
    # was recomputed with the paper's counter (spec/ar-seg.md, sections 6 and 7.2).
    ("camvid", "pspnet18"): (77.27, 66.51),
    ("camvid", "bisenet18"): (14.9694, 66.55),
    ("cityscapes", "pspnet18"): (140.2444, 66.80),
    ("cityscapes", "bisenet18"): (44.7389, 66.89),
}
AR03_PSPNET18_GFLOPS = 56.706
"""CamVid AR0.3-PSP18, exact multiply-accumulates (spec/ar-seg.md, section 7.3); its mIoU is not published."""


def curves(shared: Path, dataset: str, backbone: str) -> tuple[Curve, Curve]:
    """(constant resolution, AR-Seg) from Table 1 and the half-resolution point."""
    rows = csv.DictReader((shared / "paper/tables/table1_image_based.csv").open(encoding="utf-8"))
    points: dict[str, list[tuple[float, float]]] = {"constant": [], "ar-seg": []}
    for row in rows:
        if (row["dataset"], row["backbone"]) == (dataset, backbone):
            points[row["method"]].append((float(row["gflops"]), float(row["miou_pct"])))
    points["constant"].append(HALF_RESOLUTION[dataset, backbone])
    constant, ar_seg = (
        Curve.from_points(f"{backbone} {name}", points[name], "MACs") for name in ("constant", "ar-seg")
    )
    return constant, ar_seg


def published(shared: Path, backbone: str) -> tuple[float, float]:
    """(BD-mIoU in points, BD-FLOPs as a share) of Figure 4."""
    for row in csv.DictReader((shared / "paper/tables/figure4_bd.csv").open(encoding="utf-8")):
        if row["backbone"] == backbone:
            return float(row["bd_miou_points"]), float(row["bd_flops_pct"]) / 100
    raise LookupError(backbone)


def needed_miou_at_03(shared: Path) -> float:
    """The mIoU of AR0.3-PSP18 that would make BD-FLOPs on CamVid equal the published one."""
    constant, ar_seg = curves(shared, "camvid", "pspnet18")
    known = list(zip(ar_seg.cost, ar_seg.quality, strict=True))
    target = published(shared, "pspnet18")[1]
    candidates = np.arange(67.0, 69.4, 0.01)
    values = [bd_flops(constant, [(AR03_PSPNET18_GFLOPS, q), *known]).value for q in candidates]
    return float(candidates[np.argmin(np.abs(np.array(values) - target))])


def test_table_1_alone_has_no_constant_resolution_curve(shared: Path) -> None:
    with pytest.raises(CurveError, match=r"1 point\(s\)"):
        Curve.from_points("pspnet18 constant", [(309.02, 69.43)])


def test_bd_miou_on_camvid_agrees_for_bisenet_and_not_for_pspnet(shared: Path) -> None:
    bisenet = bd_miou(*curves(shared, "camvid", "bisenet18"))
    assert bisenet.value == pytest.approx(published(shared, "bisenet18")[0], abs=0.05)
    pspnet = bd_miou(*curves(shared, "camvid", "pspnet18"))
    assert pspnet.value == pytest.approx(3.19, abs=0.01)
    assert published(shared, "pspnet18")[0] - pspnet.value == pytest.approx(0.48, abs=0.01)
    for result in (bisenet, pspnet):
        assert result.low_overlap
        assert result.points == (2, 3)


def test_bd_flops_of_pspnet_cannot_be_computed_from_published_points(shared: Path) -> None:
    with pytest.raises(CurveError, match=r"\[66\.51, 69\.43\].*\[70\.48, 71\.23\] share no quality range"):
        bd_flops(*curves(shared, "camvid", "pspnet18"))
    assert needed_miou_at_03(shared) == pytest.approx(68.65, abs=0.1)


def test_bd_flops_of_bisenet_rests_on_a_fifth_of_the_range(shared: Path) -> None:
    result = bd_flops(*curves(shared, "camvid", "bisenet18"))
    assert result.value == pytest.approx(-0.589, abs=0.001)
    assert result.other_interpolator_value == pytest.approx(-0.620, abs=0.001)
    assert result.overlap_share == pytest.approx(0.228, abs=0.001)
    assert published(shared, "bisenet18")[1] == -0.5106


def test_cityscapes_points_do_not_give_the_published_values_either(shared: Path) -> None:
    for backbone, expected in (("pspnet18", 1.89), ("bisenet18", 2.65)):
        pair = curves(shared, "cityscapes", backbone)
        assert bd_miou(*pair).value == pytest.approx(expected, abs=0.01)
        with pytest.raises(CurveError, match="share no quality range"):
            bd_flops(*pair)


def main(shared: Path) -> None:
    for dataset, backbone in HALF_RESOLUTION:
        pair = curves(shared, dataset, backbone)
        print(
            f"{dataset} {backbone}: published BD-mIoU {published(shared, backbone)[0]}, BD-FLOPs {published(shared, backbone)[1]}"
        )
        for metric in (bd_miou, bd_flops):
            try:
                result = metric(*pair)
            except CurveError as error:
                print("  ", error)
            else:
                low, high = result.integration_interval
                print(
                    f"   {result.metric} {result.value:.4f} over [{low:g}, {high:g}], "
                    f"{result.other_interpolator} {result.other_interpolator_value:.4f}; {'; '.join(result.flags)}"
                )
    print(
        f"AR0.3-PSP18 on CamVid would need {needed_miou_at_03(shared):.2f} % mIoU for the published BD-FLOPs"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
