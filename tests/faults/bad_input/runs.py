"""Damaged run folders and baselines, and bad training experiments."""

from __future__ import annotations

import base64
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

from bad_input.case import Words, bad, changed
from PIL import Image
from typer.testing import CliRunner

from vssbench.cli import app
from vssbench.networks import create
from vssbench.networks.weights import WeightsMetadata, save_weights
from vssbench.results.documents import EnvironmentRecord
from vssbench.results.store import RunFolder
from vssbench.results.stored import ENVIRONMENT_FILE


def damaged(name: str, change: Callable[[str], str], *words: object) -> Words:
    """A copy of the finished run with one file changed."""
    path = next(Path("run").glob(name))
    path.write_text(change(path.read_text()))
    return list(words) or ["report", "run"]


def begun_elsewhere(key: str, value: object) -> Words:
    """The finished run, as if it had been begun where one part of the environment is another."""
    before = RunFolder(Path("run")).read_record(ENVIRONMENT_FILE, EnvironmentRecord)
    RunFolder(Path("run")).write_record(
        ENVIRONMENT_FILE, before.model_copy(update={"bits": {**before.bits, key: value}})
    )
    return changed()


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
    "a run that was begun with another encoder": (lambda: begun_elsewhere("encoders", {}), 2),
    "a run that was begun with other code": (lambda: begun_elsewhere("code", "other"), 2),
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


TRAINING = {
    "name": "t",
    "dataset": {"name": "synthetic", "sequences": 1, "frames": 4, "size": [64, 96]},
    "codecs": [{"codec": "h264", "qp": 30, "preset": "ultrafast", "references": 1}],
    "pairs": {"keyframe_interval": 2, "limit_clips": 1},
    "validation": {"every": 9, "clips": 1, "distances": [0]},
    "contestants": [
        {
            "label": "c",
            "name": "constant",
            "options": {"network": "bisenet18", "width": 4, "loss": "cross-entropy"},
            "stages": {"image": {"steps": 2, "batch": 2}},
        }
    ],
}


def training(*overrides: str) -> Words:
    Path("t.yaml").write_text(json.dumps(TRAINING))
    return ["train", "t.yaml", "-o", "out", *(w for o in overrides for w in ("--set", o))]


def stage(setting: str) -> str:
    return f"contestants.c.stages.image.{setting}"


@bad("training", "a learning rate at which the loss becomes NaN", 3)
def _diverging() -> Words:
    return training(stage("optimiser=sgd"), stage("learning_rate=1e30"), "precision=float32")


@bad("training", "labels that are ignored everywhere", 3)
def _nothing_labelled() -> Words:
    for kind, mode, value in (("frames", "RGB", (9, 9, 9)), ("labels", "L", 11)):
        Path(f"data/train/{kind}").mkdir(parents=True)
        for index in range(4):
            Image.new(mode, (96, 64), value).save(f"data/train/{kind}/0016E5_{7959 + 2 * index:05d}.png")
    shutil.copytree("data/train", "data/val_sequence")
    return training("dataset={name: camvid, root: data}", "pairs.source=stills")


@bad("training", "weights that were trained for other classes", 2)
def _other_classes() -> Words:
    network = create("bisenet18", 11, width=4)
    names = tuple(f"class {index}" for index in range(11))
    save_weights(network, "w.safetensors", WeightsMetadata.describing(network, class_names=names))
    return training(stage("initialise_from={network: w.safetensors}"))


@bad("training", "weights to begin from that are not there", 3)
def _no_beginning() -> Words:
    return [*training(stage("initialise_from={network: gone.safetensors}")), "--dry-run"]


@bad("training", "labels with a value that is no class", 3)
def _strange_labels() -> Words:
    for kind, mode, value in (("frames", "RGB", (9, 9, 9)), ("labels", "L", 7)):
        Path(f"data/train/{kind}").mkdir(parents=True)
        Image.new(mode, (96, 64), value).save(f"data/train/{kind}/a.png")
    Path("data/train/classes.csv").write_text("name,red,green,blue\nroad,1,2,3\ncar,4,5,6\n")
    shutil.copytree("data/train", "data/val")
    shutil.copy("data/train/classes.csv", "data/classes.csv")
    return [*training("dataset={name: folder, root: data, label_format: index}"), "--dry-run"]


@bad("training", "a folder that holds another training", 3)
def _another_training() -> Words:
    assert CliRunner().invoke(app, [str(word) for word in training()]).exit_code == 0
    return training("seed=5")


@bad("training", "a contestant that is not there", 2)
def _absent_contestant() -> Words:
    return [*training(), "--only", "d"]


@bad("training", "ImageNet weights for a slim network", 2)
def _slim_backbone() -> Words:
    return [*training(), "--backbone-weights", "resnet18.pth"]
