"""Modules of somebody else as networks: plain ones, and SegFormer where transformers is installed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vssbench
from vssbench.conformance import NetworkSubject
from vssbench.conformance.clips import Subject
from vssbench.conformance.method import CHECKS as METHOD_CHECKS
from vssbench.conformance.network import CHECKS
from vssbench.conformance.outcome import ConformanceError
from vssbench.engine.build import trained_method
from vssbench.errors import CheckpointError, ConfigError, PluginError
from vssbench.experiment.validation import validate
from vssbench.method import BuildContext
from vssbench.networks import NetworkFactory, adapt, create
from vssbench.networks.adapter import AdaptedNetwork
from vssbench.registry import methods

HERE = "adapted_examples"


class Plain(nn.Module):
    """Strides 2 and 4, a tensor out, enlarged to the image."""

    def __init__(self, classes: int = 5, channels: int = 12) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, channels, 3, 2, 1), nn.ReLU(), nn.Conv2d(channels, channels, 3, 2, 1), nn.ReLU()
        )
        self.head = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(channels, classes, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.body(image))
        return F.interpolate(scores, image.shape[-2:], mode="bilinear", align_corners=False)


@dataclass
class Output:
    logits: torch.Tensor


class InDictionary(Plain):
    def forward(self, image: torch.Tensor) -> Any:
        return {"aux": None, "out": self.head(self.body(image))}


class InDataclass(Plain):
    def forward(self, image: torch.Tensor) -> Any:
        return Output(self.head(self.body(image)))


class WithSoftmax(Plain):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(image)).softmax(1)


def fail(classes: int) -> nn.Module:
    raise ValueError("no such depth")


def number(classes: int) -> Any:
    return classes


def segformer(classes: int, depth: int = 1) -> nn.Module:
    """Built from a configuration: nothing is downloaded."""
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(
        num_labels=classes,
        depths=[depth] * 4,
        hidden_sizes=[8, 16, 24, 32],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=24,
    )
    return transformers.SegformerForSemanticSegmentation(config)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, HERE, sys.modules[__name__])


def factory(function: str, cut: str = "head.1", **more: Any) -> NetworkFactory:
    return NetworkFactory(factory=f"{HERE}:{function}", cut=cut, **more)


SEGFORMER = "decode_head.classifier"
CHOICES = [
    factory("Plain"),
    factory("Plain", args={"channels": 6}),
    factory("InDictionary"),
    factory("InDataclass"),
    factory("segformer", SEGFORMER),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_adapted_modules_pass_the_network_suite(choice, check):
    if choice.cut == SEGFORMER:
        pytest.importorskip("transformers")
    CHECKS[check].examine(NetworkSubject(choice))


def test_the_pieces_give_what_the_module_gave_before():
    torch.manual_seed(0)
    module = Plain().eval()
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        before = module(image)
        network = adapt(module, cut="head.1").eval()
        assert torch.allclose(network(image), before, atol=1e-5)
        assert torch.equal(network.own_output(image), before)
    assert (network.feature_channels, network.feature_stride) == (12, 4)
    assert network.feature_size((61, 90)) == (16, 23)


def test_a_cut_before_more_than_a_resize_is_found():
    with pytest.raises(ConformanceError, match="softmax or further layers"):
        CHECKS["own output"].examine(NetworkSubject(factory("WithSoftmax")))


@pytest.mark.parametrize("check", METHOD_CHECKS)
@pytest.mark.parametrize("name", ["constant", "warp-only", "ar-seg"])
def test_methods_around_an_adapted_module_keep_their_contract(name, check):
    options = {
        "network": factory("Plain").model_dump(mode="json"),
        **({"window": 3} if name == "ar-seg" else {}),
    }
    METHOD_CHECKS[check].examine(Subject(name, options))


@pytest.mark.parametrize(
    ("choice", "error", "message"),
    [
        (factory("Plain", "head"), ConfigError, r"is Sequential of Plain.*last convolutions are .*head\.1"),
        (factory("Plain", "body.0"), ConfigError, "expected its final 1x1"),
        (factory("Plain", "nowhere"), ConfigError, "is no part of Plain"),
        (factory("Nothing"), ConfigError, "has no attribute 'Nothing'"),
        (NetworkFactory(factory="no_such_package:build", cut="a"), ConfigError, "PYTHONPATH"),
        (factory("fail"), PluginError, "ValueError: no such depth"),
        (factory("number"), ConfigError, "returned int"),
        (factory("Plain", args={"depth": 3}), PluginError, "unexpected keyword argument 'depth'"),
    ],
)
def test_what_does_not_fit_is_named(choice, error, message):
    with pytest.raises(error, match=message):
        create(choice, 4)


def test_another_number_of_classes_is_refused():
    with pytest.raises(ConfigError, match="answers 5 classes, the dataset has 4"):
        AdaptedNetwork(Plain(5), cut="head.1", classes=4)


def test_a_state_dict_is_read_without_running_code_and_is_no_untrained_part(tmp_path: Path):
    torch.manual_seed(3)
    module = Plain(4)
    torch.save(module.state_dict(), tmp_path / "plain.pth")
    choice = factory("Plain", state_dict=tmp_path / "plain.pth")
    assert torch.equal(create(choice, 4).classifier.weight, module.head[1].weight)
    options = validate(
        methods.load("constant").Options, {"network": choice.model_dump(mode="json")}, where="x"
    )
    context = BuildContext(4, (64, 96), 4, torch.device("cpu"))
    assert trained_method("constant", options, context, title="mine").untrained == ()
    torch.save(Plain(4, 6).state_dict(), tmp_path / "plain.pth")
    with pytest.raises(CheckpointError, match=r"plain\.pth: does not fit Plain"):
        create(choice, 4)
    torch.save(module, tmp_path / "plain.pth")
    with pytest.raises(CheckpointError, match="nothing in it was executed"):
        create(choice, 4)


def test_the_description_of_a_network_says_how_its_pixels_are_normalised():
    pixels = {"mean": [0.5, 0.5, 0.5], "deviation": [0.25, 0.25, 0.25], "channel_order": "BGR"}
    given = {**factory("Plain").model_dump(mode="json"), "normalisation": pixels}
    options = validate(methods.load("warp-only").Options, {"network": given}, where="x")
    context = BuildContext(4, (64, 96), 4, torch.device("cpu"))
    found = trained_method("warp-only", options, context, title="mine").normalisation
    assert (found.mean, found.channel_order) == ((0.5, 0.5, 0.5), "BGR")


def test_an_experiment_runs_a_module_in_three_methods(tmp_path: Path):
    network = {"factory": f"{HERE}:Plain", "args": {"channels": 8}, "cut": "head.1"}
    experiment = {
        "datasets": [{"name": "synthetic", "sequences": 1, "frames": 4, "size": [32, 64]}],
        "codecs": [
            {"label": "h264", "codec": "h264", "bitrate_kbps": 60, "preset": "ultrafast", "references": 1}
        ],
        "protocol": {"kind": "stream", "keyframe_interval": 4},
        "pictures": {"per_codec": 0},
        "methods": [
            {"name": "constant", "network": network, "mode": "corrected"},
            {"name": "warp-only", "network": network},
            {"name": "ar-seg", "network": network, "mode": "corrected", "window": 3},
        ],
    }
    run = vssbench.run(experiment, tmp_path / "run", workers=1, cache=tmp_path / "cache", device="cpu")
    assert run.complete
    assert {method.networks[0].name for method in run.roster.methods} == {f"{HERE}:Plain(channels=8)"}
    costs = {
        title: run.costs["synthetic", title].gop_mean_gmacs for title in ("constant", "warp-only", "ar-seg")
    }
    assert costs["warp-only"] < min(costs["ar-seg"], costs["constant"])
