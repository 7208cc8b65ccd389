"""AR-Seg on a schedule: its ends are AR-Seg and warp-only, and between them every frame is one or the other."""

from __future__ import annotations

import pytest
import torch

from vssbench.conformance import CHECKS, Subject, make_clip, run_clip
from vssbench.cost.steps import count_method_macs
from vssbench.engine.build import untrained_method
from vssbench.errors import ConfigError
from vssbench.method import BuildContext

SIZE = (64, 64)
SLIM = {"network": "swiftnet18", "width": 4}
FUSING = {**SLIM, "window": 1, "mode": "corrected"}
SUBJECT = Subject("scheduled", {**FUSING, "carry_until": 2}, SIZE)


@pytest.mark.parametrize("check", sorted(CHECKS))
def test_method_keeps_its_contract(check):
    CHECKS[check].examine(SUBJECT)


def build(name, **options):
    return untrained_method(name, options, BuildContext(4, SIZE, 6, torch.device("cpu")), where=name)


def trio():
    """Scheduled, AR-Seg and warp-only with the same weights."""
    fused, carried = build("ar-seg", **FUSING), build("warp-only", **SLIM)
    carried.network.load_state_dict(fused.hr.state_dict())

    def scheduled(carry_until):
        method = build("scheduled", **FUSING, carry_until=carry_until)
        for name, part in fused.parts().items():
            method.parts()[name].load_state_dict(part.state_dict())
        return method

    return scheduled, fused, carried


def answers(method, needs):
    clip = make_clip(Subject("scheduled", {}, SIZE, keyframe_interval=6), needs, seed=1)
    return [prediction.labels for prediction in run_clip(method, clip)]


def test_every_frame_is_warp_onlys_up_to_the_distance_and_ar_segs_behind_it():
    scheduled, fused, carried = trio()
    theirs, moved = answers(fused, fused.needs), answers(carried, fused.needs)
    assert any(not torch.equal(one, two) for one, two in zip(theirs[1:], moved[1:], strict=True))
    for carry_until in (0, 2, 5):
        ours = answers(scheduled(carry_until), fused.needs)
        for distance, labels in enumerate(ours):
            expected = moved if distance <= carry_until else theirs
            assert torch.equal(labels, expected[distance]), (carry_until, distance)


def test_macs_of_a_gop_are_those_of_its_carried_and_fused_frames():
    scheduled, fused, carried = trio()
    fuse, carry = count_method_macs(fused), count_method_macs(carried)
    assert carry.non_key < fuse.non_key < fuse.key
    for carry_until in (0, 2, 5):
        cost = count_method_macs(scheduled(carry_until))
        total = fuse.key + carry_until * carry.non_key + (5 - carry_until) * fuse.non_key
        assert cost.gop_mean == pytest.approx(total / 6, rel=1e-12)
        assert [step.executed_share for step in cost.steps] == [1] + [0] * carry_until + [0.25] * (
            5 - carry_until
        )


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"window": 4}, "positive odd number"),
        ({"switches": {"bordr": "zero"}}, "did you mean border"),
        ({"carry_until": -1}, "carry_until"),
        ({"variant": "mv-only"}, "variant"),
    ],
)
def test_options_that_ar_seg_or_the_schedule_refuse(option, told):
    with pytest.raises(ConfigError, match=told):
        build("scheduled", **{**FUSING, **option})
