"""The contract on our methods without a test file of their own, and the clips that the suite makes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vssbench.conformance import CHECKS, Subject, make_clip
from vssbench.method import Needs
from vssbench.registry import methods

SUBJECTS = {
    "constant": Subject("constant", {"width": 8, "lr_scale": 0.5}),
    "constant PSPNet": Subject("constant", {"width": 8, "network": "pspnet18-camvid"}),
    "warp-only": Subject("warp-only", {"width": 8}),
    "warp-only recursive labels": Subject(
        "warp-only", {"width": 8, "propagation": "recursive", "what": "labels"}
    ),
    "ar-seg": Subject("ar-seg", {"width": 8}),
    "ar-seg corrected": Subject("ar-seg", {"width": 8, "mode": "corrected"}),
    "ar-seg before N_task": Subject(
        "ar-seg", {"width": 8, "network": "pspnet18-cityscapes", "variant": "before-task"}
    ),
}


@pytest.mark.parametrize("check", sorted(CHECKS))
@pytest.mark.parametrize("name", sorted(SUBJECTS))
def test_method_keeps_its_contract(name, check):
    CHECKS[check].examine(SUBJECTS[name])


def test_clips_carry_what_the_needs_ask_for_and_no_more():
    subject = replace(SUBJECTS["constant"], keyframe_interval=3)
    frames = make_clip(subject, Needs(pixels=False, flow_key=True, history=2), seed=0)
    assert [frame.index for frame in frames] == [-2, -1, 0, 1, 2]
    assert [frame.image is not None for frame in frames] == [False, False, True, False, False]
    assert [frame.keyframe_distance for frame in frames] == [1, 2, 0, 1, 2]
    assert all(frame.flow_previous is None and frame.residual is None for frame in frames)
    assert frames[2].flow_key.abs().max() == 0


@pytest.mark.parametrize("name", sorted(methods.names()))
def test_a_budget_knob_is_an_option(name):
    method_class = methods.load(name)
    assert set(method_class.budget_knob) <= set(method_class.Options.model_fields)
