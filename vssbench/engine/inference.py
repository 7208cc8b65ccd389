"""Inference options of a method entry, applied the same way to every method.

    methods:
      - {name: ar-seg, inference: {channels_last: true, autocast: bf16, half_reference: true}}

The method's networks are changed once, when it is built; what concerns a step wraps the method. What a device or method
cannot do is refused by name; nothing falls back silently.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vssbench.engine.onnx_runtime import Sessions, require_onnx, run_by_onnx
from vssbench.errors import (
    CapabilityError,
    ConfigError,
    OutOfMemoryError,
    is_out_of_memory,
    out_of_memory,
)
from vssbench.experiment.schema import InferenceOptions
from vssbench.method import Frame, Method, Prediction
from vssbench.networks.folding import fold_normalisation

AUTOCAST_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
COMPILED_CALLS = ("forward", "partial", "resume", "classify")
"""Calls of a network that methods make; each is compiled on its own."""


def check_inference(options: InferenceOptions, device: torch.device, title: str) -> None:
    """Refuse options that the device cannot do. Raises ConfigError or CapabilityError naming method and option."""
    where = f"method {title}, inference"
    if options.cuda_graphs and device.type != "cuda":
        raise ConfigError(f"{where}.cuda_graphs: needs a CUDA device, this run uses {device}; leave it out")
    if options.autocast == "fp16" and device.type == "cpu":
        raise ConfigError(f"{where}.autocast: fp16 has no fast path on the CPU; use bf16 or none")
    if options.cuda_graphs and options.compile:
        raise ConfigError(f"{where}: compile and cuda_graphs exclude one another; choose one")
    if options.runtime == "onnxruntime":
        if device.type != "cpu" or options.compile or options.autocast != "none":
            raise ConfigError(
                f"{where}.runtime: onnxruntime runs float32 on the CPU; leave out compile and autocast, and run with --device cpu"
            )
        require_onnx(f"{where}.runtime")
    if options.compile and device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise CapabilityError(
            f"{where}.compile: torch.compile needs a C++ compiler on the CPU, and none was found"
        )
    if options.compile and device.type == "cuda":
        from importlib.util import find_spec

        if find_spec("triton") is None:
            raise CapabilityError(
                f"{where}.compile: torch.compile needs Triton on CUDA; pip install 'vssbench[triton]'"
            )


def apply_inference(method: Method, options: InferenceOptions, title: str) -> Method:
    """Change a method's networks and steps as the options say; returns the method.

    Call it after weights are loaded, with the parts in eval mode: folding changes their state dicts.
    Raises ConfigError or CapabilityError (see `check_inference`).
    """
    check_inference(options, method.context.device, title)
    needs = method.needs
    if options.batch > 1 and (not needs.batchable or needs.adaptive or needs.memory != "none"):
        raise ConfigError(
            f"method {title}, inference.batch: {options.batch} clips in lockstep, but this method takes one at a time; "
            "leave the option out"
        )
    for part in method.parts().values():
        # online learning needs the statistics, block-wise execution the modules themselves
        if options.fold_normalisation and needs.memory == "none" and not needs.adaptive:
            fold_normalisation(part)
        if options.channels_last:
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if options.compile:
            _compile(part)
    step: Step = method.step
    if options.runtime == "onnxruntime":
        if needs.adaptive or needs.memory != "none":
            raise ConfigError(
                f"method {title}, inference.runtime: its networks run block by block or learn, which ONNX Runtime cannot; "
                "leave the option out"
            )
        step = _through(run_by_onnx(method, f"method {title}, inference.runtime"), step, title)
    if options.autocast != "none":
        step = _under_autocast(step, method.context.device, AUTOCAST_TYPES[options.autocast])
    if options.half_reference:
        step = _with_half_memory(step, title)
    if options.cuda_graphs:
        step = StepGraphs(method, step, title)
    setattr(method, "step", _naming_size(step, method, title))  # noqa: B010 - an instance's own step
    return method


Step = Callable[[Any, Frame], list[Prediction]]


def _compile(part: nn.Module) -> None:
    for network in part.modules():
        for name in COMPILED_CALLS if hasattr(network, "partial") else ():
            setattr(network, name, torch.compile(getattr(network, name)))


def _under_autocast(step: Step, device: torch.device, dtype: torch.dtype) -> Step:
    def tuned(state: Any, frame: Frame) -> list[Prediction]:
        with torch.autocast(device.type, dtype=dtype):
            return step(state, frame)

    return tuned


def _through(sessions: list[Sessions], step: Step, title: str) -> Step:
    """A method that calls inner parts of its networks would go on in torch; it is refused."""

    def tuned(state: Any, frame: Frame) -> list[Prediction]:
        predictions = step(state, frame)
        if not any(one.calls for one in sessions):
            raise CapabilityError(
                f"method {title}, inference.runtime: it does not run its networks by their halves; leave the option out"
            )
        return predictions

    return tuned


def _with_half_memory(step: Step, title: str) -> Step:
    """Maps that a state carries from step to step are float16 in between."""

    def tuned(state: Any, frame: Frame) -> list[Prediction]:
        change_maps(state, torch.float16, torch.float32)
        predictions = step(state, frame)
        if change_maps(state, torch.float32, torch.float16) == 0 and frame.is_key:
            raise ConfigError(
                f"method {title}, inference.half_reference: it keeps no float32 map after a keyframe; leave the option out"
            )
        return predictions

    return tuned


def _naming_size(step: Step, method: Method, title: str) -> Step:
    """Running out of memory says for what and which options need less."""

    def tuned(state: Any, frame: Frame) -> list[Prediction]:
        try:
            return step(state, frame)
        except (RuntimeError, MemoryError, OutOfMemoryError) as error:
            if not is_out_of_memory(error):
                raise
            batch = 1 if frame.image is None else frame.image.shape[0]
            raise out_of_memory(
                f"method {title}: a step on {batch} frame(s) of {frame.size[0]}x{frame.size[1]}",
                str(method.context.device),
                error,
                "lower inference.batch, set inference.autocast: bf16 or inference.half_reference: true, or use fewer "
                "--workers",
            ) from error

    return tuned


def change_maps(state: Any, before: torch.dtype, after: torch.dtype) -> int:
    """Convert, in place, the maps [N, C, H, W] of one type that a state holds; how many there were.

    A state is an object with fields, a dictionary or a list, nested as it likes.
    """
    count = 0
    for name, value in _fields(state):
        if isinstance(value, Tensor):
            if value.ndim == 4 and value.dtype == before:
                _set(state, name, value.to(after))
                count += 1
        elif isinstance(value, (dict, list)) or dataclasses.is_dataclass(value):
            count += change_maps(value, before, after)
    return count


def _fields(state: Any) -> list[tuple[Any, Any]]:
    if isinstance(state, dict):
        return list(state.items())
    if isinstance(state, list):
        return list(enumerate(state))
    if dataclasses.is_dataclass(state):
        return [(field.name, getattr(state, field.name)) for field in dataclasses.fields(state)]
    return list(vars(state).items()) if hasattr(state, "__dict__") else []


def _set(state: Any, name: Any, value: Any) -> None:
    if isinstance(state, (dict, list)):
        state[name] = value
    else:
        object.__setattr__(state, name, value)


def _capture_cuda(run: Callable[[], None]) -> Callable[[], None]:
    """Record what `run` launches; calling the result launches it again on the same memory."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # type: ignore[no-untyped-call]
        for _ in range(3):  # libraries choose their kernels before recording
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


class StepGraphs:
    """Steps recorded once per keyframe distance and replayed: one launch instead of hundreds.

    A recording reads and writes fixed memory, so frames are copied into a fixed frame and all clips share one state;
    clips must follow one another, in lockstep or in turn. Raises ConfigError for methods whose steps depend on values,
    and for clips that are woven into one another.
    """

    def __init__(
        self,
        method: Method,
        step: Step,
        title: str,
        capture: Callable[[Callable[[], None]], Callable[[], None]] = _capture_cuda,
    ) -> None:
        needs = method.needs
        if needs.adaptive or needs.history or needs.lookahead or needs.memory != "none":
            raise ConfigError(
                f"method {title}, inference.cuda_graphs: its steps depend on values or on frames around the clip and "
                "cannot be recorded; leave the option out"
            )
        self.step, self.title, self.capture, self.method = step, title, capture, method
        self.recorded: dict[Any, tuple[Callable[[], None], Frame, list[list[Prediction]]]] = {}
        self.shared: Any = None
        self.slots: dict[Any, Tensor] = {}
        self.owner: Any = None

    def __call__(self, state: Any, frame: Frame) -> list[Prediction]:
        """One step: the recording of the frame's keyframe distance, made at its first call."""
        if frame.is_key:
            self.owner = state
        elif state is not self.owner and state is not None:
            raise ConfigError(
                f"method {self.title}, inference.cuda_graphs: two clips are woven into one another; run them one after another"
            )
        tensors = {f.name: getattr(frame, f.name) for f in dataclasses.fields(frame)}
        own = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
        key = (frame.keyframe_distance, *((name, tuple(value.shape)) for name, value in own.items()))
        if key not in self.recorded:
            self.recorded[key] = self._record(frame, own)
        replay, fixed, answered = self.recorded[key]
        for name, value in own.items():
            getattr(fixed, name).copy_(value)
        replay()
        return [
            dataclasses.replace(one, index=frame.index, labels=one.labels.clone()) for one in answered[-1]
        ]

    def _record(
        self, frame: Frame, own: dict[str, Tensor]
    ) -> tuple[Callable[[], None], Frame, list[list[Prediction]]]:
        copies: dict[str, Any] = {name: value.clone() for name, value in own.items()}
        fixed = dataclasses.replace(frame, **copies)
        batch = next(iter(own.values())).shape[0]
        if self.shared is None:
            self.shared = self.method.start(batch)
        answered: list[list[Prediction]] = []

        def run() -> None:
            answered[:] = [self.step(self.shared, fixed)]
            self._settle(self.shared, ())

        return self.capture(run), fixed, answered

    def _settle(self, state: Any, path: tuple[Any, ...]) -> None:
        """Bring what a step left in the state to the memory from which the next one reads."""
        for name, value in _fields(state) if state is not None else ():
            if isinstance(value, Tensor):
                slot = self.slots.get((*path, name))
                if slot is None or slot.shape != value.shape or slot.dtype != value.dtype:
                    slot = self.slots[(*path, name)] = value.clone()
                elif slot is not value:
                    slot.copy_(value)
                _set(state, name, slot)
            elif isinstance(value, (dict, list)) or dataclasses.is_dataclass(value):
                self._settle(value, (*path, name))
