"""Which methods make a curve, what it is compared with, and the rows that reach the long table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vssbench.analysis.families import family_comparisons, rate_comparisons
from vssbench.analysis.run import Run
from vssbench.records import ClassTable
from vssbench.results.schema import CaseRecord, UnitKey, UnitRecord

FRAMES = 8
CLASSES = ClassTable(("a", "b"), ((0, 0, 0), (9, 9, 9)), categories=("x", "x"))
N1, N2 = "bisenet18", "swiftnet18"


def counts_of(quality: float) -> np.ndarray:
    """Two classes of 1000 pixels of which this share is right: IoU = q / (2 - q) in both."""
    right = round(1000 * quality)
    return np.array([[[right, 1000 - right], [1000 - right, right]]], dtype=np.int64)


@pytest.fixture(scope="session")
def make_run(fabricated):
    """Callable: methods: title -> (options, cost in GMACs and ms, quality); codecs: title -> kb/s, quality falls with rate."""

    def make(path: Path, methods: dict[str, tuple[dict, float, float]], codecs: dict[str, float]) -> Run:
        experiment = {
            "datasets": [{"name": "synthetic", "label": "d"}],
            "codecs": [
                {"label": t, "codec": "hevc", "preset": "fast", "bitrate_kbps": k} for t, k in codecs.items()
            ],
            "methods": [{"label": title, **options} for title, (options, _, _) in methods.items()],
            "protocol": {"keyframe_interval": 1},
        }
        units = [
            unit(title, codec, kbps, frame, cost, quality)
            for title, (_, cost, quality) in methods.items()
            for codec, kbps in codecs.items()
            for frame in range(FRAMES)
        ]
        gmacs = {title: cost for title, (_, cost, _) in methods.items()}
        return fabricated(path, experiment, units, gmacs=gmacs, classes=CLASSES)

    return make


def unit(title: str, codec: str, kbps: float, frame: int, cost: float, quality: float) -> UnitRecord:
    share = quality + 0.05 * np.log2(kbps / 100)
    return UnitRecord(
        UnitKey("d", codec, title, f"street-{frame % 4}", f"phase-00-gop-{frame:06d}"),
        (CaseRecord(frame, 0, "I", frame, 1, 100, "key"),),
        counts_of(share),
        {"key": 1},
        1.0,
        kbps,
        f"{frame}",
        {"step_key": cost / 1000, "steps_key": 1},
    )


def family(name: str, network: str, factor: float) -> dict[str, tuple[dict, float, float]]:
    """Four operating points; quality rises with the cost relative to `factor`."""
    return {
        f"{name} {network} {alpha}": (
            {"name": name, "network": network, "lr_scale": alpha},
            factor * 8 * alpha,
            0.6 + 0.1 * float(np.log2(8 * alpha)),
        )
        for alpha in (0.25, 0.5, 0.75, 1.0)
    }


@pytest.fixture(scope="module")
def two_networks(make_run, tmp_path_factory) -> Run:
    methods = {
        **family("constant", N1, 1.0),
        **family("ar-seg", N1, 0.5),
        **family("constant", N2, 10.0),
        **family("ar-seg", N2, 2.5),
    }
    return make_run(tmp_path_factory.mktemp("runs") / "two", methods, {"hevc": 100.0})


def test_a_family_is_compared_with_the_constant_curve_of_its_own_network(two_networks):
    found = {one.family: one for one in two_networks.families}
    assert list(found) == [f"ar-seg (network {N1})", f"ar-seg (network {N2})"]
    for (network, change), one in zip(((N1, -0.5), (N2, -0.75)), found.values(), strict=True):
        assert one.anchor_points == tuple(f"constant {network} {a}" for a in (0.25, 0.5, 0.75, 1.0))
        assert one.flops is not None
        assert one.flops.value == pytest.approx(change)
        assert one.flops.points == (4, 4)
        assert one.flops.flags == ()
        assert one.milliseconds is not None
        assert one.milliseconds.value == pytest.approx(change)


def test_bd_values_are_rows_of_the_table(two_networks):
    table = two_networks.table
    rows = table[table.metric == "BD-FLOPs against constant"].set_index("method")["value"]
    assert rows[f"ar-seg (network {N1})"] == pytest.approx(-0.5)
    assert set(table[table.metric == "BD-ms against constant"].method) == set(rows.index)


def test_options_other_than_lr_scale_make_another_family(make_run, tmp_path):
    methods = {**family("constant", N1, 1.0), **family("ar-seg", N1, 0.5)}
    odd = dict(methods[f"ar-seg {N1} 0.5"][0], variant="conv")
    run = make_run(tmp_path / "run", {**methods, "odd": (odd, 3.0, 0.1)}, {"hevc": 100.0})
    (one,) = family_comparisons(run)
    assert "odd" not in one.points


def test_methods_of_one_codec_at_several_bitrates_are_curves_over_bitrate(make_run, tmp_path):
    methods = {
        "1.0x": ({"name": "constant"}, 2.0, 0.6),
        "better": ({"name": "ar-seg"}, 1.0, 0.65),  # 0.05 more is what twice the bitrate brings
    }
    codecs = {"50k": 50.0, "100k": 100.0, "200k": 200.0, "400k": 400.0}
    (one,) = rate_comparisons(make_run(tmp_path / "run", methods, codecs))
    assert (one.codec, one.method, one.reference, one.points) == (
        "hevc fast",
        "better",
        "1.0x",
        tuple(codecs),
    )
    assert one.bitrate is not None
    # the two curves end at different places, where the interpolant's slope is another
    assert one.bitrate.value == pytest.approx(-0.5, abs=1e-3)
    assert one.miou is not None
    assert one.miou.value > 0


def test_one_bitrate_per_codec_is_no_curve(two_networks):
    assert rate_comparisons(two_networks) == []


def test_relatives_of_miou_are_rows_of_the_table(two_networks):
    table = two_networks.table
    here = table[(table.method == f"constant {N1} 1.0") & (table.d == -1)].set_index(["metric", "class"])[
        "value"
    ]
    quality = 0.9  # of 1000 pixels each, 900 are right: IoU = 900 / 1100
    assert here["miou", ""] == pytest.approx(900 / 1100)
    assert here["pixel_accuracy", ""] == pytest.approx(quality)
    assert here["frequency_weighted_iou", ""] == pytest.approx(900 / 1100)
    assert here["category_iou", "x"] == 1.0  # both classes are of one category


def test_methods_that_differ_in_their_own_knob_are_a_curve(make_run, tmp_path):
    flow = {
        f"flow n = {n}": (
            {"name": "dff", "network": N1, "key_interval": n},
            4.0 * 8 / n,
            0.6 + 0.1 * float(np.log2(8 * 8 / n)),
        )
        for n in (8, 16, 32)
    }
    (found,) = make_run(tmp_path / "run", {**family("constant", N1, 1.0), **flow}, {"hevc": 100.0}).families
    assert (found.family, found.points) == ("dff", ("flow n = 32", "flow n = 16", "flow n = 8"))
    assert found.flops is not None
    assert found.flops.value == pytest.approx(-0.5, abs=1e-3)  # counts are whole pixels
