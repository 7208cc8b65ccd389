"""Any `torch.nn.Module` that segments images, made a network: the final 1x1 convolution splits feature from classifier."""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from vssbench.errors import CheckpointError, ConfigError, PluginError, VssbenchError
from vssbench.method import CheckedNormalisation
from vssbench.networks.checkpoints import read_state
from vssbench.networks.network import Cut, Partial, SegmentationNetwork
from vssbench.ops.losses import Scores, SegmentationLoss
from vssbench.ops.resize import enlarge_later, resize

_PROBE = 512
"""Side of the image that tells the stride."""


class NetworkFactory(BaseModel):
    """A module of somebody else, as an experiment describes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    factory: str = Field(
        pattern=r"^[\w.]+:\w+$",
        description="'package.module:function' that returns the module; gets `classes` if it takes it",
    )
    args: dict[str, Any] = Field(default_factory=dict, description="its keyword arguments")
    cut: str = Field(description="path of the final 1x1 convolution in the module")
    normalisation: CheckedNormalisation | None = Field(
        None, description="of its pixels; default: the dataset's"
    )
    side_multiple: int = Field(32, ge=1, description="sides of its images are padded to multiples of this")
    state_dict: Path | None = Field(None, description="its weights, .pth (tensors only) or .safetensors")

    def __str__(self) -> str:
        """One name for one network: weights and files do not count."""
        given = ", ".join(f"{key}={value!r}" for key, value in sorted(self.args.items()))
        return f"{self.factory}({given})"

    def build(self, classes: int) -> nn.Module:
        """The module. Raises ConfigError if it cannot be imported, PluginError if its code fails."""
        module, _, function = self.factory.partition(":")
        try:
            factory = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"network.factory {self.factory!r}: {error}; install its package, or name its folder in PYTHONPATH"
            ) from error
        takes = "classes" in inspect.signature(factory).parameters
        try:
            built = factory(**({"classes": classes} if takes else {}), **self.args)
        except VssbenchError:
            raise
        except Exception as error:
            raise PluginError(
                f"network {self.factory}, while it was built: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(built, nn.Module):
            raise ConfigError(
                f"network.factory {self.factory!r} returned {type(built).__name__}, not a torch.nn.Module"
            )
        if self.state_dict is not None:
            _load(built, self.state_dict)
        return built


NetworkChoice = str | NetworkFactory
"""A registered name, or any module."""


class _Reached(Exception):  # noqa: N818 - no error: it carries the feature out of the module
    def __init__(self, feature: Tensor) -> None:
        self.feature = feature


class _Gate(nn.Module):
    """Stands where the final convolution was: ends the module's run there, or lets it go on."""

    def __init__(self, classifier: nn.Conv2d) -> None:
        super().__init__()
        self.behind = (classifier,)  # a tuple hides it from the module's parameters
        self.open = False

    def forward(self, feature: Tensor) -> Tensor:
        if not self.open:
            raise _Reached(feature)
        logits: Tensor = self.behind[0](feature)
        return logits


class AdaptedNetwork(SegmentationNetwork):
    """A module whose final 1x1 convolution, at the path `cut`, is the classifier; logits are enlarged to the image.

    What the module does behind that convolution is left out; `own_output` runs it, to be compared. Raises ConfigError if there is
    no such convolution, or it answers another number of classes.
    """

    name = "adapted"
    loss: SegmentationLoss = "cross-entropy"  # type: ignore[misc]
    training_only = ()

    def __init__(
        self, module: nn.Module, *, cut: str, classes: int, width: int = 64, side_multiple: int = 32
    ) -> None:
        super().__init__(classes, width=width)
        found = dict(module.named_modules()).get(cut)
        if not isinstance(found, nn.Conv2d) or found.kernel_size != (1, 1):
            known = [path for path, m in module.named_modules() if isinstance(m, nn.Conv2d)][-3:]
            raise ConfigError(
                f"network.cut {cut!r} is {type(found).__name__ if found is not None else 'no part'} of "
                f"{type(module).__name__}, expected its final 1x1 torch.nn.Conv2d; its last convolutions are {', '.join(known)}"
            )
        if found.out_channels != classes:
            raise ConfigError(
                f"network.cut {cut!r} answers {found.out_channels} classes, the dataset has {classes}; build the module for "
                f"{classes} (a factory that takes `classes` is told), or give class_map"
            )
        self.classifier = found
        parent, _, leaf = cut.rpartition(".")
        self._gate = [_Gate(found)]
        setattr(module.get_submodule(parent), leaf, self._gate[0])
        self.module = module
        self.side_multiple = side_multiple  # type: ignore[misc]
        self._sizes: dict[tuple[int, int], tuple[int, int]] = {}

    @property
    def feature_stride(self) -> int:  # type: ignore[override]
        """Image pixels per pixel of the feature, as a run shows it."""
        return round(_PROBE / self.feature_size((_PROBE, _PROBE))[0])

    def feature_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of the feature p for images of `size`, from a run without values where the module has none."""
        if size not in self._sizes:
            try:
                blank = copy.deepcopy(self).to("meta").eval()
                feature = blank.features(torch.empty(1, 3, *size, device="meta"))
            except Exception:  # whatever a module trips over where there are no values
                feature = self.features(torch.zeros(1, 3, *size, device=self.classifier.weight.device))
            self._sizes[size] = (feature.shape[-2], feature.shape[-1])
        return self._sizes[size]

    def partial(self, image: Tensor, cut: Cut = "classifier") -> Partial:
        """What the final convolution would get."""
        self.check_cut(cut)
        try:
            self.module(image)
        except _Reached as reached:
            return Partial(reached.feature)
        raise ConfigError(f"{self.name}: the module never runs the convolution that network.cut names")

    def classify(self, feature: Tensor, size: tuple[int, int] | None) -> Tensor:
        """Logits [N, classes, *size], pixel areas aligned; None leaves them at the feature's size."""
        logits: Tensor = self.classifier(feature)
        return logits if size is None else resize(logits, size, corners="half-pixel")

    def training_scores(self, feature: Tensor, size: tuple[int, int] | None) -> Scores:
        """The same logits; while gradients are taken on a CPU the loss enlarges them."""
        logits: Tensor = self.classifier(feature)
        return logits if size is None else enlarge_later(logits, size, corners="half-pixel")

    def own_output(self, image: Tensor) -> Tensor:
        """What the module itself gives, [N, classes, h, w]; from a dictionary or object its `logits` or `out`."""
        gate = self._gate[0]
        gate.open = True
        try:
            return _logits(self.module(image))
        finally:
            gate.open = False


def _logits(output: Any) -> Tensor:
    while not isinstance(output, Tensor):
        if isinstance(output, (tuple, list)) and output:
            output = output[0]
            continue
        get = output.get if isinstance(output, Mapping) else lambda key, held=output: getattr(held, key, None)
        found = next((value for key in ("logits", "out") if (value := get(key)) is not None), None)
        if found is None:
            raise ConfigError(f"the module returns {type(output).__name__} without 'logits' or 'out'")
        output = found
    return output


def adapt(
    module: nn.Module, *, cut: str, classes: int | None = None, side_multiple: int = 32
) -> AdaptedNetwork:
    """`module`, changed in place, as a network that methods can use; `classes` is what its final convolution answers.

    cut: path of the final 1x1 convolution, such as 'decode_head.classifier'. Raises ConfigError if it is none.
    """
    found = dict(module.named_modules()).get(cut)
    answers = found.out_channels if isinstance(found, nn.Conv2d) else 2
    return AdaptedNetwork(module, cut=cut, classes=classes or answers, side_multiple=side_multiple)


def create_adapted(spec: NetworkFactory, classes: int, width: int) -> AdaptedNetwork:
    """The module that `spec` describes, adapted and under its name. Raises as `NetworkFactory.build` and `adapt`."""
    network = AdaptedNetwork(
        spec.build(classes), cut=spec.cut, classes=classes, width=width, side_multiple=spec.side_multiple
    )
    network.name = str(spec)  # type: ignore[misc]
    network.has_weights = spec.state_dict is not None
    return network


def _load(module: nn.Module, path: Path) -> None:
    _, state = read_state(path)
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: does not fit {type(module).__name__}: {' '.join(str(error).split())}"
        ) from error
