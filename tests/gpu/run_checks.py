"""All checks that need a GPU, in one command; writes JSON.

    python tests/gpu/run_checks.py -o reports/measurements/gpu/NAME.json            on a machine with CUDA, Triton and nvidia-ml-py
    python tests/gpu/run_checks.py --dry-run -o checks.json            tiny sizes on the CPU: shows that it works

Every check has a value, the bound it should keep, and whether it does. Times of both sides of a ratio come from one
interleaved series.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

import vssbench
from vssbench.cost.energy import measure_energy
from vssbench.cost.gpu_conditions import read_conditions
from vssbench.cost.latency import as_cuda_graph, compare_latency, describe_device
from vssbench.engine.build import build_method
from vssbench.errors import VssbenchError
from vssbench.experiment.schema import InferenceOptions, MethodSpec
from vssbench.method import BuildContext, Frame, Method
from vssbench.ops import local_attention, warp
from vssbench.ops.local_attention import backend_problem


@dataclass(frozen=True)
class Check:
    """One fact about the GPU; `passed` is None where it could not be checked, and `note` says why."""

    name: str
    value: float | None
    bound: str
    passed: bool | None
    note: str = ""
    details: dict[str, Any] | None = None


@dataclass(frozen=True)
class Scene:
    """Where and at which sizes everything runs."""

    device: torch.device
    dry: bool

    @property
    def rounds(self) -> dict[str, Any]:
        """Effort of a timed series."""
        if self.dry:
            return {"warmup": 0, "repeats": 2, "min_seconds": 0.0}
        return {"warmup": 5, "repeats": 30, "min_seconds": 2.0}

    def maps(self, dtype: torch.dtype, *shape: int) -> list[torch.Tensor]:
        """Query, key and value."""
        return [torch.randn(*shape, device=self.device, dtype=dtype) for _ in range(3)]


def below(name: str, value: float, bound: float, **details: Any) -> Check:
    return Check(name, value, f"<= {bound:g}", value <= bound, details=details)


def above(name: str, value: float, bound: float, **details: Any) -> Check:
    return Check(name, value, f">= {bound:g}", value >= bound, details=details)


def kernels_are_right(scene: Scene) -> Iterator[Check]:
    """Largest error of the Triton kernels, output and gradients, over that of the reference in float64."""
    problem = backend_problem("triton", scene.maps(torch.float32, 1, 16, 16, 16)[0], 7)
    limits = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 4e-2}
    cases = [(16, 3), (20, 5)] if scene.dry else [(16, 3), (64, 7), (100, 5), (256, 7), (512, 7), (64, 11)]
    for dtype, limit in limits.items():
        for channels, window in cases:
            for border in ("zero", "exclude"):
                name = f"triton {dtype} C={channels} window={window} {border}".replace("torch.", "")
                if problem is not None:
                    yield Check(name, None, f"<= {limit:g}", None, str(problem))
                    continue
                yield below(name, _error(scene, dtype, channels, window, border), limit)


def _error(scene: Scene, dtype: torch.dtype, channels: int, window: int, border: Any) -> float:
    inputs = [(0.7 * m).requires_grad_() for m in scene.maps(dtype, 2, channels, 37, 45)]
    inputs = [m.detach().requires_grad_() for m in inputs]
    exact = [m.detach().double().requires_grad_() for m in inputs]
    outer = torch.randn_like(inputs[0])
    ours = local_attention(*inputs, window, scale=0.8, border=border, backend="triton")
    reference = local_attention(*exact, window, scale=0.8, border=border, backend="eager")
    pairs = zip(
        (ours, *torch.autograd.grad(ours, inputs, outer)),
        (reference, *torch.autograd.grad(reference, exact, outer.double())),
        strict=True,
    )
    return max(float((a.double() - b).abs().max() / b.abs().max().clamp(min=1)) for a, b in pairs)


def attention_is_fast(scene: Scene) -> Iterator[Check]:
    """At 64x720x960, fp16, window 7: against the copy bandwidth and against eager."""
    shape = (1, 64, 24, 32) if scene.dry else (1, 64, 720, 960)
    dtype = torch.float32 if scene.dry else torch.float16
    maps = scene.maps(dtype, *shape)
    fast = "triton" if backend_problem("triton", maps[0], 7) is None else "auto"
    target = torch.empty_like(maps[0])

    def copy() -> None:  # reads 2 and writes 2: as much traffic as three inputs and one output
        target.copy_(maps[0])
        target.copy_(maps[1])

    with torch.no_grad():
        sides: dict[str, Callable[[], Any]] = {
            "copy": copy,
            "fast": lambda: local_attention(*maps, backend=fast),
            "tiled": lambda: local_attention(*maps, backend="tiled"),
            "eager": lambda: local_attention(*maps, backend="eager"),
        }
        if scene.device.type == "cuda":
            sides["graph"] = as_cuda_graph(sides["fast"])
        timed = compare_latency(sides, scene.device, cold_cache=True, **scene.rounds)
    ms = {n: r.device_median_ms or r.median_ms for n, r in timed.results.items()}
    details = {"backend": fast, "milliseconds": ms, "stability": timed.results["fast"].stability}
    yield below("local attention over reading and writing once", ms["fast"] / ms["copy"], 3, **details)
    yield above("local attention, times faster than eager", ms["eager"] / ms["fast"], 5, **details)


def warping_is_fast(scene: Scene) -> Iterator[Check]:
    """Warp of a 64-channel map against copying it."""
    shape = (1, 64, 24, 32) if scene.dry else (1, 64, 720, 960)
    feature = torch.randn(*shape, device=scene.device)
    flow = 8 * torch.randn(1, 2, *shape[2:], device=scene.device, dtype=torch.float64)
    with torch.no_grad():
        timed = compare_latency(
            {"copy": feature.clone, "warp": lambda: warp(feature, flow)}, scene.device, **scene.rounds
        )
    yield below("warp over copy", timed.ratio("warp")[1], 6)


def gop_of(method: Method, size: tuple[int, int], interval: int) -> Callable[[], None]:
    """A GOP of random frames that are on the device already."""
    device = method.context.device
    frames = []
    for d in range(interval):
        image = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8, device=device)
        flow = 8 * torch.randn(1, 2, *size, device=device) if d else None
        frames.append(Frame(d, d, image, "P" if d else "I", size, flow_key=flow))

    def run() -> None:
        with torch.inference_mode():
            state = method.start(1)
            for frame in frames:
                method.step(state, frame)

    return run


def methods_gain(scene: Scene) -> Iterator[Check]:
    """GOP-mean time of 1.0x over AR0.5 and AR0.3, same precision on both sides."""
    bounds = {("camvid", 0.5): 2.8, ("camvid", 0.3): 4.5, ("cityscapes", 0.5): 3.0}
    sizes = {"camvid": (720, 960), "cityscapes": (1024, 2048)}
    for dataset, size in sizes.items():
        size = (64, 96) if scene.dry else size
        network, width = f"pspnet18-{dataset}", 4 if scene.dry else 64
        specs = {"1.0x": {"name": "constant"}} | {
            f"AR{scale}": {"name": "ar-seg", "lr_scale": scale} for scale in (0.5, 0.3)
        }
        for label, options in _precisions(scene).items():
            gops = {}
            for name, values in specs.items():
                spec = MethodSpec.model_validate(
                    {**values, "network": network, "width": width, "inference": options.model_dump()}
                )
                context = BuildContext(12 if dataset == "camvid" else 19, size, 12, scene.device)
                gops[name] = gop_of(build_method(spec, context), size, 12)
            timed = compare_latency(gops, scene.device, **scene.rounds)
            details = {name: result.as_dict() for name, result in timed.results.items()}
            for one in details.values():
                one.pop("samples_ms")
            for scale in (0.5, 0.3):
                faster = 1 / timed.ratio(f"AR{scale}")[1]
                name = f"PSPNet18 {dataset} {label}: AR{scale}, times faster than 1.0x"
                bound = bounds.get((dataset, scale))
                if bound is None:
                    yield Check(name, faster, "", None, "no bound is set", details)
                else:
                    yield above(name, faster, bound, **details)


def _precisions(scene: Scene) -> dict[str, InferenceOptions]:
    if scene.dry:
        return {"fp32": InferenceOptions()}
    fast = InferenceOptions(autocast="fp16", channels_last=True)
    return {
        "fp32": InferenceOptions(),
        "fp16": fast,
        "fp16, graphs": fast.model_copy(update={"cuda_graphs": True}),
    }


def energy_is_read(scene: Scene) -> Iterator[Check]:
    """Joules of a busy GPU above idle."""
    side = 64 if scene.dry else 4096
    matrix = torch.ones(side, side, device=scene.device)
    try:
        result = measure_energy(lambda: matrix @ matrix, scene.device)
    except VssbenchError as error:
        yield Check("energy of a matrix product above idle, J", None, "> 0", None, str(error))
        return
    value = result.energy_above_idle_per_call_j
    yield Check("energy of a matrix product above idle, J", value, "> 0", value > 0, details=asdict(result))


ALL = (kernels_are_right, attention_is_fast, warping_is_fast, methods_gain, energy_is_read)


def run(scene: Scene) -> dict[str, Any]:
    """All checks; one that fails to run is reported like one that does not pass."""
    checks: list[Check] = []
    for group in ALL:
        try:
            checks.extend(group(scene))
        except (VssbenchError, RuntimeError) as error:
            checks.append(Check(group.__name__, None, "runs", False, f"{type(error).__name__}: {error}"))
    conditions = None
    if scene.device.type == "cuda":
        try:
            conditions = read_conditions(scene.device).as_dict()
        except VssbenchError as error:
            conditions = {"note": str(error)}
    return {
        "schema": 1,
        "dry_run": scene.dry,
        "device": describe_device(scene.device),
        "conditions": conditions,
        "environment": {
            "vssbench": vssbench.__version__,
            "torch": str(torch.__version__),
            "cuda": torch.version.cuda,
            "triton": find_spec("triton") is not None,
            "python": platform.python_version(),
        },
        "checks": [asdict(check) for check in checks],
    }


def main(arguments: list[str] | None = None) -> int:
    """0 if nothing failed, 1 if a check did, 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on the CPU")
    options = parser.parse_args(arguments)
    if not options.dry_run and not torch.cuda.is_available():
        print("torch finds no CUDA device; --dry-run shows on the CPU that the checks work", file=sys.stderr)
        return 2
    report = run(Scene(torch.device("cpu" if options.dry_run else "cuda"), options.dry_run))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for check in report["checks"]:
        verdict = {True: "ok", False: "FAILED", None: "not checked"}[check["passed"]]
        value = "" if check["value"] is None else f"{check['value']:.4g} ({check['bound']})"
        print(f"{verdict:12}{check['name']}  {value} {check['note']}")
    return 1 if any(check["passed"] is False for check in report["checks"]) else 0


if __name__ == "__main__":
    sys.exit(main())
