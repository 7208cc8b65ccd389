"""Damaged run folders and baselines, and bad training experiments."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path

from bad_input.case import Words, bad, changed


def damaged(name: str, change: Callable[[str], str], *words: object) -> Words:
    """A copy of the finished run with one file changed."""
    path = next(Path("run").glob(name))
    path.write_text(change(path.read_text()))
    return list(words) or ["report", "run"]


def edited(text: str, **changes: object) -> str:
    return json.dumps({**json.loads(text), **changes})


RUNS: dict[str, tuple[Callable[[], Words], int]] = {
    "a report of nothing": (lambda: ["report", "absent"], 3),
    "a report of some folder": (lambda: (Path("some").mkdir(), ["report", "some"])[1], 3),
    "a run whose experiment was damaged": (lambda: damaged("experiment.json", lambda t: t[:50]), 3),
    "a run whose environment was damaged": (lambda: damaged("environment.json", lambda _: "\0"), 3),
    "a run whose plan misses a key": (lambda: damaged("plan.json", lambda _: "{}"), 3),
    "a unit record cut short": (lambda: damaged("units/*/*/*/*/*.json", lambda t: t[:100]), 3),
    "a unit record that was edited": (
        lambda: damaged("units/*/*/*/*/*.json", lambda t: edited(t, achieved_kbps=1.0)),
        3,
    ),
    "a unit record of the future": (
        lambda: damaged("units/*/*/*/*/*.json", lambda t: edited(t, schema=99)),
        3,
    ),
    "a unit record full of zeros": (lambda: damaged("units/*/*/*/*/*.json", lambda t: "\0" * len(t)), 3),
    "a unit record whose counts unpack without end": (
        lambda: damaged(
            "units/*/*/*/*/*.json",
            lambda t: edited(t, counts={"shape": [4, 11, 11], "zlib_int64": _bomb()}),
        ),
        3,
    ),
    "a cost record that was damaged": (lambda: damaged("costs/*/*.json", lambda t: t[:9]), 3),
    "another experiment in the same folder": (lambda: [*changed("seed=5")], 2),
    "a run that was begun with another encoder": (
        lambda: damaged(
            "environment.json", lambda t: re.sub(r"x264 - core \d+[^;]*", "x264 - core 1", t), *changed()
        ),
        2,
    ),
    "a run that was begun with other code": (
        lambda: damaged(
            "environment.json",
            lambda t: re.sub(r'("vssbench.ops.resize": ")\w+', r"\1changed", t).replace(
                '"code": "', '"code": "x'
            ),
            *changed(),
        ),
        2,
    ),
    "a baseline that is not there": (lambda: ["check", "run", "--baseline", "absent.json"], 3),
    "a baseline that is no JSON": (lambda: _baseline("{"), 3),
    "a baseline of another kind": (lambda: _baseline('{"schema": 77}'), 3),
    "a baseline without rows": (lambda: _baseline('{"schema": 2}'), 3),
    "a file as output folder": (
        lambda: (Path("file").write_text(""), [*changed()[:2], "-o", "file/run", "--workers", 1])[1],
        3,
    ),
}


def _bomb() -> str:
    return base64.b64encode(zlib.compress(bytes(300_000_000), 9)).decode()


def _baseline(text: str) -> Words:
    Path("b.json").write_text(text)
    return ["check", "run", "--baseline", "b.json"]


for title, (make_run, code) in RUNS.items():
    bad("runs", title, code)(make_run)

bad("training", "a mistyped training experiment", 2)(lambda: ["train", "quickstrat"])
bad("training", "a training experiment that is broken YAML", 2)(
    lambda: (Path("t.yaml").write_text("dataset: {"), ["train", "t.yaml"])[1]
)
bad("training", "a training experiment with an unknown key", 2)(
    lambda: (Path("t.yaml").write_text("dataset: {name: synthetic}\nstage: {}\n"), ["train", "t.yaml"])[1]
)
