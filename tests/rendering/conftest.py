"""A run folder made of synthetic counts, written through the same store as real runs."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vssbench.analysis.run import Run, load_run
from vssbench.results.schema import CaseRecord, UnitKey, UnitRecord
from vssbench.results.store import RunFolder, slug, write_atomically

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
    }
    return UnitRecord(key, cases, counts, steps, 1.0, kbps, "ab" * 32, timings)


def _png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


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


def write_picture(
    folder: RunFolder, dataset: str, codec: str, methods: list[str], size: tuple[int, int] = (144, 192)
) -> None:
    """One complete picture case, in the layout of runner.pictures."""
    base = f"pictures/{slug(dataset)}/{slug(codec)}/seq-1-frame-000020-d11"
    truth = _street(*size, 0)
    rng = np.random.default_rng(5)
    image = np.clip(np.array(PALETTE, np.float32)[truth] + rng.normal(0, 16, (*size, 3)), 0, 255).astype(
        np.uint8
    )
    truth_ignored = truth.copy()
    truth_ignored[-6:] = 255
    write_atomically(folder.path / base / "decoded.png", _png(image))
    write_atomically(folder.path / base / "truth.png", _png(truth_ignored))
    predictions = {}
    for number, title in enumerate(methods):
        predictions[title] = f"prediction-{number}.png"
        write_atomically(folder.path / base / predictions[title], _png(_street(*size, 3 * number)))
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    flow = np.stack([(columns - size[1] / 2) / 12, (rows - size[0] / 2) / 14])
    flow[:, 40:60, 30:80] = 0
    valid = np.ones(size, bool)
    valid[40:60, 30:80] = False
    buffer = io.BytesIO()
    np.savez_compressed(buffer, flow=flow.astype(np.float16), valid=valid)
    write_atomically(folder.path / base / "motion.npz", buffer.getvalue())
    folder.write_json(
        f"{base}/case.json",
        {
            "dataset": dataset, "codec": codec, "sequence": "seq-1", "frame": 20, "distance": 11, "frame_type": "P",
            "coded_bytes": 2100, "class_names": list(CLASSES), "palette": [list(c) for c in PALETTE], "ignore_index": 255,
            "decoded": "decoded.png", "truth": "truth.png", "predictions": predictions, "motion": "motion.npz",
        },
    )  # fmt: skip


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
    """Kept frames of a sequence, in the layout of runner.frames; `place` gives frame and distance of each.

    Without it: the first unit's frame at its first `count` distances.
    """
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(PALETTE)] = PALETTE
    files: dict[str, bytes] = {}
    cases = []
    for d in range(count):
        frame, distance = place(d)
        truth = _street(*size, d)
        files[f"{d}-decoded.webp"] = _webp(palette[truth])
        files[f"{d}-truth.png"] = _palette_png(truth, palette)
        predictions = {title: f"{d}-prediction-{k}.png" for k, title in enumerate(methods)}
        for k, name in enumerate(predictions.values()):
            files[name] = _palette_png(_street(*size, d + 3 * k), palette)
        buffer = io.BytesIO()
        flow = np.full((2, size[0] // 4, size[1] // 4), -d, np.float16)
        np.savez_compressed(
            buffer, flow=flow, valid=np.arange(size[1] // 4) > np.zeros((size[0] // 4, 1)) + 3
        )
        files[f"{d}-motion.npz"] = buffer.getvalue()
        cases.append(
            {
                "dataset": dataset, "codec": codec, "sequence": sequence, "unit": "frame-000000", "frame": frame,
                "distance": distance, "frame_type": "P" if distance else "I",
                "coded_bytes": 2100 if distance else 9000, "qp": 24.5 + distance,
                "motion_step": 4, "class_names": list(CLASSES), "palette": [list(c) for c in PALETTE], "ignore_index": 255,
                "decoded": f"{d}-decoded.webp", "truth": f"{d}-truth.png", "predictions": predictions,
                "motion": f"{d}-motion.npz",
            }
        )  # fmt: skip
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in {"cases.json": json.dumps(cases).encode(), **files}.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    path = folder.path / f"frames/{slug(dataset)}/{slug(codec)}/{slug(sequence)}-frame-000000.zip"
    write_atomically(path, buffer.getvalue())


def _webp(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "WEBP", quality=80, method=0)
    return buffer.getvalue()


def _palette_png(labels: np.ndarray, palette: np.ndarray) -> bytes:
    picture = Image.frombytes("P", labels.shape[::-1], labels.tobytes())
    picture.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _experiment(
    methods: dict[str, Any], distances: int, dataset: str, codecs: dict[str, Any]
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "title": "fabricated streets",
        "notes": "",
        "seed": 0,
        "datasets": [{"name": "synthetic", "label": dataset, "split": "val", "only": []}],
        "codecs": [
            {"codec": c.split("-")[0], "label": c, "bitrate_kbps": 700, "preset": "medium"} for c in codecs
        ],
        "methods": [{"name": spec[0], "label": title, "codecs": []} for title, spec in methods.items()],
        "protocol": {
            "kind": "clip",
            "keyframe_interval": distances,
            "distances": "all",
            "clip_frames": "full",
        },
        "measure": {"macs": True, "step_time": True},
        "pictures": {"per_codec": 1, "distance": None},
    }


def fabricate_run(
    path: Path,
    *,
    sequences: int = 3,
    units: int = 4,
    distances: int = 12,
    methods: dict[str, Any] | None = None,
    pictures: bool = True,
    dataset: str = "streets",
    codecs: dict[str, Any] | None = None,
) -> Run:
    """Write a run of 2 codecs x the methods and open it."""
    methods, codecs = METHODS if methods is None else methods, CODECS if codecs is None else codecs
    folder = RunFolder(path)
    folder.write_json("experiment.json", _experiment(methods, distances, dataset, codecs))
    folder.write_json("environment.json", ENVIRONMENT)
    count = len(codecs) * len(methods) * sequences * units
    titles = {"datasets": [dataset], "codecs": list(codecs), "methods": list(methods)}
    folder.write_json(
        "plan.json",
        {
            "items": 1,
            "units": count,
            "cases": count * distances,
            "encodes": 1,
            "encoded_frames": 1,
            "titles": titles,
        },
    )
    folder.write_json("datasets.json", {dataset: _dataset(sequences)})
    for codec, (kbps, loss) in codecs.items():
        for title, (_, quality, slope, _) in methods.items():
            for s in range(sequences):
                for u in range(units):
                    key = UnitKey(dataset, codec, title, f"seq-{s}", f"frame-{u:06d}")
                    folder.write_unit(
                        _unit(key, kbps, quality - loss + 0.01 * s, slope, distances, 100 * s + u + 20)
                    )
        if pictures:
            write_picture(folder, dataset, codec, list(methods))
            write_frames(folder, dataset, codec, list(methods))
    for title, (_, _, _, (key_gmacs, non_key_gmacs)) in methods.items():
        mean = (key_gmacs + non_key_gmacs * (distances - 1)) / distances
        cost = {
            "dataset": dataset,
            "method": title,
            "size": [144, 192],
            "keyframe_interval": distances,
            "rule": "exact",
        }
        cost |= {"key_gmacs": key_gmacs, "non_key_gmacs": non_key_gmacs, "gop_mean_gmacs": mean}
        folder.write_json(f"costs/{slug(dataset)}/{slug(title)}.json", cost)
    return load_run(path)


ENVIRONMENT: dict[str, Any] = {
    "bits": {
        "vssbench": "0.1.0",
        "packages": {"torch": "2.13.0", "av": "18.1.0"},
        "encoders": {"hevc": "x265 4.1", "h264": "x264 core 164"},
        "device": "cpu",
        "architecture": "x86_64",
        "weights": {"constant 1.0/network": "cd" * 32},
    },
    "machine": {
        "system": "Linux 6.1",
        "python": "3.11.2",
        "processor": "a processor",
        "threads_per_worker": 1,
    },
    "forced": [],
}


def _dataset(sequences: int) -> dict[str, Any]:
    described = {"frames": 124, "labelled": 4, "size": [144, 192], "frame_rate_hz": 30.0}
    return {
        "class_names": list(CLASSES),
        "palette": [list(colour) for colour in PALETTE],
        "ignore_index": 255,
        "categories": None,
        "protocol_mark": "",
        "sequences": {f"seq-{s}": described for s in range(sequences)},
    }


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """2 codecs x 4 methods x 12 distances x 12 units, with pictures. Do not write into it."""
    return fabricate_run(tmp_path_factory.mktemp("runs") / "fabricated")


@pytest.fixture(scope="session")
def evil_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run in which a method is titled like an attack."""
    methods = {**dict(list(METHODS.items())[:2]), EVIL: METHODS["AR-Seg 0.5"]}
    return fabricate_run(
        tmp_path_factory.mktemp("runs") / "evil", methods=methods, sequences=1, units=2, distances=3
    )


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run in which every text that comes from data attacks whatever shows it. Do not write into it."""
    quality = METHODS["AR-Seg 0.5"]
    made = fabricate_run(
        tmp_path_factory.mktemp("runs") / 'it\'s <b>hostile</b> & "quoted"',
        methods={"constant 1.0": METHODS["constant 1.0"], **dict.fromkeys(HOSTILE_METHODS, quality)},
        dataset=HOSTILE_DATASET,
        codecs={HOSTILE_CODEC: (704.2, 0.0)},
        sequences=1,
        units=2,
        distances=3,
    )
    folder = RunFolder(made.path)
    datasets = folder.read_json("datasets.json")
    datasets[HOSTILE_DATASET]["class_names"] = list(HOSTILE_CLASSES)
    datasets[HOSTILE_DATASET]["protocol_mark"] = EVIL
    folder.write_json("datasets.json", datasets)
    folder.write_json(
        "experiment.json", {**made.experiment, "title": EVIL, "notes": f"{EVIL} {HOSTILE_DATASET}"}
    )
    folder.write_json("environment.json", {**ENVIRONMENT, "forced": [[EVIL]]})
    for title in HOSTILE_METHODS:
        stages = {"decode": 1.0, f"{EVIL} stage": 2.0}
        record = {"dataset": HOSTILE_DATASET, "method": title, "device": EVIL, "waterfall": stages}
        folder.write_json(f"latency/{slug(HOSTILE_DATASET)}/{slug(title)}.json", record)
    return load_run(made.path)


@pytest.fixture
def fabricate() -> Fabricate:
    """The function that writes a run folder."""
    return fabricate_run


@pytest.fixture
def as_in_the_paper() -> Callable[[Run], Run]:
    """Puts a fabricated run under an experiment that the paper knows: PSPNet18 at 1.0 and AR-Seg at 0.5 on CamVid."""

    def change(made: Run) -> Run:
        network = {"network": "pspnet18-camvid", "weights": {"hr": "somewhere"}}
        experiment = {
            **made.experiment,
            "datasets": [{"name": "camvid", "protocol": "paper", "label": "streets"}],
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
        RunFolder(made.path).write_json("experiment.json", experiment)
        return load_run(made.path)

    return change
