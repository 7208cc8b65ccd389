"""What every list of bad inputs shares: the cases, and the small experiment that they spoil."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

EXECUTED = "the-file-was-executed"

Words = list[object]
EXPERIMENT = {
    "datasets": [{"name": "synthetic", "sequences": 1, "frames": 4, "size": [64, 96]}],
    "codecs": [{"label": "c", "codec": "h264", "qp": 30, "preset": "ultrafast", "references": 1}],
    "protocol": {"kind": "stream", "keyframe_interval": 2},
    "methods": [{"label": "m", "name": "constant", "width": 4}],
}


@dataclass(frozen=True)
class Case:
    """One bad input: what it is, and how it is made; `make` returns the words after `vssbench`."""

    group: str
    title: str
    make: Callable[[], Words]
    exit_code: int


CASES: list[Case] = []


def bad(group: str, title: str, exit_code: int) -> Callable[[Callable[[], Words]], Callable[[], Words]]:
    """Add a case made by the decorated function, which runs in an empty folder."""

    def add(make: Callable[[], Words]) -> Callable[[], Words]:
        CASES.append(Case(group, title, make, exit_code))
        return make

    return add


def experiment(text: str | bytes) -> Words:
    Path("x.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    return ["run", "x.yaml", "-o", "run", "--workers", 1, "--device", "cpu"]


def changed(*overrides: str) -> Words:
    words = experiment(json.dumps(EXPERIMENT))
    return words + [word for override in overrides for word in ("--set", override)]
