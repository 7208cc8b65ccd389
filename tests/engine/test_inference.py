"""Inference options: what they change, what they refuse, lockstep, recorded steps."""

from __future__ import annotations

import pytest
import torch

from vssbench.engine.build import build_method
from vssbench.engine.inference import StepGraphs, apply_inference, change_maps, check_inference
from vssbench.errors import CapabilityError, ConfigError, OutOfMemoryError
from vssbench.experiment.schema import InferenceOptions, MethodSpec
from vssbench.method import BuildContext, Frame

SIZE = (48, 64)
CPU = torch.device("cpu")
AR = {"name": "ar-seg", "width": 4, "network": "bisenet18", "window": 3}


def build(inference: dict[str, object] | None = None, **values):
    spec = MethodSpec.model_validate({**AR, **values, "inference": inference or {}})
    return build_method(spec, BuildContext(4, SIZE, 3, CPU))


def clip(seed: int, batch: int = 1) -> list[Frame]:
    generator = torch.Generator().manual_seed(seed)
    image = lambda: torch.randint(0, 256, (batch, 3, *SIZE), dtype=torch.uint8, generator=generator)  # noqa: E731
    flow = lambda: 4 * torch.rand(batch, 2, *SIZE, generator=generator)  # noqa: E731
    return [Frame(d, d, image(), "P" if d else "I", SIZE, flow_key=flow() if d else None) for d in range(3)]


def labels(method, frames) -> torch.Tensor:
    with torch.inference_mode():
        state = method.start(frames[0].image.shape[0])
        return torch.stack([method.step(state, frame)[0].labels for frame in frames])


@pytest.mark.parametrize(
    ("options", "share"),
    [({"channels_last": True}, 0.001), ({"half_reference": True}, 0.02), ({"autocast": "bf16"}, 0.2)],
)
def test_options_change_few_labels(options, share):
    frames = clip(1)
    plain = labels(build({"fold_normalisation": False}), frames)
    tuned = labels(build(options), frames)
    assert float((plain != tuned).float().mean()) <= share


def test_half_reference_really_keeps_half_precision():
    method = build({"half_reference": True})
    with torch.inference_mode():
        state = method.start(1)
        method.step(state, clip(2)[0])
    assert state.reference.dtype == torch.float16


def test_half_reference_is_refused_where_nothing_is_kept():
    spec = MethodSpec.model_validate({"name": "constant", "width": 4, "inference": {"half_reference": True}})
    method = build_method(spec, BuildContext(4, SIZE, 3, CPU))
    with pytest.raises(
        ConfigError, match=r"method constant, inference\.half_reference: it keeps no float32 map"
    ):
        labels(method, clip(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cuda_graphs": True}, r"method m, inference\.cuda_graphs: needs a CUDA device, this run uses cpu"),
        ({"autocast": "fp16"}, r"method m, inference\.autocast: fp16 has no fast path on the CPU; use bf16"),
    ],
)
def test_what_the_device_cannot_is_refused_by_name(options, message):
    with pytest.raises(ConfigError, match=message):
        check_inference(InferenceOptions(**options), CPU, "m")


def test_compiling_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setattr("vssbench.engine.inference.shutil.which", lambda name: None)
    with pytest.raises(CapabilityError, match=r"needs a C\+\+ compiler"):
        check_inference(InferenceOptions(compile=True), CPU, "m")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
            "allocate 68719476736 bytes. Error code 12 (Cannot allocate memory)"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
        RuntimeError("std::bad_alloc"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_names_method_size_batch_and_remedies(error):
    method = build({"fold_normalisation": False})
    method = type(method)(method.options, method.context)

    def exhausted(state, frame):
        raise error

    method.step = exhausted
    apply_inference(method, InferenceOptions(), "mine")
    with pytest.raises(
        OutOfMemoryError, match=r"method mine: a step on 2 frame\(s\) of 48x64.* of cpu .*inference\.batch"
    ) as caught:
        method.step(None, clip(1, batch=2)[0])
    assert caught.value.exit_code == 3


def test_other_failures_of_a_step_are_left_as_they_are():
    method = build({"fold_normalisation": False})

    def failing(state, frame):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    method.step = failing
    apply_inference(method, InferenceOptions(), "mine")
    with pytest.raises(RuntimeError, match="mat1"):
        method.step(None, clip(1)[0])


def test_recorded_steps_answer_as_plain_ones_do():
    """The bookkeeping around CUDA graphs with a recorder that runs the step again on the fixed memory."""
    plain, recorded = build(), build()

    def record_again(run):
        run()
        return run

    recorded.step = StepGraphs(recorded, recorded.step, "mine", capture=record_again)
    for seed in (1, 2, 3):
        frames = clip(seed)
        assert torch.equal(labels(plain, frames), labels(recorded, frames))


def test_recorded_steps_refuse_woven_clips():
    method = build()
    step = StepGraphs(method, method.step, "mine", capture=lambda run: (run(), run)[1])
    first, second = method.start(1), method.start(1)
    frames = clip(1)
    with torch.inference_mode():
        step(first, frames[0])
        step(second, frames[0])
        with pytest.raises(ConfigError, match="woven into one another"):
            step(first, frames[1])


def test_maps_inside_nested_states_are_found():
    state = {"a": [torch.zeros(1, 2, 3, 4)], "b": torch.zeros(2), "c": {"d": torch.ones(1, 1, 1, 1)}}
    assert change_maps(state, torch.float32, torch.float16) == 2
    assert state["a"][0].dtype == state["c"]["d"].dtype == torch.float16
    assert state["b"].dtype == torch.float32
