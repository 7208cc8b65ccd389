"""AR-Seg against the reference's numbers. The golden folder's README says how parameters and inputs are made."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vssbench.baselines.ar_seg import ARSeg, ARSegOptions
from vssbench.method import BuildContext, Frame
from vssbench.networks import load_ar_seg_checkpoint

pytestmark = pytest.mark.needs_shared

MEAN_FREE = ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))
PRELU = tuple(f"up_{k}.conv.2.weight" for k in (1, 2, 3))


def parameter(key: str, shape: tuple[int, ...], seed_prefix: str) -> Tensor:
    """The golden README's parameter rule for one key."""
    generator = torch.Generator().manual_seed(zlib.crc32((seed_prefix + key).encode()))
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if key.endswith("running_var"):
        return 1 + 0.1 * torch.rand(shape, generator=generator)
    drawn = torch.randn(shape, generator=generator)
    if key in PRELU:
        return 0.25 + 0.01 * drawn
    if key.endswith(("running_mean", "bias")):
        return 0.1 * drawn
    return drawn * math.sqrt(2 / math.prod(shape[1:])) if len(shape) >= 2 else 1 + 0.1 * drawn


class Golden:
    """The folder's files and a method that holds the golden parameters."""

    def __init__(self, shared: Path) -> None:
        self.folder = shared / "data" / "golden" / "ar-seg"
        self.keys = json.loads((shared / "spec" / "ar-seg-state-dicts.json").read_text())["models"]
        inputs = np.load(self.folder / "inputs.npz")
        self.keyframe, self.current = (torch.from_numpy(inputs[name]) for name in ("keyframe", "current"))
        self.flow = torch.from_numpy(inputs["motion_quarter_pel"]).permute(0, 3, 1, 2).float() / 4
        context = BuildContext(12, (64, 96), 12, torch.device("cpu"))
        self.method = ARSeg(ARSegOptions(network="pspnet18-camvid"), context)
        load_ar_seg_checkpoint(self.state("camvid-psp18_HR"), network=self.method.hr)
        with torch.no_grad():
            self.hr_logits, self.hr_feature = self.method._keyframe(self.keyframe)
            self.warped = self.method.warp_reference(self.hr_feature, self.flow)

    def state(self, model: str, seed_prefix: str = "") -> dict[str, Tensor]:
        return {
            key: parameter(key.removeprefix("module."), tuple(shape), seed_prefix)
            for key, shape, _ in self.keys[model]
        }

    def check(self, file: str, name: str, tensor: Tensor, tolerance: float) -> None:
        """Compare values (every eighth channel where stored so) and whole-tensor statistics."""
        stored = np.load(self.folder / file)
        values = tensor.double().numpy()
        count, total, absolute, squares, low, high = stored[f"{name}__stats"]
        largest = max(abs(low), abs(high))
        expected = stored[name] if name in stored.files else stored[f"{name}__c8"]
        got = values if name in stored.files else values[:, ::8]
        assert np.abs(got - expected).max() <= tolerance * largest
        assert values.size == count
        np.testing.assert_allclose(values.min(), low, atol=tolerance * largest)
        np.testing.assert_allclose(values.max(), high, atol=tolerance * largest)
        np.testing.assert_allclose(
            [values.sum(), np.abs(values).sum()], [total, absolute], rtol=0, atol=tolerance * absolute
        )
        np.testing.assert_allclose((values**2).sum(), squares, rtol=2 * tolerance)


@pytest.fixture(scope="module")
def golden(shared) -> Golden:
    return Golden(shared)


@pytest.mark.parametrize("model", ["camvid-psp18_HR", "camvid-psp18_AR"])
def test_parameters_are_drawn_as_the_checksums_say(golden, model):
    state = golden.state(model)
    for key, expected in json.loads((golden.folder / "param_checksums.json").read_text())[model].items():
        assert state[f"module.{key}"].double().sum().item() == pytest.approx(expected, rel=1e-9)


def test_hr_branch(golden):
    golden.check("camvid-psp18_HR.npz", "hr_logits", golden.hr_logits, 2e-5)
    golden.check("camvid-psp18_HR.npz", "hr_feature", golden.hr_feature, 2e-5)
    assert np.array_equal(
        golden.hr_logits.argmax(1).numpy(), np.load(golden.folder / "camvid-psp18_HR.npz")["hr_pred"]
    )


def test_warped_feature(golden):
    golden.check("camvid-psp18_AR0.5.npz", "warped_feature", golden.warped, 2e-5)


@pytest.mark.parametrize(
    ("file", "seed_prefix", "tolerance"),
    [("camvid-psp18_AR0.5.npz", "", 5e-3), ("camvid-psp18_AR0.5_soft.npz", "lr.", 2e-5)],
)
def test_lr_branch_and_fusion(golden, file, seed_prefix, tolerance):
    state = golden.state("camvid-psp18_AR", seed_prefix)
    if seed_prefix:
        for kind in ("weight", "bias"):
            state[f"module.fuse_attention.lr_query_conv.{kind}"] *= 2.0**-12
    method = golden.method
    load_ar_seg_checkpoint(state, network=method.lr.network, fusion=method.lr.fusion)
    with torch.no_grad():
        small = method.lr_input(golden.current)
        output = method.lr(small, golden.warped, (64, 96))
        golden.check(file, "lr_feature", method.lr.network.features(small), 2e-5)
    golden.check(file, "fused_feature", output.feature, tolerance)
    golden.check(file, "ar_logits", output.logits, tolerance)
    assert np.array_equal(output.logits.argmax(1).numpy(), np.load(golden.folder / file)["ar_pred"])


def test_step_runs_the_same_path(golden):
    """The method's own `step` equals its pieces; inputs are quantised to bytes, so goldens do not apply."""
    method = golden.method
    method.normalisation = MEAN_FREE
    images = [
        ((image - image.min()) / (image.max() - image.min()) * 255).byte()
        for image in (golden.keyframe, golden.current)
    ]
    state = method.start(1)
    key = method.step(state, Frame(0, 0, images[0], "I", (64, 96)))[0]
    between = method.step(state, Frame(1, 1, images[1], "P", (64, 96), flow_key=golden.flow))[0]
    with torch.no_grad():
        logits, feature = method._keyframe(images[0].float())
        warped = method.warp_reference(feature, golden.flow)
        fused = method.lr(method.lr_input(images[1].float()), warped, (64, 96)).logits
    assert key.kind == "key"
    assert torch.equal(key.labels, logits.argmax(1).byte())
    assert between.kind == "non_key"
    assert torch.equal(between.labels, fused.argmax(1).byte())
