"""Weights for other classes than the dataset's: answers turned by a table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vssbench.class_tables import named_table
from vssbench.engine.build import build_method
from vssbench.engine.class_map import CLASS_MAPS, mapped_indices
from vssbench.errors import ConfigError
from vssbench.experiment.schema import MethodSpec
from vssbench.method import BuildContext, Frame
from vssbench.networks import create, save_weights
from vssbench.networks.espnetv2_release import CITYSCAPES
from vssbench.networks.weights import WeightsMetadata

CPU = torch.device("cpu")
CAMVID = ("sky", "building", "pole", "road", "pavement", "tree", "signsymbol", "fence", "car", "pedestrian", "bicyclist")  # fmt: skip


def test_the_table_of_cityscapes_covers_both_datasets():
    indices = mapped_indices("cityscapes-camvid", CITYSCAPES, CAMVID, "method a")
    assert len(indices) == 19
    assert set(indices) == set(range(11))
    assert [CAMVID[i] for i in indices][:3] == ["road", "pavement", "building"]
    assert list(CLASS_MAPS["cityscapes-camvid"]) == list(CITYSCAPES)


@pytest.mark.parametrize(
    ("table", "theirs", "ours"),
    [
        ("cityscapes-camvid", "cityscapes19", "camvid11"),
        ("camvid-cityscapes", "camvid11", "cityscapes19"),
        ("cityscapes-vspw", "cityscapes19", "vspw124"),
    ],
)
def test_packaged_tables_lead_from_one_packaged_class_table_to_another(table, theirs, ours):
    source, target = named_table(theirs).names, named_table(ours).names
    indices = mapped_indices(table, source, target, "method a")
    assert [target[i] for i in indices] == [CLASS_MAPS[table][name] for name in source]
    assert set(CLASS_MAPS[table]) == set(source)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("cityscapes-camvit", "did you mean cityscapes-camvid"),
        ({"a": "x"}, "says nothing of 'b'"),
        ({"a": "x", "b": "z"}, "into 'z', which the dataset does not have"),
    ],
)
def test_what_a_table_lacks_is_named(table, message):
    with pytest.raises(ConfigError, match=message):
        mapped_indices(table, ("a", "b"), ("x", "y"), "method a")


def test_answers_are_those_of_the_weights_in_the_datasets_classes(tmp_path: Path):
    torch.manual_seed(1)
    network = create("swiftnet18", 3, width=8).eval()
    path = save_weights(
        network, tmp_path / "w.safetensors", WeightsMetadata.describing(network, class_names=("a", "b", "c"))
    )
    base = {"name": "constant", "network": "swiftnet18", "width": 8, "weights": {"network": str(path)}}
    frame = Frame(0, 0, torch.randint(0, 255, (1, 3, 64, 96), dtype=torch.uint8), "I", (64, 96))
    context = BuildContext(3, (64, 96), 4, CPU)
    plain = build_method(MethodSpec.model_validate(base), context, ("a", "b", "c"))
    table = {"a": "y", "b": "x", "c": "y"}
    mapped = build_method(
        MethodSpec.model_validate({**base, "class_map": table}),
        BuildContext(2, (64, 96), 4, CPU),
        ("x", "y"),
    )
    (theirs,), (ours,) = plain.step(plain.begin(1), frame), mapped.step(mapped.begin(1), frame)
    assert len(set(theirs.labels.unique().tolist())) > 1
    assert torch.equal(ours.labels, torch.tensor([1, 0, 1], dtype=torch.uint8)[theirs.labels.long()])
