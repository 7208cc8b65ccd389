"""The halves of a method's segmentation networks as ONNX: run by ONNX Runtime on the CPU, or written to files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vssbench.errors import CapabilityError
from vssbench.files import write_atomically
from vssbench.method import Method
from vssbench.networks.network import Cut, Partial, SegmentationNetwork

Half = Literal["features", "classifier"]
_OPSET = 18


def require_onnx(where: str) -> None:
    """Raise CapabilityError naming the extra unless both packages are installed."""
    for package in ("onnx", "onnxruntime"):
        if find_spec(package) is None:
            raise CapabilityError(f"{where}: needs the package {package}; pip install 'vssbench[onnx]'")


def networks_of(method: Method) -> Iterator[tuple[str, SegmentationNetwork]]:
    """(part, network) of a method's segmentation networks."""
    for part, module in method.parts().items():
        for inner in module.modules():
            if isinstance(inner, SegmentationNetwork):
                yield part, inner


class _Features(nn.Module):
    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """As the class runs it: the instance's own may be replaced."""
        return type(self.network).partial(self.network, image).feature


class _Classifier(nn.Module):
    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.convolution = network.classifier

    def forward(self, feature: Tensor) -> Tensor:
        """The convolution itself."""
        return type(self.convolution).forward(self.convolution, feature)


def export_half(network: SegmentationNetwork, half: Half, shape: tuple[int, ...], title: str) -> bytes:
    """ONNX model of one half of a network in eval mode for inputs [any, *shape[1:]].

    Raises CapabilityError naming `title` and the network if an operator of it has no counterpart there.
    """
    module = (_Features if half == "features" else _Classifier)(network).eval()
    names = ("image", "feature") if half == "features" else ("feature", "logits")
    buffer: Any = io.BytesIO()
    try:
        with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (torch.zeros(shape),),
                buffer,
                dynamo=False,
                opset_version=_OPSET,
                input_names=[names[0]],
                output_names=[names[1]],
                dynamic_axes={name: {0: "batch"} for name in names},
            )
    except (
        Exception
    ) as error:  # the exporter fails in many ways; its last lines say why, the rest is the graph
        said = [
            line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("  ")
        ]
        raise CapabilityError(
            f"{title}: network {network.name} cannot be exported to ONNX ({type(error).__name__}: {said[-1] if said else ''}"[
                :400
            ]
            + "); leave runtime: onnxruntime out"
        ) from error
    exported: bytes = buffer.getvalue()
    return exported


class Sessions:
    """One half of one network: a session for each size of input, made when it first comes."""

    def __init__(self, network: SegmentationNetwork, half: Half, title: str) -> None:
        self.network, self.half, self.title = network, half, title
        self.made: dict[tuple[int, ...], Any] = {}
        self.calls = 0

    def prepare(self, shape: tuple[int, ...]) -> Any:
        """The session for inputs [any, *shape[1:]]."""
        if shape[1:] not in self.made:
            onnxruntime = import_module("onnxruntime")
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            options.log_severity_level = 3
            model = export_half(self.network, self.half, (1, *shape[1:]), self.title)
            self.made[shape[1:]] = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        return self.made[shape[1:]]

    def run(self, given: Tensor) -> Tensor:
        """The half's output, float32."""
        session = self.prepare(tuple(given.shape))
        self.calls += 1
        name = session.get_inputs()[0].name
        return torch.from_numpy(session.run(None, {name: given.contiguous().numpy()})[0])


def run_by_onnx(method: Method, title: str) -> list[Sessions]:
    """Let ONNX Runtime run both halves of each segmentation network of `method`; what stands between stays in torch.

    Raises CapabilityError where a network cannot be exported.
    """
    made = []
    for part, network in networks_of(method):
        features, classifier = (Sessions(network, half, title) for half in ("features", "classifier"))
        scale = method.lr_scale_of(part)
        rows, columns = (max(1, round(side * scale)) for side in method.context.size)
        features.prepare((1, 3, rows, columns))
        setattr(network, "partial", partial(_partial, network, features))  # noqa: B010 - an instance's own
        setattr(network.classifier, "forward", classifier.run)  # noqa: B010
        made.append(features)
    return made


def _partial(
    network: SegmentationNetwork, sessions: Sessions, image: Tensor, cut: Cut = "classifier"
) -> Partial:
    if cut != "classifier":
        return type(network).partial(network, image, cut)
    return Partial(sessions.run(image))


def write_onnx(method: Method, folder: Path, title: str, about: dict[str, dict[str, str]]) -> list[Path]:
    """Write `<part>-features.onnx` and `<part>-classifier.onnx` of each network; `about` has their metadata by part.

    Raises CapabilityError where a network cannot be exported, StorageError if the folder cannot be written.
    """
    onnx = import_module("onnx")
    written = []
    for part, network in networks_of(method):
        scale = method.lr_scale_of(part)
        rows, columns = (max(1, round(side * scale)) for side in method.context.size)
        height, width = network.feature_size((rows, columns))
        shapes: dict[Half, tuple[int, ...]] = {
            "features": (1, 3, rows, columns),
            "classifier": (1, network.feature_channels, height, width),
        }
        for half, shape in shapes.items():
            model = onnx.load_from_string(export_half(network, half, shape, title))
            onnx.helper.set_model_props(model, {**about[part], "part": part, "half": half})
            path = folder / f"{part}-{half}.onnx"
            write_atomically(path, model.SerializeToString(), remedy="choose another folder")
            written.append(path)
    return written
