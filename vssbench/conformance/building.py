"""Checks of what a method is made of: its parts, its mode, its knob, and which parameters its stages train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vssbench.conformance.clips import Subject, answers, make_clip
from vssbench.conformance.outcome import Check, require
from vssbench.method import Method, Stage, TrainingBatch
from vssbench.records import IGNORE_INDEX


def modules_within(
    value: Any, path: str = "", seen: set[int] | None = None
) -> Iterator[tuple[str, nn.Module]]:
    """Every module that an object holds in its attributes, lists and mappings, with where it was found."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, (str, bytes, int, float, Tensor, type, type(None))):
        return
    seen.add(id(value))
    if isinstance(value, nn.Module):
        yield path, value
        return
    if isinstance(value, Mapping):
        inner = [(f"{path}[{key!r}]", one) for key, one in value.items()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        inner = [(f"{path}[{number}]", one) for number, one in enumerate(value)]
    else:
        inner = [(f"{path}.{key}".lstrip("."), one) for key, one in getattr(value, "__dict__", {}).items()]
    for place, one in inner:
        yield from modules_within(one, place, seen)


def complete_parts(subject: Subject) -> None:
    """Every parameter and buffer that the method holds belongs to a part."""
    method = subject.build()
    parts = method.parts()
    require(
        isinstance(parts, dict) and all(isinstance(p, nn.Module) for p in parts.values()),
        f"parts() returns {type(parts).__name__}, expected a dict of torch.nn.Module",
    )
    again = method.parts()
    require(
        parts.keys() == again.keys() and all(parts[name] is again[name] for name in parts),
        "parts() returns other modules when it is called again",
    )
    known = {id(t) for part in parts.values() for t in (*part.parameters(), *part.buffers())}
    for place, module in modules_within(method):
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            require(id(tensor) in known, f"{place}.{name} belongs to no part; parts are {sorted(parts)}")
    for name, value in vars(method).items():
        foreign = isinstance(value, nn.Parameter) and id(value) not in known
        require(not foreign, f"{name} belongs to no part; parts are {sorted(parts)}")


def evaluation_mode(subject: Subject) -> None:
    """No module trains: neither after the parts were put into eval mode nor after a clip."""
    method = subject.build()
    _none_trains(method, "the parts were put into eval mode")
    answers(method, make_clip(subject, method.needs, seed=17))
    _none_trains(method, "a clip was run")


def _none_trains(method: Method, when: str) -> None:
    for place, module in modules_within(method):
        training = [name or type(module).__name__ for name, inner in module.named_modules() if inner.training]
        require(not training, f"after {when}, {place}: {', '.join(training[:4])} is in training mode")


def budget_knob(subject: Subject) -> None:
    """The knob is a tuple of names of the method's own options."""
    method_class = type(subject.build())
    knob: Any = method_class.budget_knob
    require(isinstance(knob, tuple), f"budget_knob is {knob!r}, expected a tuple of option names")
    unknown = [name for name in knob if name not in method_class.Options.model_fields]
    require(
        not unknown, f"budget_knob names {unknown}; options are {sorted(method_class.Options.model_fields)}"
    )


def gradients(subject: Subject) -> None:
    """Every stage has a finite loss, and its gradients reach trainable parameters and no others."""
    method = subject.build()
    stages = method.stages()
    names = [stage.name for stage in stages]
    require(len(set(names)) == len(names), f"stage names are not unique: {names}")
    for stage in stages:
        _check_stage(method, stage, subject)


def _check_stage(method: Method, stage: Stage, subject: Subject) -> None:
    parts = method.parts()
    _check_names(parts, stage)
    if stage.prepare is not None:
        stage.prepare()
    _set_trainable(parts, stage)
    torch.manual_seed(subject.seed)
    losses = stage.compute_loss(make_batch(subject, stage))
    require(bool(losses), f"stage {stage.name!r}: no loss terms")
    total = torch.stack([value.float() for value in losses.values()]).sum()
    require(bool(torch.isfinite(total)), f"stage {stage.name!r}: loss is {float(total.detach())}")
    total.backward()  # type: ignore[no-untyped-call]
    _check_reach(parts, stage)
    for module in parts.values():
        module.requires_grad_(True).eval()


def _check_names(parts: Mapping[str, nn.Module], stage: Stage) -> None:
    unknown = set(stage.parts) - set(parts)
    require(
        not unknown, f"stage {stage.name!r} trains unknown parts {sorted(unknown)}; parts are {sorted(parts)}"
    )
    names = [name for name, _ in _named_parameters(parts)]
    for prefix in (*stage.frozen, *stage.lr_multipliers):
        require(
            any(name.startswith(prefix) for name in names),
            f"stage {stage.name!r}: no parameter begins with {prefix!r}",
        )


def _named_parameters(parts: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Parameter]]:
    """Every parameter as 'part.parameter'."""
    for part, module in parts.items():
        for name, parameter in module.named_parameters():
            yield f"{part}.{name}", parameter


def _set_trainable(parts: Mapping[str, nn.Module], stage: Stage) -> None:
    for part, module in parts.items():
        module.train(part in stage.parts)
        module.requires_grad_(True)  # so that a gradient in a frozen part would show
        module.zero_grad(set_to_none=True)
        for name, parameter in module.named_parameters():
            if part in stage.parts and f"{part}.{name}".startswith(stage.frozen or ("\0",)):
                parameter.requires_grad_(False)


def _check_reach(parts: Mapping[str, nn.Module], stage: Stage) -> None:
    """After the backward pass: gradients are in every part that trains, and in no other."""
    reached = {
        name
        for name, parameter in _named_parameters(parts)
        if parameter.grad is not None and bool((parameter.grad != 0).any())
    }
    foreign = sorted(name for name in reached if name.split(".")[0] not in stage.parts)
    require(not foreign, f"stage {stage.name!r}: gradients reach frozen parts: {', '.join(foreign[:4])}")
    for part in stage.parts:
        require(
            any(name.startswith(f"{part}.") for name in reached),
            f"stage {stage.name!r}: no gradient reaches {part!r}",
        )


def make_batch(subject: Subject, stage: Stage, *, batch: int = 2, window: int = 3) -> TrainingBatch:
    """A random training batch with everything the stage's recipe supplies; some pixels are unlabelled.

    `window` counts the frames before the labelled one where the stage does not say.
    """
    window = stage.window or window
    generator = torch.Generator().manual_seed(subject.seed + 12)
    height, width = subject.size

    def images() -> Tensor:
        return torch.randn(batch, 3, height, width, generator=generator)

    def flow() -> Tensor:
        return torch.randn(batch, 2, height, width, generator=generator) * 2

    label = torch.randint(0, subject.classes, (batch, height, width), generator=generator)
    label[:, : height // 8] = IGNORE_INDEX
    paired = stage.recipe in ("pair", "triplet")
    windowed = stage.recipe in ("window", "triplet", "online")
    return TrainingBatch(
        image=images(),
        label=label,
        reference=images() if paired else None,
        flow_key=flow() if paired else None,
        window=[images() for _ in range(window)] if windowed else (),
        window_flow=[flow() for _ in range(window)] if windowed else (),
        after=[images() for _ in range(2)] if stage.recipe == "triplet" else (),
        after_flow=[flow(), torch.zeros(batch, 2, height, width)] if stage.recipe == "triplet" else (),
    )


CHECKS = (
    Check("complete parts", "parts() names every network that the method holds: what it leaves out has no weights loaded, "
          "is not counted and does not train.", complete_parts, "parts"),
    Check("evaluation mode", "All modules are in eval mode while a method runs.", evaluation_mode, "step"),
    Check("budget knob", "budget_knob is a tuple of names of options.", budget_knob, "budget_knob"),
    Check("gradients", "A stage has a finite loss whose gradients reach its parts, and no others.", gradients, "stages"),
)  # fmt: skip
