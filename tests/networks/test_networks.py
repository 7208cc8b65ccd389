"""Shapes, widths, cuts and training outputs of the networks."""

from __future__ import annotations

import pytest
import torch

from vssbench import networks
from vssbench.errors import ConfigError

NAMES = ("pspnet18-camvid", "pspnet18-cityscapes", "bisenet18")
FULL_CHANNELS = {"pspnet18-camvid": 64, "pspnet18-cityscapes": 512, "bisenet18": 256}


def on_meta(name: str, classes: int = 12, width: int = 64) -> networks.SegmentationNetwork:
    with torch.device("meta"):
        return networks.create(name, classes, width=width).eval()


@pytest.mark.parametrize(
    ("name", "size", "feature", "output"),
    [
        ("pspnet18-camvid", (720, 960), (64, 720, 960), (720, 960)),
        ("pspnet18-camvid", (503, 672), (64, 504, 672), (503, 672)),
        ("pspnet18-cityscapes", (1024, 2048), (512, 128, 256), (1024, 2048)),
        ("pspnet18-cityscapes", (921, 1843), (512, 116, 231), (921, 1843)),
        ("bisenet18", (720, 960), (256, 90, 120), (720, 960)),
        ("bisenet18", (360, 480), (256, 46, 60), (368, 480)),
        ("bisenet18", (216, 288), (256, 28, 36), (224, 288)),
        ("bisenet18", (307, 614), (256, 40, 78), (320, 624)),
    ],
)
def test_sizes_are_those_of_the_specification(name, size, feature, output):
    network = on_meta(name)
    image = torch.empty(1, 3, *size, device="meta")
    maps = network.features(image)
    assert tuple(maps.shape[1:]) == feature
    assert network.feature_channels == feature[0]
    assert network.feature_size(size) == feature[1:]
    assert tuple(network(image).shape) == (1, 12, *output)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [8, 12, 48])
def test_every_inner_channel_count_scales_with_the_width(name, width):
    full, slim = on_meta(name, classes=7), on_meta(name, classes=7, width=width)
    assert slim.feature_channels == FULL_CHANNELS[name] * width // 64
    for key, value in full.state_dict().items():
        expected = [
            n if n in (1, 3, 7) or axis > 1 else n * width // 64 for axis, n in enumerate(value.shape)
        ]
        assert list(slim.state_dict()[key].shape) == expected, key


@pytest.mark.parametrize("name", NAMES[:2])
@pytest.mark.parametrize("cut", ["task", "feat"])
def test_running_up_to_a_cut_and_on_equals_running_through(name, cut):
    network = networks.create(name, 4, width=8).eval()
    image = torch.randn(1, 3, 45, 67)
    with torch.no_grad():
        partial = network.partial(image, cut)
        assert partial.feature.shape[1] == network.cut_channels(cut)
        assert torch.equal(network.resume(partial, cut).feature, network.features(image))


def test_bisenet_has_no_earlier_cut():
    with pytest.raises(ConfigError, match="cannot be fused before 'task'"):
        networks.create("bisenet18", 4, width=8).partial(torch.zeros(1, 3, 64, 64), "task")


@pytest.mark.parametrize("name", NAMES)
def test_training_mode_drops_whole_channels_only_where_specified(name):
    torch.manual_seed(0)
    network = networks.create(name, 4, width=16).train()
    with torch.no_grad():
        feature = network.features(torch.randn(2, 3, 64, 64))
    empty = int((feature.flatten(2).abs().amax(2) == 0).sum())
    assert (empty > 0) == (name != "bisenet18")


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name):
    torch.manual_seed(1)
    network = networks.create(name, 4, width=8)
    label = torch.randint(0, 4, (2, 64, 96))
    output = network.forward_training(torch.randn(2, 3, 64, 96))
    sum(output.losses(network.loss, label).values()).backward()
    assert [key for key, value in network.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize("name", [*NAMES, "swiftnet18"])
def test_the_feature_can_be_scaled_exactly(name):
    torch.manual_seed(0)
    network = networks.create(name, 5, width=8).eval()
    image = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        before = network.features(image)
        network.scale_feature(0.25)
        torch.testing.assert_close(network.features(image), before / 4)


def test_backbone_starts_with_fan_out_scaled_weights():
    torch.manual_seed(0)
    weight = networks.create("bisenet18", 4).context.backbone.stage4[1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)


def test_impossible_networks_are_refused():
    for name, classes, width, words in (
        ("bisenet19", 4, 64, "did you mean bisenet18"),
        ("bisenet18", 1, 64, "classes = 1"),
        ("bisenet18", 4, 0, "width = 0"),
    ):
        with pytest.raises(ConfigError, match=words):
            networks.create(name, classes, width=width)
    with pytest.raises(ConfigError, match="does not accept"):
        networks.create("bisenet18", 4, depth=3)
