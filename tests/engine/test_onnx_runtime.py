"""Networks run by ONNX Runtime answer as torch's do; what cannot be exported is refused by name; files say what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import vssbench
from vssbench.cli import app
from vssbench.conformance.clips import Subject, make_clip
from vssbench.engine import onnx_runtime
from vssbench.engine.build import build_method
from vssbench.engine.inference import check_inference
from vssbench.errors import CapabilityError, ConfigError
from vssbench.experiment.schema import InferenceOptions, MethodSpec
from vssbench.method import BuildContext, Method
from vssbench.networks import create, save_weights
from vssbench.networks.weights import WeightsMetadata

CPU = torch.device("cpu")
ONNX = {"runtime": "onnxruntime"}
LEAST_EQUAL = 0.999
"""Share of pixels: random networks have near ties, and rounding decides them."""


@pytest.fixture
def ort() -> Any:
    pytest.importorskip("onnx")
    return pytest.importorskip("onnxruntime")


def build(name: str, inference: dict[str, Any] | None = None, **options: Any) -> Method:
    spec = MethodSpec.model_validate({"name": name, "width": 8, **options, "inference": inference or {}})
    return build_method(spec, BuildContext(4, (64, 96), 3, CPU, seed=3))


def labels(method: Method) -> list[np.ndarray]:
    frames = make_clip(Subject(method.label, {}, size=(64, 96), keyframe_interval=3), method.needs, seed=5)
    with torch.inference_mode():
        state = method.begin(1)
        return [one.labels.numpy() for frame in frames for one in method.step(state, frame)]


@pytest.mark.parametrize("network", ["lite0", "bisenet18", "deeplab18"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("constant", {"lr_scale": 0.5, "mode": "corrected"}),
        ("warp-only", {}),
        ("ar-seg", {"mode": "corrected", "window": 1}),
    ],
)
def test_labels_are_those_of_torch(ort, name, options, network):
    plain = labels(build(name, network=network, **options))
    tuned = labels(build(name, ONNX, network=network, **options))
    assert len(plain) == len(tuned) == 3
    equal = [float(np.mean(one == other)) for one, other in zip(plain, tuned, strict=True)]
    assert min(equal) >= LEAST_EQUAL


def test_each_size_of_input_has_a_session_of_its_own(ort):
    method = build("constant", ONNX, network="bisenet18")
    (sessions,) = onnx_runtime.run_by_onnx(method, "again")
    for sides in ((64, 96), (32, 64), (64, 96)):
        method.network.partial(torch.zeros(2, 3, *sides))
    assert set(sessions.made) == {(3, 64, 96), (3, 32, 64)}
    assert sessions.calls == 3


def test_a_network_without_a_counterpart_is_refused_by_name(ort):
    with pytest.raises(
        CapabilityError, match=r"method constant, inference\.runtime: network light-fpn18 cannot be exported"
    ):
        build("constant", ONNX, network="light-fpn18")


def test_methods_that_take_networks_apart_are_refused(ort):
    with pytest.raises(ConfigError, match="which ONNX Runtime cannot"):
        build("blockcopy", ONNX, network="bisenet18", block=32, policy_width=2)
    method = build("clockwork", ONNX, network="fcn18")
    with pytest.raises(CapabilityError, match="does not run its networks by their halves"):
        labels(method)


@pytest.mark.parametrize("more", [{"autocast": "bf16"}, {"compile": True}])
def test_what_excludes_it_is_refused(more):
    with pytest.raises(ConfigError, match=r"inference\.runtime: onnxruntime runs float32 on the CPU"):
        check_inference(InferenceOptions(runtime="onnxruntime", **more), CPU, "a")


def test_absent_packages_are_named(monkeypatch):
    monkeypatch.setattr(onnx_runtime, "find_spec", lambda name: None)
    with pytest.raises(CapabilityError, match=r"pip install 'vssbench\[onnx\]'"):
        check_inference(InferenceOptions(runtime="onnxruntime"), CPU, "a")


def test_a_run_measures_both_runtimes_side_by_side(ort, tmp_path):
    method = {"name": "constant", "network": "bisenet18", "width": 8, "mode": "corrected"}
    experiment = {
        "datasets": [{"name": "synthetic", "sequences": 1, "frames": 4, "size": [64, 96]}],
        "codecs": [
            {"label": "h264", "codec": "h264", "bitrate_kbps": 60, "preset": "ultrafast", "references": 1}
        ],
        "protocol": {"kind": "stream", "keyframe_interval": 4},
        "pictures": {"per_codec": 0},
        "methods": [{**method, "label": "torch"}, {**method, "label": "onnx", "inference": ONNX}],
    }
    run = vssbench.run(experiment, tmp_path / "run", workers=1, cache=tmp_path / "cache", device="cpu")
    assert run.complete
    by_title = {group.method: group for group in run.groups}
    assert by_title["torch"].decoded_digests == by_title["onnx"].decoded_digests
    assert run.costs["synthetic", "onnx"].gop_mean_gmacs == run.costs["synthetic", "torch"].gop_mean_gmacs


def test_exported_files_give_the_networks_scores_and_say_what_they_are(ort, tmp_path):
    torch.manual_seed(2)
    network = create("bisenet18", 3, width=8).eval()
    metadata = WeightsMetadata.describing(network, class_names=("a", "b", "c"), licence="MIT")
    weights = save_weights(network, tmp_path / "w.safetensors", metadata)
    options = [f"--set={key}" for key in ("width=8", "mode=corrected", f"weights.network={weights}")]
    told = CliRunner().invoke(
        app, ["export", "constant", "-o", str(tmp_path / "out"), "--size", "60x90", *options]
    )
    assert told.exit_code == 0, told.output
    assert told.output.split() == [
        str(tmp_path / "out" / f"network-{half}.onnx") for half in ("features", "classifier")
    ]
    features, classifier = (
        ort.InferenceSession(path, providers=["CPUExecutionProvider"]) for path in told.output.split()
    )
    about = features.get_modelmeta().custom_metadata_map
    assert (about["classes"], about["licence"], about["half"]) == ('["a", "b", "c"]', "MIT", "features")
    image = torch.randn(2, 3, 64, 96)  # padded from 60x90
    (feature,) = features.run(None, {"image": image.numpy()})
    (logits,) = classifier.run(None, {"feature": feature})
    with torch.no_grad():
        wanted = network.classifier(network.features(image)).numpy()
    assert np.abs(logits - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_without_the_packages_an_export_is_refused(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(onnx_runtime, "find_spec", lambda name: None)
    told = CliRunner().invoke(app, ["export", "constant", "-o", str(tmp_path / "out")])
    assert isinstance(told.exception, CapabilityError)
    assert not (tmp_path / "out").exists()
