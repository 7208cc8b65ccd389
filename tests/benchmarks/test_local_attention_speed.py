"""Local attention by tiles against the reference that copies windows, and what a non-keyframe costs in time.

Run with `pytest tests/benchmarks/test_local_attention_speed.py --benchmark-enable`; contestants take turns on one
thread. Sizes are those of BiSeNet18 for 480x360 frames at width 12 (48 channels) and at full width (256).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import torch

from vssbench.engine.build import build_method
from vssbench.engine.memory import keep_freed_memory
from vssbench.experiment.schema import MethodSpec
from vssbench.method import BuildContext, Frame
from vssbench.ops import local_attention

ROUNDS = 5


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    keep_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def best_times(actions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Least CPU time of several rounds in seconds, after one to warm up; contestants take turns against drift."""
    best = dict.fromkeys(actions, float("inf"))
    for turn in range(ROUNDS + 1):
        for name, action in actions.items():
            start = time.process_time()
            action()
            if turn:
                best[name] = min(best[name], time.process_time() - start)
    return best


@pytest.mark.parametrize("channels", [48, 256])
def test_tiles_are_faster_than_windows_forward_and_backward(channels, capsys, benchmark):
    inputs = [torch.randn(1, channels, 46, 60, requires_grad=True) for _ in range(3)]

    def forward(backend: str) -> torch.Tensor:
        with torch.no_grad():
            return local_attention(*inputs, backend=backend)

    def both(backend: str) -> None:
        local_attention(*inputs, backend=backend).sum().backward()

    times = best_times(
        {
            f"{name} {b}": lambda f=f, b=b: f(b)
            for name, f in (("forward", forward), ("training", both))
            for b in ("fused", "tiled", "eager")
        }
    )
    with capsys.disabled():
        print("\n" + ", ".join(f"C={channels} {name} {1e3 * value:.1f} ms" for name, value in times.items()))
    assert times["forward fused"] < times["forward tiled"]
    assert times["forward tiled"] < times["forward eager"] / 2
    assert times["training tiled"] < times["training eager"]
    benchmark.pedantic(forward, args=("tiled",), rounds=ROUNDS)


@pytest.mark.parametrize("width", [8, 12, 16])
def test_non_keyframes_of_a_slim_ar_seg_are_cheaper_than_keyframes(width, capsys, benchmark):
    size = (360, 480)
    spec = MethodSpec.model_validate({"name": "ar-seg", "width": width})
    method = build_method(spec, BuildContext(11, size, 12, torch.device("cpu")))
    image = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    flow = torch.randint(-20, 21, (1, 2, *size)).float()
    state = method.start(1)
    key, between = Frame(0, 0, image, "I", size), Frame(1, 1, image, "P", size, flow_key=flow)
    times = best_times(
        {"key": lambda: method.step(state, key), "non-key": lambda: method.step(state, between)}
    )
    with capsys.disabled():
        print(f"\nwidth {width}: key {1e3 * times['key']:.1f} ms, non-key {1e3 * times['non-key']:.1f} ms")
    # fixed work (normalising, resizing, labels) weighs most where the network is slimmest
    assert times["non-key"] < (0.85 if width < 12 else 0.75) * times["key"]
    benchmark.pedantic(method.step, args=(state, between), rounds=ROUNDS)
