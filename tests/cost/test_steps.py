"""The harness measures what a step costs by running it; toy methods with known products."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vssbench.cost.cross_check import cross_check, explain
from vssbench.cost.steps import blank_frame, count_method_macs, step_under_ledger
from vssbench.errors import ConfigError
from vssbench.method import BuildContext, Method, MethodOptions, Needs, Prediction
from vssbench.ops import accounting
from vssbench.registry import methods


class _Options(MethodOptions):
    history: int = 0
    every_frame: bool = True
    looks_at_values: bool = False
    flow: bool = True


class _Toy(Method):
    """Key step 8 products per pixel, non-key step 2; counts how it was called."""

    Options = _Options

    def __init__(self, options, context):
        super().__init__(options, context)
        self.key = nn.Conv2d(1, 8, 1, bias=False).to(context.device)
        self.light = nn.Conv2d(1, 2, 1, bias=False).to(context.device)

    @property
    def needs(self):
        return Needs(
            flow_key=self.options.flow, history=self.options.history, every_frame=self.options.every_frame
        )

    def parts(self):
        return {"key": self.key, "light": self.light}

    def start(self, batch):
        return {"steps": 0}

    def step(self, state, frame):
        state["steps"] += 1
        gray = frame.image[:, :1].float()
        if frame.index >= 0 and self.options.flow:
            assert frame.flow_key.shape == (1, 2, *frame.size)
            assert frame.flow_valid.shape == (1, *frame.size)
        share, kind = 1.0, "key" if frame.is_key else "non_key"
        if self.options.looks_at_values and not frame.is_key:
            kept = gray[gray > 0]  # no shape without values
            share, kind = kept.numel() / gray.numel(), "partial"
        else:
            (self.key if frame.is_key else self.light)(gray)
        labels = torch.zeros((1, *frame.size), dtype=torch.uint8)
        return [Prediction(frame.index, labels, kind, share)]


def _build(size=(6, 8), keyframe_interval=4, **options):
    return _Toy(_Options(**options), BuildContext(2, size, keyframe_interval, torch.device("cpu")))


def test_key_non_key_and_gop_mean():
    cost = count_method_macs(_build())
    assert (cost.key, cost.non_key) == (8 * 48, 2 * 48)
    assert cost.gop_mean == (8 + 3 * 2) * 48 / 4
    assert cost.measured_on == "meta"
    assert not cost.is_data_dependent
    assert cost.ledgers["key"].per_module == {"key": 8 * 48}
    assert cost.ledgers["non_key"].per_module == {"light": 3 * 2 * 48}


def test_size_and_interval_can_be_chosen():
    cost = count_method_macs(_build(), (100, 200), 10)
    assert cost.gop_mean == (8 + 9 * 2) * 100 * 200 / 10


def test_skipping_equal_frames_changes_no_figure():
    every, skipped = (
        count_method_macs(_build(every_frame=flag, keyframe_interval=7)) for flag in (True, False)
    )
    assert every.as_dict() == skipped.as_dict()
    assert [step.keyframe_distance for step in skipped.steps] == list(range(7))


def test_history_is_pushed_but_not_counted():
    assert count_method_macs(_build(history=2)).gop_mean == count_method_macs(_build()).gop_mean


def test_one_frame_per_gop_repeats_the_key_cost():
    cost = count_method_macs(_build(keyframe_interval=1))
    assert cost.key == cost.non_key == cost.gop_mean == 8 * 48


def test_a_method_that_looks_at_values_is_marked():
    cost = count_method_macs(_build(looks_at_values=True))
    assert cost.measured_on == "cpu"
    assert cost.is_data_dependent
    assert cost.mean_macs("partial") == 0


def test_the_counted_method_is_left_alone():
    method = _build()
    before = method.key.weight.clone()
    count_method_macs(method)
    assert torch.equal(method.key.weight, before)
    assert not method.key._forward_hooks


def test_a_step_on_real_frames_can_be_counted():
    method = _build(looks_at_values=True)
    state = method.start(1)
    frame = blank_frame(method, 1, 1)
    predictions, cost = step_under_ledger(method, state, frame)
    assert predictions[0].index == 1
    assert (cost.kind, cost.executed_share, cost.keyframe_distance) == ("partial", 0.0, 1)


def test_an_impossible_interval_is_refused():
    with pytest.raises(ConfigError, match="keyframe_interval >= 1"):
        count_method_macs(_build(), keyframe_interval=0)


class _Owing(_Toy):
    """Does its work when the clip ends."""

    def flush(self, state):
        accounting.record("late", 100)
        return []


def test_work_done_at_the_end_of_a_clip_enters_the_mean():
    method = _Owing(_Options(), BuildContext(2, (6, 8), 4, torch.device("cpu")))
    assert count_method_macs(method).gop_mean == ((8 + 3 * 2) * 48 + 100) / 4


@pytest.mark.filterwarnings("ignore")
def test_other_counters_agree_on_plain_convolutions():
    method = _build()
    cost = count_method_macs(method)
    for column, count in cross_check(method, cost).items():
        assert (count.key, count.non_key, count.gop_mean) == pytest.approx(
            (8 * 48 / 1e9, 2 * 48 / 1e9, cost.gop_mean / 1e9)
        )
        assert explain(column, count, cost) is None


class _Attending(_Toy):
    def step(self, state, frame):
        with accounting.operation("local_attention", 1000, kind="attention"):
            return super().step(state, frame)


@pytest.mark.filterwarnings("ignore")
def test_a_disagreement_is_explained_with_its_amount():
    method = _Attending(_Options(), BuildContext(2, (6, 8), 4, torch.device("cpu")))
    cost = count_method_macs(method)
    assert cost.gop_mean == 1000
    counts = cross_check(method, cost)
    assert "local attention is 0.000 G per frame here" in explain("torch", counts["torch"], cost)


@pytest.mark.parametrize("name", ["constant", "warp-only", "ar-seg"])
def test_counting_on_meta_equals_counting_a_real_run(name):
    method_class = methods.load(name)
    options = method_class.Options(network="bisenet18", width=8)
    method = method_class(options, BuildContext(3, (64, 96), 3, torch.device("cpu")))
    planned = count_method_macs(method)
    state = method.start(1)
    real = [step_under_ledger(method, state, blank_frame(method, d, d))[1] for d in range(3)]
    assert [step.ledger.measured_on for step in real] == ["cpu"] * 3
    for step, expected in zip(real, planned.steps, strict=True):
        assert step.kind == expected.kind
        assert step.ledger.per_operator == expected.ledger.per_operator
