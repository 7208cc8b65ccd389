"""ESPNetv2 against its authors' network, and their files in our names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vssbench.cost import count_macs
from vssbench.errors import CheckpointError, ConfigError
from vssbench.networks import create, load_weights
from vssbench.networks.espnetv2_release import CITYSCAPES, espnetv2_key, load_espnetv2
from vssbench.networks.release import convert_release
from vssbench.networks.weights import read_metadata

FACTORS = {"0.5": 32, "1.0": 64, "2.0": 128}
UNUSED = "base_net.level3_0.eesp.module_act.weight"


@pytest.fixture
def released(shared: Path) -> Path:
    folder = shared / "data" / "weights" / "espnetv2"
    if not folder.is_dir():
        pytest.skip("no released ESPNetv2 weights")
    return folder


@pytest.mark.needs_shared
@pytest.mark.parametrize("size", ["1024x512", "512x256"])
@pytest.mark.parametrize("factor", FACTORS)
def test_logits_are_those_of_the_authors_network(released, factor, size):
    name = f"espnetv2-{factor}-cityscapes-{size}"
    network = create("espnetv2", 20, width=FACTORS[factor]).eval()
    load_espnetv2(network, released / f"{name}.pth")
    wanted = torch.from_numpy(np.load(released / f"{name}.npz")["logits"])
    with torch.no_grad():
        found = network(torch.from_numpy(np.load(released / "input.npy")))
    assert float((found - wanted).abs().max()) < 2e-5 * float(wanted.abs().max())


@pytest.mark.needs_shared
def test_converted_weights_answer_as_the_released_ones_without_the_background(released, tmp_path):
    name = "espnetv2-0.5-cityscapes-512x256"
    convert_release(released, tmp_path / "out")
    path = tmp_path / "out" / f"{name}.safetensors"
    network = create("espnetv2", 19, width=32).eval()
    load_weights(network, path)
    wanted = np.load(released / f"{name}.npz")["logits"][:, :19]
    with torch.no_grad():
        found = network(torch.from_numpy(np.load(released / "input.npy"))).numpy()
    assert np.abs(found - wanted).max() < 2e-5 * np.abs(wanted).max()
    metadata = read_metadata(path)
    assert metadata is not None
    assert (metadata.class_names, metadata.size, metadata.lr_scale) == (CITYSCAPES, (1024, 2048), 0.25)
    assert metadata.licence.startswith("MIT")


@pytest.mark.parametrize(("width", "gmacs"), [(32, 0.60), (64, 1.09), (128, 2.70)])
def test_costs_are_the_published_ones(width, gmacs):
    with torch.device("meta"):
        network = create("espnetv2", 20, width=width).eval()
    total = count_macs(network, torch.empty(1, 3, 512, 1024, device="meta")).total
    assert total / 1e9 == pytest.approx(gmacs, rel=0.03)


def state_of(width: int) -> dict[str, torch.Tensor]:
    """A state dict as released: with a 20th class and activations that never run."""
    network = create("espnetv2", 20, width=width)
    return {espnetv2_key(name): value for name, value in network.state_dict().items()} | {
        UNUSED: torch.ones(4)
    }


def test_every_parameter_has_a_key_of_its_own():
    network = create("espnetv2", 20, width=32)
    assert len({espnetv2_key(name) for name in network.state_dict()}) == len(network.state_dict())


def test_files_are_converted_under_their_names(tmp_path):
    torch.save(state_of(32), tmp_path / "espnetv2_s_0.5_city_512x256.pth")
    (one,) = convert_release(tmp_path, tmp_path / "out")
    assert (one.name, one.network, one.classes) == ("espnetv2_s_0.5_city_512x256", "espnetv2", 19)
    load_weights(create("espnetv2", 19, width=32), tmp_path / "out" / one.file)


def test_a_file_of_another_width_is_refused(tmp_path):
    torch.save(state_of(64), tmp_path / "espnetv2_0.5_city_512x256.pth")
    with pytest.raises(CheckpointError, match="mis-shaped"):
        convert_release(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("width", [8, 48, 72, 144])
def test_widths_that_four_groups_do_not_divide_are_refused(width):
    with pytest.raises(ConfigError, match="expected 32"):
        create("espnetv2", 19, width=width)


@pytest.mark.parametrize("size", [(64, 96), (45, 67), (33, 16)])
def test_any_sides_are_taken(size):
    network = create("espnetv2", 5, width=32).eval()
    with torch.no_grad():
        feature = network.features(torch.randn(1, 3, *size))
        assert tuple(network(torch.randn(1, 3, *size)).shape) == (1, 5, *size)
    assert tuple(feature.shape[-2:]) == network.feature_size(size)
