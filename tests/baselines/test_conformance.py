"""The contract on all methods, and the suite's own ability to catch offenders."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from vssbench.conformance import CHECKS, ConformanceError, Subject, make_clip, run_checks
from vssbench.method import Frame, Method, MethodOptions, Needs, Prediction, Stage
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


class Options(MethodOptions):
    fault: str = ""


class Offender(Method):
    """Labels are the first colour channel modulo the classes; `fault` breaks one clause of the contract."""

    Options = Options

    def __init__(self, options, context):
        super().__init__(options, context)
        self.network = nn.Conv2d(3, context.classes, 1)
        self.spare = nn.Conv2d(3, 3, 1)
        self.kept = None

    @property
    def needs(self):
        return Needs(every_frame=False, lookahead=0)

    def parts(self):
        return {"network": self.network, "spare": self.spare}

    def start(self, batch):
        return []

    def step(self, state, frame):
        fault = self.options.fault
        image = frame.image
        labels = (image[:, 0] % self.context.classes).to(torch.uint8)
        if fault == "mixes clips":
            labels, self.kept = (labels if self.kept is None else self.kept), labels
        elif fault == "remembers keyframes" or fault == "needs every frame":
            state.append(labels)
            labels = state[0] if fault == "remembers keyframes" else state[max(0, len(state) - 2)]
        elif fault == "writes input":
            image += 1
        elif fault == "random":
            labels = torch.randint_like(labels, 0, self.context.classes + 0)
            labels[0, 0, 0] = int(torch.empty(1).uniform_(0, self.context.classes).item())
            labels = torch.randint(
                0,
                self.context.classes,
                labels.shape,
                generator=torch.Generator().manual_seed(torch.seed() % 2**31),
            ).byte()
        elif fault == "wrong type":
            labels = labels.long()
        elif fault == "out of range":
            labels = labels + self.context.classes
        out = [Prediction(frame.index, labels, "key")]
        if fault == "late":
            state.append(out[0])
            return [state[-2]] if len(state) > 1 else []
        return out if fault != "drops a frame" or frame.index != 2 else []

    def flush(self, state):
        return [state[-1]] if self.options.fault == "late" else []

    def stages(self):
        def loss(batch):
            image = self.spare(batch.image) if self.options.fault == "trains frozen" else batch.image
            return {"segmentation": self.network(image).square().mean()}

        return [Stage("image", "image", ("network",), loss)]


@pytest.fixture
def offender(monkeypatch):
    monkeypatch.setattr(methods, "load", lambda name: Offender)
    return lambda fault: Subject("offender", {"fault": fault}, (16, 24))


def test_an_honest_method_passes_every_check(offender):
    assert [finding.problem for finding in run_checks(offender(""))] == [""] * len(CHECKS)


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("mixes clips", "clips do not mix"),
        ("remembers keyframes", "keyframes alone"),
        ("needs every frame", "skipping frames"),
        ("writes input", "inputs untouched"),
        ("random", "deterministic"),
        ("wrong type", "one output per frame"),
        ("out of range", "one output per frame"),
        ("drops a frame", "one output per frame"),
        ("late", "declared latency"),
        ("trains frozen", "gradients"),
    ],
)
def test_each_fault_is_caught_by_its_check(offender, fault, check):
    failed = {finding.check for finding in run_checks(offender(fault)) if finding.problem}
    assert check in failed


def test_reading_a_future_frame_is_caught(offender, monkeypatch):
    subject = offender("")
    frames: list[Frame] = []

    def peeking_step(self, state, frame):
        later = next((f for f in frames if f.index == frame.index + 1), frame)
        return [Prediction(frame.index, (later.image[:, 0] % 4).to(torch.uint8), "key")]

    def remember(*args, **kwargs):
        made = make_clip(*args, **kwargs)
        frames[:] = made
        return made

    monkeypatch.setattr(Offender, "step", peeking_step)
    monkeypatch.setattr("vssbench.conformance.make_clip", remember)
    original = CHECKS["no future frame"]
    # the method sees the list that is being pushed, as one that prefetches would
    monkeypatch.setattr(
        "vssbench.conformance.run_clip",
        lambda method, clip: (
            frames.__setitem__(slice(None), clip) or [p for f in clip for p in method.step([], f)]
        ),
    )
    with pytest.raises(ConformanceError, match="noise after frame"):
        original(subject)


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
