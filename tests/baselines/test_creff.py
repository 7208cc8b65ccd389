"""CReFF: every row of Table 3 against formulas written out from the specification, and each switch on its own."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vssbench.baselines.ar_seg import VARIANTS, CReFF, CReFFSettings, FusionNetwork
from vssbench.baselines.ar_seg.settings import switch_values
from vssbench.errors import ConfigError
from vssbench.networks import create


def aligned(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=True)


def attention(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    """Zero-padded local attention by shifting the padded maps."""
    height, width = query.shape[-2:]
    radius = window // 2
    padded_key, padded_value = (F.pad(m, [radius] * 4) for m in (key, value))
    shifts = [(slice(dy, dy + height), slice(dx, dx + width)) for dy in range(window) for dx in range(window)]
    scores = torch.stack([(query * padded_key[..., y, x]).sum(1, keepdim=True) for y, x in shifts])
    weights = scores.softmax(0)
    return sum(w * padded_value[..., y, x] for w, (y, x) in zip(weights, shifts, strict=True))


def depthwise(conv: torch.nn.Conv2d, maps: Tensor) -> Tensor:
    return F.conv2d(maps, conv.weight, conv.bias, padding=1, groups=maps.shape[1])


def features(channels: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    reference = torch.randn(2, channels, 18, 23, generator=generator, dtype=torch.float64)
    return reference, torch.randn(2, channels, 9, 11, generator=generator, dtype=torch.float64)


def fusion(variant: str = "final", channels: int = 6, **options) -> CReFF:
    torch.manual_seed(1)
    module = CReFF(channels, variant=variant, **options).double()
    for parameter in module.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.3)  # biases start at 0, which would hide a mistake
    return module


@pytest.mark.parametrize(
    ("variant", "window"),
    [
        ("final", 7),
        ("window-3", 3),
        ("window-11", 11),
        ("la-only", 7),
        ("before-classifier", 7),
        ("before-task", 7),
        ("before-feat", 7),
    ],
)
def test_local_variants_add_attention_to_the_enlarged_lr_feature(variant, window):
    (reference, low), module = features(), fusion(variant)
    enlarged = aligned(low, (18, 23))
    expected = enlarged + attention(
        depthwise(module.query_conv, enlarged),
        depthwise(module.key_conv, reference),
        depthwise(module.value_conv, reference),
        window,
    )
    torch.testing.assert_close(module(reference, low), expected, rtol=1e-11, atol=1e-11)


def test_without_direct_connection_only_the_attention_is_left():
    (reference, low), final, bare = features(), fusion("final"), fusion("without-direct")
    bare.load_state_dict(final.state_dict())
    torch.testing.assert_close(bare(reference, low), final(reference, low) - aligned(low, (18, 23)))


def test_la_full_uses_full_convolutions():
    (reference, low), module = features(), fusion("la-full")
    assert module.query_conv.weight.shape == (6, 6, 3, 3)
    enlarged = aligned(low, (18, 23))
    expected = enlarged + attention(
        F.conv2d(enlarged, module.query_conv.weight, module.query_conv.bias, padding=1),
        F.conv2d(reference, module.key_conv.weight, module.key_conv.bias, padding=1),
        F.conv2d(reference, module.value_conv.weight, module.value_conv.bias, padding=1),
        7,
    )
    torch.testing.assert_close(module(reference, low), expected, rtol=1e-11, atol=1e-11)


def test_conv_concatenates_the_lr_feature_first_and_has_no_residual():
    (reference, low), module = features(), fusion("conv")
    joined = torch.cat([aligned(low, (18, 23)), reference], 1)
    torch.testing.assert_close(
        module(reference, low), F.conv2d(joined, module.conv.weight, module.conv.bias, padding=1)
    )


def test_the_variants_without_fusion():
    reference, low = features()
    torch.testing.assert_close(fusion("without-creff")(reference, low), aligned(low, (18, 23)))
    assert fusion("mv-only")(reference, low) is reference
    assert not list(fusion("mv-only").parameters())


@pytest.mark.parametrize("key_source", ["value", "reference"])
def test_global_attention_equals_torchs_multihead_attention(key_source):
    reference, low = features()
    settings = CReFFSettings(global_key=key_source)
    module = fusion("global-attention", settings=settings, global_downscale=4)
    heads = torch.nn.MultiheadAttention(6, 1, batch_first=True).double()
    projections = (module.attention.query, module.attention.key, module.attention.value)
    with torch.no_grad():
        heads.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        heads.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
        heads.out_proj.weight.copy_(module.attention.output.weight)
        heads.out_proj.bias.copy_(module.attention.output.bias)
    value = depthwise(module.value_conv, reference)
    key = depthwise(module.key_conv, value if key_source == "value" else reference)
    enlarged = aligned(low, (18, 23))
    tokens = [
        maps.flatten(2).transpose(1, 2)
        for maps in (depthwise(module.query_conv, enlarged), aligned(key, (4, 5)), aligned(value, (4, 5)))
    ]
    attended = heads(*tokens, need_weights=False)[0].transpose(1, 2).view(2, 6, 18, 23)
    # torch's fused kernel is a little less precise than its arithmetic type
    torch.testing.assert_close(module(reference, low), enlarged + attended, rtol=1e-4, atol=1e-7)


def test_camvids_global_attention_has_660_keys():
    height, width = 720 // 32, 960 // 32
    assert height * width == 660
    with pytest.raises(ConfigError, match="at least 32"):
        fusion("global-attention")(*features())


def test_attention_scale_divides_scores_by_the_root_of_the_channels():
    reference, low = features()
    scaled = fusion(settings=CReFFSettings(attention_scale="sqrt-channels"))
    plain = fusion()
    plain.load_state_dict(scaled.state_dict())
    with torch.no_grad():
        plain.query_conv.weight /= math.sqrt(6)
        plain.query_conv.bias /= math.sqrt(6)
    torch.testing.assert_close(plain(reference, low), scaled(reference, low))


def test_excluding_the_border_changes_the_border_only():
    (reference, low), plain = features(), fusion()
    excluded = fusion(settings=CReFFSettings(border="exclude"))
    excluded.load_state_dict(plain.state_dict())
    difference = (plain(reference, low) - excluded(reference, low)).abs().amax((0, 1))
    assert difference[3:-3, 3:-3].max() < 1e-12
    assert difference[0].min() > 1e-6


def test_feature_corners_choose_the_enlargement():
    reference, low = features()
    half = fusion("without-creff", settings=CReFFSettings(feature_corners="half-pixel"))(reference, low)
    torch.testing.assert_close(half, F.interpolate(low, size=(18, 23), mode="bilinear", align_corners=False))


def test_kaiming_initialisation_has_a_third_as_deviation_and_no_bias():
    torch.manual_seed(0)
    module = CReFF(2000)
    for conv in (module.query_conv, module.key_conv, module.value_conv):
        assert conv.weight.std().item() == pytest.approx(1 / 3, rel=0.03)
        assert conv.bias.abs().max() == 0


@pytest.mark.parametrize("variant", ["final", "la-full"])
def test_identity_like_initialisation_passes_detail_only(variant):
    torch.manual_seed(0)
    module = CReFF(8, variant=variant, initialisation="identity-like")
    flat = torch.ones(1, 8, 12, 12)
    spot = torch.zeros(1, 8, 12, 12)
    spot[..., 6, 6] = 1.0
    assert module.value_conv(flat)[..., 2:-2, 2:-2].abs().max() < 0.3
    torch.testing.assert_close(
        module.value_conv(spot)[0, :, 6, 6], torch.full((8,), 8 / 9), atol=0.06, rtol=0
    )
    torch.testing.assert_close(module.query_conv(spot)[0, :, 6, 6], torch.full((8,), 0.3), atol=0.06, rtol=0)


def test_balanced_initialisation_passes_three_quarters_of_the_reference():
    torch.manual_seed(0)
    module = CReFF(8, initialisation="balanced")
    flat = torch.ones(1, 8, 12, 12)
    assert float(module.value_conv(flat)[..., 2:-2, 2:-2].detach().mean()) == pytest.approx(0.75, abs=0.05)
    torch.testing.assert_close(module.query_conv(flat).mean(), torch.tensor(0.3), atol=0.05, rtol=0)


def test_modes_set_every_switch_one_way_or_the_other():
    paper, corrected = CReFFSettings.for_mode("paper"), CReFFSettings.for_mode("corrected")
    assert paper == CReFFSettings()
    for field in fields(CReFFSettings):
        both = {getattr(paper, field.name), getattr(corrected, field.name)}
        # the released training resamples the flow as the corrected mode does everywhere
        expected = {"nearest"} if field.name == "training_flow_resample" else set(switch_values()[field.name])
        assert both == expected, field.name


def test_unknown_names_are_refused_with_near_matches():
    with pytest.raises(ConfigError, match="did you mean attention_scale"):
        CReFFSettings.for_mode("paper", {"attention_scal": "none"})
    with pytest.raises(ConfigError, match="known: exclude, zero"):
        CReFFSettings.for_mode("paper", {"border": "wrap"})
    with pytest.raises(ConfigError, match="did you mean"):
        CReFF(4, variant="global")
    with pytest.raises(ConfigError, match="odd"):
        CReFF(4, window=6)


def test_released_fused_output_sizes():
    reference = torch.randn(1, 8, 48, 72)
    camvid = FusionNetwork(create("pspnet18-camvid", 4, width=8), CReFF(8)).eval()
    assert camvid(torch.randn(1, 3, 22, 33), reference, (45, 67)).logits.shape[-2:] == (48, 72)
    cityscapes = FusionNetwork(create("pspnet18-cityscapes", 4, width=8), CReFF(64)).eval()
    output = cityscapes(torch.randn(1, 3, 32, 48), torch.randn(1, 64, 8, 12), (64, 96))
    assert output.logits.shape[-2:] == (8, 12)
    bisenet = FusionNetwork(create("bisenet18", 4, width=8), CReFF(32)).eval()
    output = bisenet(torch.randn(1, 3, 45, 60), torch.randn(1, 32, 12, 16), (90, 120))
    assert output.logits.shape[-2:] == (96, 128)


@pytest.mark.parametrize(("variant", "stride"), [("before-task", 8), ("before-feat", 4)])
def test_location_variants_shrink_their_output_unless_corrected(variant, stride):
    for mode, expected in (("paper", (64 // stride, 96 // stride)), ("corrected", (64, 96))):
        network = create("pspnet18-camvid", 4, width=8)
        cut = VARIANTS[variant].cut
        module = FusionNetwork(network, CReFF(network.cut_channels(cut), variant=variant, mode=mode)).eval()
        reference = network.eval().partial(torch.randn(1, 3, 64, 96), cut).feature
        assert reference.shape[-2:] == (64 // stride, 96 // stride)
        assert module(torch.randn(1, 3, 32, 48), reference, (64, 96)).logits.shape[-2:] == expected


def test_fused_bisenet_is_classifier_and_upsampling_on_the_fused_feature():
    torch.manual_seed(2)
    network = create("bisenet18", 4, width=8).eval()
    module = FusionNetwork(network, CReFF(32)).eval()
    image, reference = torch.randn(1, 3, 32, 48), torch.randn(1, 32, 8, 12)
    with torch.no_grad():
        output = module(image, reference, (64, 96))
        enlarged = aligned(network.features(image), (8, 12))
        creff = module.fusion
        fused = enlarged + attention(
            creff.query_conv(enlarged), creff.key_conv(reference), creff.value_conv(reference), 7
        )
        torch.testing.assert_close(output.feature, fused, rtol=1e-4, atol=1e-5)
        logits = F.conv2d(fused, network.classifier.weight, network.classifier.bias)
        expected = F.interpolate(logits, scale_factor=8, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(output.logits.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
