"""Further metrics and oracle runs on tiny synthetic streets with packaged slim weights."""

from __future__ import annotations

import json

import numpy as np
import pytest

import vssbench
from vssbench.analysis.decomposition import PARTS
from vssbench.dataset import VideoSequence
from vssbench.errors import CapabilityError, ConfigError
from vssbench.experiment.schema import MethodSpec
from vssbench.records import FlowField
from vssbench.runner.observers.oracles import compose, oracle_references, require_exact_flow

NETWORK = {"network": "swiftnet18", "width": 13, "weights": {"network": "quickstart/hr"}}
TINY = {
    "title": "tiny",
    "datasets": [{"name": "synthetic", "sequences": 1, "frames": 18, "size": [64, 96]}],
    "codecs": [
        {"label": "h264", "codec": "h264", "bitrate_kbps": 40, "preset": "ultrafast", "references": 1}
    ],
    "protocol": {"kind": "stream", "keyframe_interval": 6},
    "methods": [
        {"label": "1.0x", "name": "constant", **NETWORK},
        {"label": "warp", "name": "warp-only", **NETWORK},
    ],
    "metrics": ["boundary", "breakdown", "consistency"],
    "oracles": True,
    "measure": {"macs": False},
    "pictures": {"per_codec": 0, "frames": 0},
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run(tmp_path_factory, cache):
    return vssbench.run(TINY, tmp_path_factory.mktemp("runs") / "one", workers=1, cache=cache, device="cpu")


def value(run, method: str, metric: str, d: int = -1) -> float:
    table = run.table
    found = table[
        (table.method == method) & (table.metric == metric) & (table.d == d) & (table["class"] == "")
    ]
    assert len(found) == 1, metric
    return float(found["value"].iloc[0])


def test_every_metric_of_every_group_is_in_the_table(run):
    metrics = set(run.table["metric"])
    for name in (
        "boundary IoU (2 % of the diagonal)",
        "trimap mIoU (r = 1 px)",
        "VC8 (released)",
        "VC8 (corrected)",
        "VC16 (released)",
        "VC16 (corrected)",
        "TC (flow: exact, nearest, occlusions masked)",
        "pooled mIoU, motion px/frame (bitstream) < 0.5",
        "pooled mIoU, motion px/frame (exact) < 0.5",
        "pooled mIoU, true segment, share of frame >= 0.1",
        "loss",
        *(f"loss: {part}" for part in PARTS),
    ):
        assert name in metrics, name


def test_a_band_wider_than_the_picture_is_the_whole_picture(run):
    # 64x96 streets have no pixel farther than 32 from a contour, so the widest trimap is mIoU itself
    for d in range(6):
        assert value(run, "warp", "trimap mIoU (r = 32 px)", d) == pytest.approx(
            value(run, "warp", "miou", d)
        )


def test_bins_hold_every_scored_pixel_once(run):
    for group in run.groups:
        true = group.case_counts.sum(axis=2)
        for name in ("segment", "motion:bitstream", "motion:exact"):
            np.testing.assert_array_equal(group.measured[name].sum(axis=1)[:, 1], true)


def test_the_keyframe_s_motion_is_unknown_to_the_bitstream_and_known_to_the_street(run):
    group = run.groups[0]
    key = group.case_places[:, 1] == 0
    assert group.measured["motion:bitstream"][key][:, :-1].sum() == 0
    later = key & (np.array([group.labelled[i][1] for i in group.case_places[:, 0]]) > 0)
    assert group.measured["motion:exact"][later][:, :-1].sum() > 0


def test_windows_start_when_enough_frames_are_there(run):
    group = run.groups[0]
    frames = np.array([group.labelled[i][1] for i in group.case_places[:, 0]])
    windows = group.measured["vc"]
    assert ((windows[:, 0, 0, 1] >= 0) == (frames >= 7)).all()
    assert ((windows[:, 1, 1, 1] >= 0) == (frames >= 15)).all()


def test_parts_sum_to_the_loss(run):
    assert [one.method for one in run.decompositions] == ["1.0x", "warp"]
    for one in run.decompositions:
        np.testing.assert_allclose(np.sum(list(one.parts.values()), axis=0), one.loss, rtol=0, atol=1e-15)
        assert one.reference == "1.0x"
        np.testing.assert_allclose(one.miou + one.loss, run.decompositions[0].source)


def test_each_oracle_touches_what_it_takes_away(run):
    full, warp = run.decompositions
    for part in ("motion", "disocclusion", "resolution"):
        assert not full.parts[part].any()  # it follows no flow, and is the reference itself
    # at the keyframe there is no motion yet, and warp-only is the full network there
    assert [warp.parts[part][0] for part in PARTS[:3]] == [0, 0, 0]
    counts = {g.method: g.measured for g in run.groups}
    assert not np.array_equal(counts["warp"]["oracle exact"], counts["warp"]["oracle filled"])
    assert "oracle source" in counts["1.0x"]
    assert "oracle source" not in counts["warp"]


def test_a_resumed_unit_has_the_same_windows(run, tmp_path, cache):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    (middle,) = copy.glob("units/*/*/warp/*/*-gop-000002.json")
    stored = json.loads(middle.read_text())
    middle.unlink()
    vssbench.run(TINY, copy, workers=1, cache=cache, device="cpu")
    again = json.loads(middle.read_text())
    for record in (stored, again):
        del record["timings"], record["timings_digest"]
    assert again == stored


def test_records_without_further_metrics_are_what_they_were(run, tmp_path, cache):
    plain = {k: v for k, v in TINY.items() if k not in ("metrics", "oracles")} | {
        "methods": TINY["methods"][1:]
    }
    found = vssbench.run(plain, tmp_path / "plain", workers=1, cache=cache, device="cpu")
    np.testing.assert_array_equal(found.groups[0].case_counts, run.groups[1].case_counts)
    assert found.groups[0].decoded_digests == run.groups[1].decoded_digests
    (unit, *_) = (tmp_path / "plain" / "units").rglob("*.json")
    assert "measured" not in json.loads(unit.read_text())


def test_unknown_metrics_and_protocols_without_neighbours_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown metric 'boundry'; did you mean boundary"):
        vssbench.run({**TINY, "metrics": ["boundry"]}, tmp_path / "a")
    for protocol, key in (
        ({"kind": "clip"}, "kind"),
        ({"distances": [0]}, "distances"),
        ({"labelled_stride": 2}, "labelled_stride"),
    ):
        with pytest.raises(
            ConfigError,
            match=f"protocol.{key}: metrics: consistency needs every frame of a stream, so this must be",
        ):
            vssbench.run({**TINY, "protocol": {**TINY["protocol"], **protocol}}, tmp_path / "b")


def test_oracles_need_a_full_resolution_method(tmp_path):
    methods = [{**TINY["methods"][0], "lr_scale": 0.5}, TINY["methods"][1]]
    with pytest.raises(
        ConfigError, match=r"method 1\.0x has no full-resolution counterpart .* network swiftnet18"
    ):
        vssbench.run({**TINY, "methods": methods}, tmp_path / "run", cache=tmp_path, device="cpu")


def test_the_reference_is_the_dearest_constant_of_the_same_network():
    specs = [
        MethodSpec.model_validate(values)
        for values in (
            {"name": "constant", "label": "a 0.5", "network": "bisenet18", "lr_scale": 0.5},
            {"name": "constant", "label": "a 1", "network": "bisenet18"},
            {"name": "constant", "label": "b 1", "network": "swiftnet18", "lr_scale": 1.0},
            {"name": "ar-seg", "label": "AR", "network": "swiftnet18"},
        )
    ]
    assert oracle_references(specs) == {"a 0.5": "a 1", "a 1": "a 1", "b 1": "b 1", "AR": "b 1"}


class Flowless(VideoSequence):
    """Two frames of a dataset that does not know its motion."""

    name, frame_rate_hz, size = "clip", 25.0, (2, 3)
    labelled = range(2)
    identity = "flowless"

    def __len__(self) -> int:
        return 2

    def image(self, index):
        return np.zeros((2, 3, 3), np.uint8)

    def label(self, index):
        return np.zeros((2, 3), np.uint8)


def test_oracles_are_refused_without_exact_flow():
    with pytest.raises(CapabilityError, match=r"dataset mine \(sequence clip\) has no exact flow"):
        require_exact_flow("mine", Flowless())


def test_hops_compose_where_both_hold():
    def shift(x: float, valid: list[bool]) -> FlowField:
        flow = np.zeros((2, 1, 4), np.float32)
        flow[0] = x
        return FlowField(flow, np.array([valid]))

    found = compose(shift(-1, [True, True, True, False]), shift(-2, [True, False, True, True]))
    # pixel 0 leaves the frame, 1 lands on 0, 2 on 1 (not valid there), 3 is not valid itself
    assert found.valid.tolist() == [[False, True, False, False]]
    assert found.flow[0, 0, 1] == -3
