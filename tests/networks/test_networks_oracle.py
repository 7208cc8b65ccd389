"""The networks against a second implementation: plain functions over a state dict with the released keys.

The oracle follows the specification's tables and knows nothing of our modules; resizing is by explicit matrices.
Our parameters reach it through the tested key map, so a slip in either shows.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vssbench import networks
from vssbench.networks.checkpoints import ar_seg_key_map


def bilinear(maps: Tensor, size: tuple[int, int], aligned: bool) -> Tensor:
    for axis, outputs in zip((-2, -1), size, strict=True):
        inputs = maps.shape[axis]
        index = torch.arange(outputs, dtype=torch.float64)
        position = (
            index * (inputs - 1) / max(outputs - 1, 1)
            if aligned
            else ((index + 0.5) * inputs / outputs - 0.5).clamp(min=0)
        )
        if inputs == outputs:
            continue
        low = position.floor().long().clamp(max=inputs - 1)
        high = (low + 1).clamp(max=inputs - 1)
        share = (position - low).view(-1, 1) if axis == -2 else position - low
        maps = maps.index_select(axis, low) * (1 - share) + maps.index_select(axis, high) * share
    return maps


class Oracle:
    """Functional layers over a state dict."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def conv(self, x: Tensor, key: str, stride: int = 1, dilation: int = 1) -> Tensor:
        weight = self.state[f"{key}.weight"]
        padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, self.state.get(f"{key}.bias"), stride, padding, dilation)

    def norm(self, x: Tensor, key: str) -> Tensor:
        mean, var = self.state[f"{key}.running_mean"], self.state[f"{key}.running_var"]
        scale = self.state[f"{key}.weight"] / torch.sqrt(var + 1e-5)
        return x * scale.view(1, -1, 1, 1) + (self.state[f"{key}.bias"] - mean * scale).view(1, -1, 1, 1)

    def cbr(self, x: Tensor, key: str, stride: int = 1) -> Tensor:
        return self.norm(self.conv(x, f"{key}.conv", stride), f"{key}.bn").relu()

    def resnet(self, x: Tensor, stem: tuple[str, str], prefix: str, kind: str) -> list[Tensor]:
        x = F.max_pool2d(self.norm(self.conv(x, stem[0], 2), stem[1]).relu(), 3, 2, 1)
        outputs = []
        for layer in (1, 2, 3, 4):
            for block in (0, 1):
                key = f"{prefix}layer{layer}.{block}"
                strided = block == 0 and (layer == 2 or (layer > 2 and kind == "plain"))
                wide = {3: 2, 4: 4}.get(layer, 1) if kind != "plain" else 1
                first = wide if block == 1 else 1
                second = wide if block == 1 or kind == "cityscapes" else 1
                stride = 2 if strided else 1
                inner = self.norm(self.conv(x, f"{key}.conv1", stride, first), f"{key}.bn1").relu()
                inner = self.norm(self.conv(inner, f"{key}.conv2", 1, second), f"{key}.bn2")
                if f"{key}.downsample.0.weight" in self.state:
                    x = self.norm(self.conv(x, f"{key}.downsample.0", stride), f"{key}.downsample.1")
                x = (inner + x).relu()
            outputs.append(x)
        return outputs


def pspnet_camvid(o: Oracle, image: Tensor) -> dict[str, Tensor]:
    _, _, middle, deep = o.resnet(image, ("feats.conv1", "feats.bn1"), "feats.", "camvid")
    size = deep.shape[-2:]
    levels = [
        bilinear(o.conv(F.adaptive_avg_pool2d(deep, b), f"psp.stages.{i}.1"), size, False)
        for i, b in enumerate((1, 2, 3, 6))
    ]
    p = o.conv(torch.cat([*levels, deep], 1), "psp.bottleneck").relu()
    for k in (1, 2, 3):
        p = bilinear(p, (2 * p.shape[-2], 2 * p.shape[-1]), False)
        p = F.prelu(o.norm(o.conv(p, f"up_{k}.conv.0"), f"up_{k}.conv.1"), o.state[f"up_{k}.conv.2.weight"])
    logits = bilinear(o.conv(p, "final_conv"), image.shape[-2:], True).log_softmax(1)
    hidden = F.linear(
        middle.flatten(2).max(2).values, o.state["classifier.0.weight"], o.state["classifier.0.bias"]
    ).relu()
    return {
        "feature": p,
        "logits": logits,
        "class": F.linear(hidden, o.state["classifier.2.weight"], o.state["classifier.2.bias"]),
    }


def pspnet_cityscapes(o: Oracle, image: Tensor) -> dict[str, Tensor]:
    _, _, middle, deep = o.resnet(image, ("layer0.0", "layer0.1"), "", "cityscapes")
    levels = [
        bilinear(
            o.norm(
                o.conv(F.adaptive_avg_pool2d(deep, b), f"ppm.features.{i}.1"), f"ppm.features.{i}.2"
            ).relu(),
            deep.shape[-2:],
            True,
        )
        for i, b in enumerate((1, 2, 3, 6))
    ]
    p = o.norm(o.conv(torch.cat([deep, *levels], 1), "cls.0"), "cls.1").relu()
    aux = o.conv(o.norm(o.conv(middle, "aux.0"), "aux.1").relu(), "aux.4")
    return {
        "feature": p,
        "logits": bilinear(o.conv(p, "cls.4"), image.shape[-2:], True),
        "aux0": bilinear(aux, image.shape[-2:], True),
    }


def bisenet(o: Oracle, image: Tensor) -> dict[str, Tensor]:
    spatial = image
    for i in (1, 2, 3):
        spatial = o.cbr(spatial, f"sp.conv{i}", 2)
    spatial = o.cbr(spatial, "sp.conv_out")
    _, _, f16, f32 = o.resnet(image, ("cp.resnet.conv1", "cp.resnet.bn1"), "cp.resnet.", "plain")

    def arm(x: Tensor, key: str) -> Tensor:
        g = o.cbr(x, f"{key}.conv")
        return (
            g * o.norm(o.conv(g.mean((2, 3), keepdim=True), f"{key}.conv_atten"), f"{key}.bn_atten").sigmoid()
        )

    def doubled(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, -2).repeat_interleave(2, -1)

    t32 = arm(f32, "cp.arm32") + o.cbr(f32.mean((2, 3), keepdim=True), "cp.conv_avg")
    c16 = o.cbr(bilinear(doubled(t32), f16.shape[-2:], True), "cp.conv_head32")
    c8 = o.cbr(doubled(arm(f16, "cp.arm16") + c16), "cp.conv_head16")
    g = o.cbr(torch.cat([bilinear(spatial, c8.shape[-2:], True), c8], 1), "ffm.convblk")
    fused = g * o.norm(o.conv(g.mean((2, 3), keepdim=True), "ffm.conv"), "ffm.bn").sigmoid() + g
    p = o.cbr(fused, "conv_out.conv")

    def enlarged(x: Tensor, factor: int) -> Tensor:
        return bilinear(x, (x.shape[-2] * factor, x.shape[-1] * factor), False)

    heads = {
        f"aux{i}": enlarged(
            o.conv(o.cbr(x, f"conv_out{s}.conv"), f"conv_out{s}.conv_out"), s // 2 if s == 32 else 8
        )
        for i, (s, x) in enumerate(((16, c8), (32, c16)))
    }
    return {"feature": p, "logits": enlarged(o.conv(p, "conv_out.conv_out"), 8), **heads}


ORACLES = {"pspnet18-camvid": pspnet_camvid, "pspnet18-cityscapes": pspnet_cityscapes, "bisenet18": bisenet}


def randomised(name: str, width: int = 8) -> networks.SegmentationNetwork:
    """Network in eval mode whose normalisation statistics are not the trivial ones."""
    torch.manual_seed(0)
    network = networks.create(name, 5, width=width).double().eval()
    for key, value in network.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif key.endswith(("running_mean", "bias")):
            value.normal_(0, 0.2)
    return network


@pytest.mark.parametrize("size", [(64, 96), (45, 67), (90, 122), (33, 50)])
@pytest.mark.parametrize("name", sorted(ORACLES))
def test_network_equals_the_functional_oracle(name, size):
    network = randomised(name)
    state = network.state_dict()
    oracle = Oracle({theirs: state[ours] for ours, theirs in ar_seg_key_map(network).items()})
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        output, expected = network.forward_training(image), ORACLES[name](oracle, image)
        torch.testing.assert_close(network(image), expected["logits"], rtol=1e-10, atol=1e-10)
    got = {"feature": output.feature, "logits": output.logits, "class": output.class_logits}
    got.update({f"aux{i}": extra for i, extra in enumerate(output.auxiliary)})
    assert {key for key, value in got.items() if value is not None} == set(expected)
    for key, value in expected.items():
        torch.testing.assert_close(
            got[key], value, rtol=1e-10, atol=1e-10, msg=lambda text, key=key: f"{key}: {text}"
        )
