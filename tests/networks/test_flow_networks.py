"""Flow networks: published cost, grids, units, and a start that moves and scales nothing much."""

from __future__ import annotations

import pytest
import torch

from vssbench.cost import count_macs
from vssbench.cost.blank import building_on
from vssbench.errors import CheckpointError, ConfigError
from vssbench.networks import create_flow_network
from vssbench.networks.flow import FlowNetS, TinyFlowNet
from vssbench.networks.weights import WeightsMetadata, load_weights, save_weights


@pytest.mark.parametrize(
    ("size", "grid", "gmacs"), [((720, 960), (45, 60), 14.2), ((1024, 2048), (64, 128), 42.0)]
)
def test_flownet_s_costs_what_the_specification_computed(size, grid, gmacs):
    with building_on("meta"):
        network = create_flow_network("flownet-s", width=64).eval()
    image = torch.empty(1, 3, *size, device="meta")
    assert count_macs(network, image, image, grid).gmacs == pytest.approx(gmacs, abs=0.05)


def test_the_joint_map_of_flownet_s_has_194_channels_at_stride_8():
    with building_on("meta"):
        maps = FlowNetS().eval().motion(torch.empty(1, 6, 720, 960, device="meta"))
    assert tuple(maps.shape) == (1, 194, 90, 120)


@pytest.mark.parametrize("size", [(64, 96), (75, 101), (33, 40)])
@pytest.mark.parametrize("grid_stride", [4, 8, 16])
@pytest.mark.parametrize(("name", "width"), [("flownet-s", 8), ("flownet-tiny", 4)])
def test_any_frame_size_and_any_grid_get_a_flow(name, width, size, grid_stride):
    grid = (-(-size[0] // grid_stride), -(-size[1] // grid_stride))
    network = create_flow_network(name, width=width, scale_field=5).eval()
    with torch.no_grad():
        estimate = network(torch.randn(2, 3, *size), torch.randn(2, 3, *size), grid)
    assert tuple(estimate.flow.shape) == (2, 2, *grid)
    assert tuple(estimate.scale.shape) == (2, 5, *grid)


@pytest.mark.parametrize("network_class", [FlowNetS, TinyFlowNet])
def test_the_scale_field_starts_at_one(network_class):
    network = network_class(width=4, scale_field=3).eval()
    with torch.no_grad():
        scale = network(torch.randn(1, 3, 64, 64), torch.randn(1, 3, 64, 64), (8, 8)).scale
    assert torch.equal(scale, torch.ones_like(scale))


def test_weights_of_a_flow_network_are_stored_and_checked(tmp_path):
    torch.manual_seed(0)
    first, second = (create_flow_network("flownet-tiny", width=4, scale_field=1) for _ in range(2))
    path = save_weights(first, tmp_path / "flow.safetensors", WeightsMetadata.describing(first))
    assert load_weights(second, path) == WeightsMetadata("flownet-tiny", 4, 0)
    assert torch.equal(first.conv1[0].weight, second.conv1[0].weight)
    with pytest.raises(CheckpointError, match="network flownet-tiny"):
        load_weights(create_flow_network("flownet-s", width=4), path)


def test_impossible_flow_networks_are_refused():
    for name, width, words in (("flownet", 8, "did you mean flownet-"), ("flownet-s", 0, "width = 0")):
        with pytest.raises(ConfigError, match=words):
            create_flow_network(name, width=width)
