"""The weights of a method decide how its pixels are normalised, wherever the frames lie; what contradicts is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vssbench
from vssbench.dataset import IMAGENET
from vssbench.datasets.camvid import NAMES, VOID, CamVid
from vssbench.engine.build import build_method
from vssbench.errors import CheckpointError, ConfigError
from vssbench.experiment.schema import MethodSpec
from vssbench.method import BuildContext, Frame
from vssbench.networks import create, load_weights, save_weights
from vssbench.networks.weights import WeightsMetadata
from vssbench.ops import normalise_image
from vssbench.records import Normalisation
from vssbench.registry import datasets

SIZE = (64, 96)
CAMVID = CamVid.normalisation
CODEC = {"label": "c", "codec": "h264", "qp": 20, "preset": "ultrafast", "references": 1}


def weights(path: Path, **said: object) -> str:
    """A network with varied answers, and what its file says."""
    torch.manual_seed(3)
    network = create("bisenet18", 11, width=4).train()
    for _ in range(10):  # statistics of batch normalisation, so that predictions vary over the image
        network(torch.rand(2, 3, *SIZE))
    return str(save_weights(network, path, WeightsMetadata.describing(network, **said)))


def build(reference: str | dict[str, str], name: str = "constant", **options: object):
    chosen = {"network": reference} if isinstance(reference, str) else reference
    spec = MethodSpec.model_validate(
        {"label": "mine", "name": name, "network": "bisenet18", "width": 4, "weights": chosen, **options}
    )
    return build_method(spec, BuildContext(11, SIZE, 4, torch.device("cpu")))


def labels(method) -> torch.Tensor:
    image = torch.randint(
        0, 256, (1, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    frame = Frame(index=0, keyframe_distance=0, image=image, frame_type="I", size=SIZE)
    return method.step(method.begin(1), frame)[0].labels


def two_layouts(root: Path) -> list[dict[str, object]]:
    """The same frames and labels as CamVid of 480x360 and as a folder of one's own."""
    streets = datasets.load("synthetic")
    sequence = streets(streets.Options(sequences=1, frames=4, size=SIZE)).sequences("val")[0]
    (root / "folder").mkdir(parents=True)
    for i in range(len(sequence)):
        for kind, picture in (("frames", sequence.image(i)), ("labels", sequence.label(i))):
            for place in (root / "camvid" / "val_sequence" / kind, root / "folder" / kind):
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(place / f"0016E5_{7959 + 2 * i:05d}.png")
    return described(root)


def described(root: Path) -> list[dict[str, object]]:
    """Both layouts below `root`, the folder with CamVid's class names."""
    rows = [f"{name},{i},{i},{i}" for i, name in enumerate(NAMES)]
    (root / "folder" / "classes.csv").write_text("\n".join(["name,red,green,blue", *rows]))
    return [
        {"label": "camvid", "name": "camvid", "root": str(root / "camvid")},
        {"label": "folder", "name": "folder", "root": str(root / "folder"), "label_format": "index"},
    ]


def counts(
    entries: list[dict[str, object]], place: Path, **more: object
) -> tuple[vssbench.Run, dict[str, np.ndarray]]:
    values = {
        "datasets": entries,
        "codecs": [CODEC],
        "protocol": {"kind": "stream", "keyframe_interval": 4},
        "methods": [
            {"label": "m", "name": "constant", "width": 24, "weights": {"network": "camvid480/hr"}, **more}
        ],
        "measure": {"macs": False},
    }
    run = vssbench.run(values, place / "run", workers=1, cache=place / "cache", device="cpu")
    return run, {group.dataset: group.total for group in run.groups}


def test_shipped_weights_answer_alike_in_a_folder_of_ones_own(tmp_path):
    """`folder` has ImageNet's constants and CamVid its own; the weights say CamVid's."""
    both = two_layouts(tmp_path)
    run, total = counts(both, tmp_path)
    np.testing.assert_array_equal(total["folder"], total["camvid"])
    assert (total["camvid"].sum(axis=(0, 1)) > 0).sum() > 1, (
        "several classes must be predicted for this to mean anything"
    )
    assert any("trained on frames of 360x480 and runs on 64x96" in line for line in run.warnings)
    assert not any("normalis" in line for line in run.warnings)


def test_an_option_that_contradicts_the_weights_is_followed_and_said(tmp_path):
    both = two_layouts(tmp_path)
    _, plain = counts(both[:1], tmp_path / "a")
    run, other = counts(
        both[:1], tmp_path / "b", normalisation=[list(IMAGENET.mean), list(IMAGENET.deviation)]
    )
    assert not np.array_equal(plain["camvid"], other["camvid"])
    assert any("the option normalisation" in line and "contradicts" in line for line in run.warnings)


def test_the_real_sequence_scores_alike_in_a_folder(shared, tmp_path):
    """The first twelve of the 101 frames; with the constants of `folder` the score is less than half."""
    source = shared / "data" / "camvid" / "val_sequence"
    for kind in ("frames", "labels"):
        (tmp_path / "camvid" / "val_sequence" / kind).mkdir(parents=True)
        (tmp_path / "folder" / kind).mkdir(parents=True)
        for picture in sorted((source / kind).iterdir())[:12]:
            (tmp_path / "camvid" / "val_sequence" / kind / picture.name).symlink_to(picture)
            pixels = np.array(Image.open(picture))
            if kind == "labels":
                pixels[pixels == VOID] = 255
            Image.fromarray(pixels).save(tmp_path / "folder" / kind / picture.name)
    both = described(tmp_path)
    run, total = counts(both, tmp_path)
    np.testing.assert_array_equal(total["folder"], total["camvid"])
    wrong = {"normalisation": [list(IMAGENET.mean), list(IMAGENET.deviation)]}
    misread, _ = counts(both[:1], tmp_path / "wrong", **wrong)
    assert run.groups[0].miou > 0.35
    assert misread.groups[0].miou < run.groups[0].miou / 2


def test_values_in_bytes_and_blue_first_reach_the_network(tmp_path):
    rgb = normalise_image(torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1), CAMVID)
    wanted = Normalisation(
        tuple(255 * v for v in reversed(CAMVID.mean)),
        tuple(255 * v for v in reversed(CAMVID.deviation)),
        255,
        "BGR",
    )
    bgr = normalise_image(torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1), wanted)
    torch.testing.assert_close(bgr.flip(1), rgb)
    method = build(weights(tmp_path / "w.safetensors", normalisation=wanted))
    assert method.normalisation == wanted


def test_a_network_trained_on_bgr_answers_as_its_twin_with_turned_filters(tmp_path):
    """Turning the input's channels and the first filters' channels is the same network."""
    plain = weights(tmp_path / "rgb.safetensors", normalisation=CAMVID)
    turned = create("bisenet18", 11, width=4)
    load_weights(turned, plain)
    with torch.no_grad():
        for module in turned.modules():
            if isinstance(module, torch.nn.Conv2d) and module.in_channels == 3:
                module.weight.copy_(module.weight.flip(1))
    reversed_constants = Normalisation(CAMVID.mean[::-1], CAMVID.deviation[::-1], 1, "BGR")
    said = WeightsMetadata.describing(turned, normalisation=reversed_constants)
    twin = str(save_weights(turned, tmp_path / "bgr.safetensors", said))
    found = labels(build(plain))
    assert len(found.unique()) > 1
    assert torch.equal(labels(build(twin)), found)


def test_weights_that_say_nothing_take_the_default_and_that_is_said(tmp_path):
    method = build(weights(tmp_path / "w.safetensors"))
    assert method.normalisation == IMAGENET
    assert len(method.remarks) == 1
    assert "do not say how pixels are normalised; the default of the dataset is used" in method.remarks[0]


def test_parts_that_want_different_pixels_are_refused_by_name(tmp_path):
    one = weights(tmp_path / "one.safetensors", normalisation=CAMVID)
    other = weights(tmp_path / "other.safetensors", normalisation=IMAGENET)
    parts = {"path0": one, "path1": other}
    with pytest.raises(
        CheckpointError, match=r"mine: its weights want different pixels: part path0.*part path1"
    ):
        build(parts, "tdnet", paths=2)
    decided = build(parts, "tdnet", paths=2, normalisation=[list(CAMVID.mean), list(CAMVID.deviation)])
    assert decided.normalisation == CAMVID
    assert [("path1" in r, "contradicts" in r) for r in decided.remarks] == [(True, True)]


def test_the_same_constants_in_the_other_range_are_no_contradiction(tmp_path):
    in_bytes = Normalisation(
        tuple(255 * v for v in CAMVID.mean), tuple(255 * v for v in CAMVID.deviation), 255
    )
    one = weights(tmp_path / "one.safetensors", normalisation=CAMVID)
    other = weights(tmp_path / "other.safetensors", normalisation=in_bytes)
    assert build({"path0": one, "path1": other}, "tdnet", paths=2).normalisation == CAMVID


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ([[0, 0, 0], [1, 1, 0]], "must be positive"),
        ([[0, 0, float("nan")], [1, 1, 1]], "finite"),
        ({"mean": [0, 0, 0], "deviation": [1, 1, 1], "value_range": 7}, "1 or 255"),
        ({"mean": [0, 0, 0], "deviation": [1, 1, 1], "channel_order": "YUV"}, "RGB"),
    ],
)
def test_constants_that_cannot_be_meant_are_refused(option, words):
    with pytest.raises(ConfigError, match=words):
        MethodSpec.model_validate({"name": "constant", "normalisation": option}).options()


def test_another_scale_and_another_size_are_remarked(tmp_path):
    said = {"normalisation": IMAGENET, "size": (360, 480), "lr_scale": 0.5}
    remarks = build(weights(tmp_path / "w.safetensors", **said), lr_scale=1.0).remarks
    assert [r.split(": ", 1)[1] for r in remarks] == [
        "network was trained at lr_scale 0.5 and runs at 1",
        "network was trained on frames of 360x480 and runs on 64x96",
    ]
    said["size"] = SIZE
    assert build(weights(tmp_path / "v.safetensors", **said), lr_scale=0.5).remarks == ()


def test_parts_without_weights_are_untrained(tmp_path):
    hr = weights(tmp_path / "hr.safetensors", normalisation=IMAGENET)
    assert build({"hr": hr}, "ar-seg").untrained == ("lr",)
    assert build({}, "ar-seg").untrained == ("hr", "lr")
    assert build(hr).untrained == ()
    assert build({"path0": hr, "path1": hr}, "tdnet", paths=2).untrained == ("exchange",)
