"""Frames padded to what a method's networks need: sides, scores and costs, for every method by one rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import vssbench
from vssbench.conformance.clips import Subject, make_clip
from vssbench.cost.steps import count_method_macs
from vssbench.engine.build import untrained_method
from vssbench.method import BuildContext, Method
from vssbench.networks.padding import Demand, pad_frame, padded_side, unequal_sides
from vssbench.registry import methods

CPU = torch.device("cpu")
SMALL: dict[str, dict[str, Any]] = {
    "accel": {"reference_network": "deeplab18", "flow_network": "flownet-tiny"},
    "blockcopy": {"block": 32, "policy_width": 8},
    "dff": {"flow_network": "flownet-tiny"},
}


def build(name: str, size: tuple[int, int], **options: Any) -> Method:
    context = BuildContext(4, size, 3, CPU)
    return untrained_method(name, {"width": 8, **SMALL.get(name, {}), **options}, context, where=name)


@pytest.mark.parametrize(
    ("side", "demands", "wanted"),
    [
        (360, [(32, 1.0)], 384),
        (480, [(32, 1.0)], 480),
        (360, [(32, 0.5)], 384),  # 192
        (480, [(32, 0.5)], 512),  # 256
        (360, [(32, 1.0), (32, 0.5)], 384),
        (480, [(32, 1.0), (32, 0.25)], 512),  # 128
        (360, [(32, 0.7)], 366),  # 256.2 -> 256
        (360, [(32, 1.0), (32, 0.7)], 400),  # 280: both are multiples of 8
        (360, [(8, 1.0)], 360),
        (361, [(1, 1.0)], 361),
    ],
)
def test_sides_are_the_documented_ones(side, demands, wanted):
    assert padded_side(side, [Demand(*demand) for demand in demands]) == wanted


@pytest.mark.parametrize("name", ["constant", "ar-seg"])
@pytest.mark.parametrize(
    ("options", "wanted"),
    [({"mode": "corrected"}, (32, 64)), ({"mode": "corrected", "padding": "none"}, (30, 45)), ({}, (30, 45))],
)
def test_networks_see_padded_sides_unless_told_otherwise(name, options, wanted):
    method = build(name, (60, 90), lr_scale=0.5, window=3, **options) if name == "ar-seg" else None
    method = method or build(name, (60, 90), lr_scale=0.5, **options)
    seen = []
    network = list(method.parts().values())[-1]
    inner = network.network if hasattr(network, "network") else network
    inner.context.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[-2:])))
    _run(method, (60, 90))
    assert set(seen) == {wanted}


def _run(method: Method, size: tuple[int, int]) -> list[torch.Tensor]:
    frames = make_clip(Subject(method.label, {}, size=size, keyframe_interval=3), method.needs, seed=1)
    state = method.begin(1)
    answers = [one for frame in frames for one in method.step(state, frame)] + method.flush(state)
    return [one.labels for one in answers if one.index >= 0]


@pytest.mark.parametrize("name", methods.names())
def test_every_method_answers_at_the_sides_of_the_frames_that_came(name):
    options = {"window": 3, "mode": "corrected"} if name == "ar-seg" else {}
    labels = _run(build(name, (70, 101), **options), (70, 101))
    assert len(labels) == 3
    assert {tuple(one.shape) for one in labels} == {(1, 70, 101)}


@pytest.mark.parametrize("name", ["constant", "warp-only", "taplab"])
def test_what_is_added_is_the_edge_going_on_and_is_cut_off_again(name):
    method, whole = build(name, (60, 90)), build(name, (64, 96), padding="none")
    if name == "constant":
        method, whole = build(name, (60, 90), mode="corrected"), build(name, (64, 96), mode="corrected")
    frames = make_clip(Subject(name, {}, size=(60, 90), keyframe_interval=3), method.needs, seed=2)
    states = method.begin(1), whole.begin(1)
    for frame in frames:
        grown = pad_frame(frame, (64, 96))
        if frame.image is not None:
            assert torch.equal(grown.image[..., :60, :90], frame.image)
            assert torch.equal(grown.image[..., 60:, :90], frame.image[..., 59:60, :].expand(-1, -1, 4, -1))
        (mine,), (theirs,) = method.step(states[0], frame), whole.step(states[1], grown)
        assert torch.equal(mine.labels, theirs.labels[:, :60, :90])


def test_padding_is_counted():
    padded = count_method_macs(build("constant", (60, 90), mode="corrected"))
    whole = count_method_macs(build("constant", (64, 96), mode="corrected"))
    bare = count_method_macs(build("constant", (60, 90), mode="corrected", padding="none"))
    assert padded.size == whole.size == (64, 96)
    assert padded.gop_mean == whole.gop_mean > bare.gop_mean


def test_blocks_of_types_grow_with_the_frame():
    subject = Subject("taplab", {}, size=(60, 90), keyframe_interval=3)
    needs = replace(build("constant", (64, 96)).needs, block_types=True, residual=True, every_frame=True)
    frame = make_clip(subject, needs, seed=0)[1]
    grown = pad_frame(frame, (64, 96))
    assert tuple(grown.block_types.shape) == (1, 16, 24)
    assert tuple(grown.residual.shape) == (1, 3, 64, 96)
    assert not grown.residual[..., 60:, :].any()


def test_a_mode_that_keeps_its_sides_beside_padded_methods_is_told():
    paper, corrected, warp = (
        build("constant", (60, 90)),
        build("constant", (60, 90), mode="corrected"),
        build("warp-only", (60, 90)),
    )
    (told,) = unequal_sides({"a": paper, "b": corrected, "w": warp}, (60, 90))
    assert "60x90 are padded for b, w, and not for a" in told
    assert unequal_sides({"b": corrected, "w": warp}, (60, 90)) == []
    assert unequal_sides({"a": paper, "w": build("warp-only", (60, 90), padding="none")}, (60, 90)) == []
    assert (
        unequal_sides({"a": build("constant", (64, 96)), "w": build("warp-only", (64, 96))}, (64, 96)) == []
    )


def test_a_run_of_both_kinds_says_so(tmp_path):
    small = {"network": "bisenet18", "width": 4}
    experiment = {
        "datasets": [{"name": "synthetic", "sequences": 1, "frames": 4, "size": [48, 80]}],
        "codecs": [
            {"label": "h264", "codec": "h264", "bitrate_kbps": 60, "preset": "ultrafast", "references": 1}
        ],
        "protocol": {"kind": "stream", "keyframe_interval": 4},
        "pictures": {"per_codec": 0},
        "methods": [{"name": "constant", **small}, {"name": "warp-only", **small}],
    }
    run = vssbench.run(experiment, tmp_path / "run", workers=1, cache=tmp_path / "cache", device="cpu")
    assert any("no equal terms" in remark for remark in run.roster.remarks)
