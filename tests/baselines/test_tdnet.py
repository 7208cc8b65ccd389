"""TDNet: one path is the network, the attention chain, rotation, exactness of the identity start, analytic cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from vssbench.baselines.tdnet import TDNet
from vssbench.baselines.tdnet.exchange import Exchange, attend, attention_macs
from vssbench.baselines.tdnet.training import TDNetTraining
from vssbench.conformance import CHECKS, Subject, make_batch, make_clip, run_clip
from vssbench.cost import count_macs
from vssbench.cost.blank import building_on
from vssbench.cost.steps import count_method_macs
from vssbench.errors import ConfigError
from vssbench.experiment.validation import validate
from vssbench.method import BuildContext
from vssbench.networks import create
from vssbench.ops import predict_labels

SIZE = (32, 48)
TD2 = {"network": "bisenet18", "width": 8, "paths": 2, "teacher": {"width": 8}}


@pytest.mark.parametrize("check", sorted(CHECKS))
def test_tdnet_keeps_its_contract(check):
    CHECKS[check].examine(Subject("tdnet", TD2, SIZE, keyframe_interval=3))


def build(size=SIZE, classes=4, device="cpu", **options) -> TDNet:
    torch.manual_seed(0)
    checked = validate(TDNet.Options, {"network": "bisenet18", "width": 8, **options}, where="method")
    with building_on(device):
        method = TDNet(checked, BuildContext(classes, size, 12, torch.device(device)))
    for part in method.parts().values():
        part.eval()
    return method


def clip(method, seed=1, interval=4):
    return make_clip(Subject("tdnet", {}, SIZE, keyframe_interval=interval), method.needs, seed=seed)


@pytest.mark.parametrize("network", ["bisenet18", "pspnet18-cityscapes", "pspnet18-camvid"])
def test_one_path_equals_the_single_network(network):
    method = build(network=network, paths=1)
    assert list(method.parts()) == ["path0"]
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in method.normalisation[:2])
    frames = clip(method)
    for frame, prediction in zip(frames, run_clip(method, frames), strict=True):
        with torch.no_grad():
            output = method.networks[0]((frame.image / 255 - mean) / deviation)
        assert torch.equal(prediction.labels, predict_labels(output, SIZE))


def test_equal_paths_that_bring_nothing_equal_the_single_network():
    method = build(paths=4, norm="none", initialisation="identity")
    single = build(paths=1)
    for network in method.networks:
        network.load_state_dict(single.networks[0].state_dict())
    for path in method.exchange.paths:
        for link in path.links:
            nn.init.zeros_(link.weight)
    frames = clip(method)
    alone = run_clip(single, [frame for frame in frames if frame.index >= 0])
    for ours, theirs in zip(run_clip(method, frames), alone, strict=True):
        assert torch.equal(ours.labels, theirs.labels)


def test_attention_is_a_softmax_average():
    query, key = torch.zeros(1, 3, 2), torch.randn(1, 5, 2)
    value = torch.arange(10.0).view(1, 5, 2)
    assert torch.allclose(attend(query, key, value), torch.tensor([4.0, 5.0]).expand(1, 3, 2))
    key = torch.zeros(1, 5, 2)
    key[0, 3, 0] = 1000.0
    sharp = attend(torch.ones(1, 1, 2), key, value)
    assert torch.equal(sharp[0, 0], value[0, 3])


def test_the_chain_visits_the_oldest_frame_first():
    """Three frames of four, written out: a12, a23, then the current frame's query on v3 + a23."""
    torch.manual_seed(1)
    exchange = Exchange(4, 6, 3, 1, "none", None, 0.1).eval()
    maps = [torch.randn(1, 6, 2, 3) for _ in range(4)]
    with torch.no_grad():
        past = [exchange.remember(i, maps[i]) for i in range(3)]
        value, gathered = exchange.gather(3, maps[3], past)
        layers = exchange.path(3)
        query = layers.query(maps[3]).flatten(2).transpose(1, 2)

        def attention(q, k, v, link):
            weights = torch.softmax(q @ k.transpose(1, 2) / 3**0.5, -1)
            return link(weights @ v)

        a12 = attention(past[1].query, past[0].key, past[0].value, layers.links[0])
        a23 = attention(past[2].query, past[1].key, past[1].value + a12, layers.links[1])
        a34 = attention(query, past[2].key, past[2].value + a23, layers.links[2])
    expected = layers.value(maps[3]) + a34.transpose(1, 2).view(1, 6, 2, 3)
    torch.testing.assert_close(gathered, expected)
    torch.testing.assert_close(value, layers.value(maps[3]))
    assert not torch.allclose(value, gathered)


def test_paths_follow_the_position_in_the_sequence(monkeypatch):
    method = build(paths=2)
    used = []
    original = method.encode
    monkeypatch.setattr(method, "encode", lambda path, image: used.append(path) or original(path, image))
    frames = [replace(frame, time=frame.index + 7) for frame in clip(method)]
    run_clip(method, frames)
    assert used == [0, 1, 0, 1, 0]  # frames 6 (history), 7, 8, 9, 10


def test_the_labelled_frame_is_served_by_every_path_in_turn():
    method = build(paths=4)
    stage = method.stages()[1]
    assert (stage.name, stage.recipe, stage.window) == ("window", "window", 3)
    batch = make_batch(Subject("tdnet", {}, SIZE), stage)
    losses = [stage.compute_loss(replace(batch, step=step))["segmentation"].item() for step in range(4)]
    assert len(set(losses)) == 4
    again = stage.compute_loss(replace(batch, step=4))["segmentation"].item()
    assert again == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize(
    ("network", "loss", "carried"),
    [
        ("bisenet18", "ohem", 1.0),
        ("bisenet18", "cross-entropy", 1.0),  # 0.4 of it stays, see the README
        ("pspnet18-cityscapes", "ce+aux", 0.4),
    ],
)
@pytest.mark.parametrize("stage_name", ["window", "distillation"])
def test_auxiliary_heads_count_a_tenth(network, loss, carried, stage_name):
    method = build(network=network, loss=loss, paths=2, dropout=0.0, teacher={"width": 8, "network": network})
    stage = next(stage for stage in method.stages() if stage.name == stage_name)
    batch = make_batch(Subject("tdnet", {}, SIZE), stage)
    terms = stage.compute_loss(batch)
    output, _ = TDNetTraining(method)._forward(batch)
    raw = output.losses(loss, batch.label, batch.class_weights)
    heads = sum(value.item() for name, value in raw.items() if name.startswith("auxiliary"))
    assert heads > 0
    assert terms["auxiliary"].item() == pytest.approx(0.1 / carried * heads, rel=1e-5)
    assert terms["segmentation"].item() == pytest.approx(raw["segmentation"].item(), rel=1e-5)


def test_the_image_level_term_of_the_camvid_pspnet_keeps_its_weight():
    method = build(network="pspnet18-camvid", paths=2, dropout=0.0)
    stage = method.stages()[1]
    batch = make_batch(Subject("tdnet", {}, SIZE), stage)
    output, _ = TDNetTraining(method)._forward(batch)
    raw = output.losses("nll+presence", batch.label, batch.class_weights)
    terms = stage.compute_loss(batch)
    assert terms["presence"].item() == pytest.approx(raw["presence"].item(), rel=1e-5)
    assert "auxiliary" not in terms


def test_distillation_from_the_network_itself_starts_at_zero_divergence():
    method = build(paths=2, norm="none", initialisation="identity", teacher={"width": 8}, dropout=0.0)
    for network in method.networks:
        network.load_state_dict(method.teacher.state_dict())
    for path in method.exchange.paths:
        for link in path.links:
            nn.init.zeros_(link.weight)
    stage = method.stages()[2]
    terms = stage.compute_loss(make_batch(Subject("tdnet", {}, SIZE), stage))
    assert set(terms) == {"segmentation", "sub", "auxiliary", "teacher", "teacher_sub"}
    assert terms["teacher"].item() == pytest.approx(0, abs=1e-6)
    assert terms["sub"].item() == pytest.approx(terms["segmentation"].item() / 2, rel=1e-5)


@pytest.mark.parametrize("paths", [2, 4])
def test_measured_cost_equals_the_analytic_formula(paths):
    method = build(size=(64, 96), paths=paths, device="meta")
    base = count_macs(create("bisenet18", 4, width=8), torch.zeros(1, 3, 64, 96)).total
    extra = attention_macs((8, 12), 32, 8, paths, 3)
    cost = count_method_macs(method)
    assert cost.key == cost.non_key == base + sum(extra.values())


def test_published_sizes_cost_what_the_specification_says():
    """Section 5: at 512 channels of /8 the exchange is 16.2 G on CamVid and 107.1 G on Cityscapes, queries on one grid."""
    for size, encoding, memory, products, links in (
        ((90, 120), 3.2, 0.4, 9.1, 3.5),
        ((128, 256), 9.8, 1.2, 85.5, 10.5),
    ):
        parts = {name: macs / 1e9 for name, macs in attention_macs(size, 512, 64, 4, 3).items()}
        assert parts["encoding"] == pytest.approx(encoding, abs=0.1)
        assert parts["memory"] == pytest.approx(memory, abs=0.1)
        assert parts["products"] == pytest.approx(products, rel=0.02)
        assert parts["links"] == pytest.approx(links, abs=0.15)


def test_td4_on_bisenet_costs_between_11_and_12_tenths():
    ratio = {}
    for paths in (1, 4):
        method = build(size=(720, 960), classes=12, device="meta", width=64, paths=paths)
        ratio[paths] = count_method_macs(method).gop_mean
    assert 1.1 < ratio[4] / ratio[1] < 1.2


def test_networks_without_a_recipe_are_refused_by_name():
    with pytest.raises(ConfigError, match="no paths of 'swiftnet18'"):
        build(network="swiftnet18")


def test_exchanged_at_the_feature_psp18_costs_what_the_table_says():
    """Specification section 0.5: TD4-PSP18 on Cityscapes is 1.20 of its base."""
    shape = {"size": (1024, 2048), "classes": 19, "device": "meta", "width": 64}
    method = build(network="pspnet18-cityscapes", exchange_at="feature", **shape)
    assert count_method_macs(method).gop_mean / 539.98e9 == pytest.approx(1.20, abs=0.01)
