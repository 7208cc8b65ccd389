"""A run folder made of synthetic counts, written through the same store as real runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vssbench.analysis.run import Run, load_run
from vssbench.experiment.schema import load_experiment
from vssbench.records import ClassTable, CodedQuality, FlowField
from vssbench.results.costs import cost_path
from vssbench.results.frames import FrameArchive, archive_name
from vssbench.results.roster import make_roster
from vssbench.results.schema import CaseRecord, UnitKey, UnitRecord
from vssbench.results.store import RunFolder
from vssbench.results.stored import write_start

CLASSES = ("sky", "building", "road", "pavement", "tree", "car", "pedestrian", "pole", "sign")
PALETTE = (
    (128, 128, 128),
    (128, 0, 0),
    (128, 64, 128),
    (0, 0, 192),
    (128, 128, 0),
    (64, 0, 128),
    (64, 64, 0),
    (192, 192, 128),
    (192, 128, 128),
)
METHODS = {
    "constant 1.0": ("constant", 0.760, 0.0000, (52.4, 52.4)),
    "constant 0.5": ("constant", 0.655, 0.0000, (13.1, 13.1)),
    "warp-only": ("warp-only", 0.760, 0.0220, (52.4, 0.2)),
    "AR-Seg 0.5": ("ar-seg", 0.752, 0.0045, (53.0, 14.6)),
}
CODERS = {"h264-700k": "h264"}
SCALES = {"constant 0.5": {"lr_scale": 0.5}}
"""Options by title."""
CODECS = {"hevc-700k": (704.2, 0.0), "h264-700k": (711.9, 0.021)}
EVIL = "<script>alert(1)</script>"
HOSTILE_METHODS = (
    EVIL,
    '=HYPERLINK("http://elsewhere.example/","x")',
    r"[5cm]\input{/etc/passwd}% $x^2$ ~#&_",
    "--></title><img src=x onerror=alert(2)> | a`b`* [c](d)",
    "@SUM(1)\x1b]8;;x\x07\u202e{{ 7 * 7 }} ${7*7} [red]'\" é ü ß ¬",
)
HOSTILE_DATASET = '"><svg onload=alert(3)> it\'s, a "street"'
HOSTILE_CODEC = "+1' onmouseover='alert(4)"
HOSTILE_CLASSES = (
    "</script><script>alert(5)</script>",
    "-2+3",
    "*bold*",
    "a|b",
    "${c}",
    "&amp;",
    "'q'",
    '"r"',
    "[1]",
)

Fabricate = Callable[..., Run]


def counts_for(quality: float, rng: np.random.Generator, classes: int) -> np.ndarray:
    """Confusion counts int64 [C, C] of one frame whose mIoU is roughly `quality`; thin classes do worse."""
    share = np.geomspace(40, 1, classes)
    pixels = (10_000 * share / share.sum()).astype(np.int64)
    counts = np.zeros((classes, classes), np.int64)
    for truth in range(classes):
        hit = np.clip(quality + 0.25 - 0.03 * truth + rng.normal(0, 0.02), 0.02, 0.99)
        right = int(pixels[truth] * hit)
        counts[truth, truth] = right
        wrong = rng.multinomial(pixels[truth] - right, np.full(classes - 1, 1 / (classes - 1)))
        counts[truth, np.arange(classes) != truth] += wrong
    return counts


def _unit(key: UnitKey, kbps: float, quality: float, slope: float, distances: int, frame: int) -> UnitRecord:
    rng = np.random.default_rng(frame)
    cases = tuple(
        CaseRecord(
            frame,
            d,
            "I" if d == 0 else "P",
            frame - d,
            distances,
            9000 if d == 0 else 2100,
            "key" if d == 0 else "non_key",
        )
        for d in range(distances)
    )
    counts = np.stack([counts_for(quality - slope * d, rng, len(CLASSES)) for d in range(distances)])
    steps = {"key": distances, "non_key": distances * (distances - 1) // 2}
    key_gmacs, non_key_gmacs = METHODS.get(key.method, METHODS["AR-Seg 0.5"])[3]
    timings = {
        "step_key": 0.0012 * (key_gmacs + 3) * steps["key"],
        "step_non_key": 0.0012 * (non_key_gmacs + 3) * steps["non_key"],
        "steps_key": steps["key"],
        "steps_non_key": steps["non_key"],
    }
    coded = CodedQuality(255**2 * 1000, round(1000 * kbps), 0.95, 1)  # PSNR = 10 log10(kbps)
    return UnitRecord(key, cases, counts, steps, 1.0, kbps, "ab" * 32, timings, quality=coded)


def _street(height: int, width: int, shift: int) -> np.ndarray:
    """A label map [H, W] with sky, buildings, road, a car, thin poles."""
    rows, columns = np.mgrid[:height, :width]
    labels = np.full((height, width), 1, np.uint8)
    labels[rows < height * 0.35 + 12 * np.sin((columns + shift) / 23)] = 0
    labels[rows > height * 0.6] = 3
    labels[(rows > height * 0.6) & (abs(columns - width / 2) < (rows - height * 0.5) * 0.9)] = 2
    labels[(rows > height * 0.3) & (rows < height * 0.66) & ((columns + shift) % 97 < 4)] = 7
    labels[(abs(rows - height * 0.68) < 14) & (abs(columns - width * 0.55 - shift) < 26)] = 5
    labels[(abs(rows - height * 0.6) < 17) & (abs(columns - width * 0.2 + shift) < 6)] = 6
    return labels


def write_frames(
    folder: RunFolder,
    dataset: str,
    codec: str,
    methods: list[str],
    *,
    count: int = 6,
    size: tuple[int, int] = (144, 192),
    sequence: str = "seq-0",
    place: Callable[[int], tuple[int, int]] = lambda number: (20, number),
) -> None:
    """Kept frames of a sequence; `place` gives frame and distance of each.

    Without it: the first unit's frame at its first `count` distances. Their motion is -d pixels along both axes, none in
    the first 16 columns.
    """
    palette = np.array(PALETTE, np.uint8)
    archive = FrameArchive(
        dataset,
        codec,
        sequence,
        "frame-000000",
        ClassTable(CLASSES, PALETTE),
        belonging(folder, dataset, sequence),
    )
    for d in range(count):
        frame, distance = place(d)
        truth = _street(*size, d)
        flow = np.full((2, *size), -d, np.float32)
        archive.add(
            frame=frame,
            distance=distance,
            frame_type="P" if distance else "I",
            coded_bytes=2100 if distance else 9000,
            qp=24.5 + distance,
            decoded=palette[truth],
            truth=truth,
            predictions={title: _street(*size, d + 3 * k) for k, title in enumerate(methods)},
            motion=FlowField(flow, np.broadcast_to(np.arange(size[1]) >= 16, size).copy()),
        )
    archive.write(folder.path / archive_name(dataset, codec, sequence, "frame-000000"))


def belonging(folder: RunFolder, dataset: str, sequence: str) -> str:
    """What the product would say kept frames of a sequence belong to."""
    return load_run(folder.path).basis.of_sequence(dataset, sequence)[-1]


def write_still(
    folder: RunFolder, dataset: str, codec: str, methods: list[str], size: tuple[int, int] = (144, 192)
) -> None:
    """One frame that is kept alone, noisy, its last rows ignored, and with motion that grows from the middle."""
    truth = _street(*size, 0)
    noise = np.random.default_rng(5).normal(0, 16, (*size, 3))
    image = np.clip(np.array(PALETTE, np.float32)[truth] + noise, 0, 255).astype(np.uint8)
    truth[-6:] = 255
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    flow = np.stack([(columns - size[1] / 2) / 12, (rows - size[0] / 2) / 14])
    valid = np.ones(size, bool)
    valid[40:60, 30:80] = False
    archive = FrameArchive(
        dataset,
        codec,
        "seq-1",
        "frame-000020",
        ClassTable(CLASSES, PALETTE),
        belonging(folder, dataset, "seq-1"),
    )
    archive.add(
        frame=20,
        distance=11,
        frame_type="P",
        coded_bytes=2100,
        qp=None,
        decoded=image,
        truth=truth,
        predictions={title: _street(*size, 3 * number) for number, title in enumerate(methods)},
        motion=FlowField(flow, valid),
    )
    archive.write(folder.path / archive_name(dataset, codec, "seq-1", "frame-000020", 11))


def experiment_of(
    methods: dict[str, Any], distances: int, dataset: str, codecs: dict[str, Any], title: str, notes: str
) -> dict[str, Any]:
    """As a YAML file would say it."""
    return {
        "title": title,
        "notes": notes,
        "datasets": [{"name": "synthetic", "label": dataset}],
        "codecs": [{"codec": CODERS.get(c, "hevc"), "label": c, "bitrate_kbps": 700} for c in codecs],
        "methods": [
            {"name": spec[0], "label": title, **SCALES.get(title, {})} for title, spec in methods.items()
        ],
        "protocol": {"kind": "clip", "keyframe_interval": distances},
    }


def fabricate_run(
    fabricated: Callable[..., Run],
    path: Path,
    *,
    sequences: int = 4,
    units: int = 4,
    distances: int = 12,
    methods: dict[str, Any] | None = None,
    pictures: bool = True,
    dataset: str = "streets",
    codecs: dict[str, Any] | None = None,
    title: str = "fabricated streets",
    notes: str = "",
    classes: tuple[str, ...] = CLASSES,
    **more: Any,
) -> Run:
    """Write a run of 2 codecs x the methods and open it. fabricated: the fixture; more: for it."""
    methods, codecs = METHODS if methods is None else methods, CODECS if codecs is None else codecs
    records = [
        _unit(
            UnitKey(dataset, codec, method, f"seq-{s}", f"frame-{u:06d}"),
            kbps, quality - loss + 0.01 * s, slope, distances, 100 * s + u + 20,
        )
        for codec, (kbps, loss) in codecs.items()
        for method, (_, quality, slope, _) in methods.items()
        for s in range(sequences)
        for u in range(units)
    ]  # fmt: skip
    made = fabricated(
        path,
        experiment_of(methods, distances, dataset, codecs, title, notes),
        records,
        gmacs={method: spec[3] for method, spec in methods.items()},
        classes=ClassTable(classes, PALETTE),
        sequences={f"seq-{s}": (124, 4) for s in range(max(2, sequences))},
        **more,
    )
    for codec in codecs if pictures else ():
        write_still(made.folder, dataset, codec, list(methods))
        write_frames(made.folder, dataset, codec, list(methods))
    return load_run(path)


@pytest.fixture(scope="session")
def run(fabricated: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """2 codecs x 4 methods x 12 distances x 12 units, with pictures. Do not write into it."""
    return fabricate_run(fabricated, tmp_path_factory.mktemp("runs") / "fabricated")


@pytest.fixture(scope="session")
def evil_run(fabricated: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run in which a method is titled like an attack."""
    methods = {**dict(list(METHODS.items())[:2]), EVIL: METHODS["AR-Seg 0.5"]}
    return fabricate_run(
        fabricated,
        tmp_path_factory.mktemp("runs") / "evil",
        methods=methods,
        sequences=1,
        units=2,
        distances=3,
    )


@pytest.fixture(scope="session")
def hostile_run(
    fabricated: Callable[..., Run],
    write_latency: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """A run in which every text that comes from data attacks whatever shows it. Do not write into it."""
    quality = METHODS["AR-Seg 0.5"]
    made = fabricate_run(
        fabricated,
        tmp_path_factory.mktemp("runs") / 'it\'s <b>hostile</b> & "quoted"',
        methods={"constant 1.0": METHODS["constant 1.0"], **dict.fromkeys(HOSTILE_METHODS, quality)},
        dataset=HOSTILE_DATASET,
        codecs={HOSTILE_CODEC: (704.2, 0.0)},
        sequences=1,
        units=2,
        distances=3,
        title=EVIL,
        notes=f"{EVIL} {HOSTILE_DATASET}",
        classes=HOSTILE_CLASSES,
        protocol_mark=EVIL,
        forced=[[EVIL]],
    )
    for title in HOSTILE_METHODS:
        stages = {"key": {"decode": 1.0, f"{EVIL} stage": 2.0}}
        write_latency(made, title, device=EVIL, waterfall=stages)
    return made


@pytest.fixture(scope="session")
def fabricate(fabricated: Callable[..., Run]) -> Fabricate:
    """The function that writes a run folder."""
    return partial(fabricate_run, fabricated)


@pytest.fixture
def as_in_the_paper() -> Callable[[Run], Run]:
    """Puts a fabricated run under an experiment that the paper knows: PSPNet18 at 1.0 and AR-Seg at 0.5 on CamVid."""

    def change(made: Run) -> Run:
        network = {"network": "pspnet18-camvid", "weights": {"hr": "somewhere"}}
        paper = {
            "datasets": [
                {"name": "camvid", "split": "test", "protocol": "paper", "label": "streets", "root": "CamVid"}
            ],
            "codecs": [
                {
                    "label": "hevc-700k", "codec": "hevc", "bitrate_kbps": 3000, "preset": "medium",
                    "extra": {"rect": "1", "amp": "1"},
                }
            ],
            "methods": [
                {"label": "constant 1.0", "name": "constant", "lr_scale": 1.0, **network},
                {"label": "AR-Seg 0.5", "name": "ar-seg", "lr_scale": 0.5, **network},
            ],
            "protocol": {"kind": "clip", "distances": "all", "keyframe_interval": 12},
        }  # fmt: skip
        experiment = load_experiment(paper)
        units = list(made.units())
        basis = write_start(
            made.folder, experiment, make_roster(experiment), made.plan, made.datasets, made.environment
        )
        for record in units:
            if basis.of_unit(record.key):
                made.folder.write_unit(replace(record, belongs=basis.of_unit(record.key)[-1]))
            else:
                made.folder.unit_path(record.key).unlink()
        for (dataset, method), cost in made.costs.items():
            made.folder.write_record(cost_path(dataset, method), cost, basis.of_dataset(dataset)[-1])
        return load_run(made.path)

    return change


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[[str], str]:
    """Compiles a tabular with pdflatex and gives what it shows; '' where there is no pdftotext. Skips without pdflatex."""

    def compile_(tabular: str) -> str:
        compiler = shutil.which("pdflatex")
        if compiler is None:
            if "pdflatex" in os.environ.get("VSSBENCH_REQUIRE", ""):
                pytest.fail("VSSBENCH_REQUIRE names pdflatex, but there is none")
            pytest.skip("needs pdflatex")
        head = (
            "\\documentclass{article}\n\\usepackage[T1]{fontenc}\n\\usepackage{booktabs}\n\\begin{document}\n"
        )
        text = f"{head}\\begin{{center}}\n{tabular}\\end{{center}}\n\\end{{document}}\n"
        (tmp_path / "made.tex").write_text(text, encoding="utf-8")
        done = subprocess.run(
            [compiler, "-interaction=nonstopmode", "-halt-on-error", "made.tex"],
            cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:]
        if shutil.which("pdftotext") is None:
            return ""
        shown = subprocess.run(["pdftotext", "made.pdf", "-"], cwd=tmp_path, capture_output=True, check=True)
        return shown.stdout.decode("utf-8")

    return compile_
