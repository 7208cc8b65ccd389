"""At least sixty bad inputs, and the message each gets: docs/bad-input.md is written by this test.

VSSBENCH_UPDATE=bad-input pytest tests/faults/test_bad_input_table.py     writes the page anew
"""

from __future__ import annotations

import json
import os
import pickle
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from vssbench.cli import app
from vssbench.errors import VssbenchError

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "bad-input.md"
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


# Experiments ----------------------------------------------------------------------------------------------------------


def experiment(text: str | bytes) -> Words:
    Path("x.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    return ["run", "x.yaml", "-o", "run", "--workers", 1, "--device", "cpu"]


def changed(*overrides: str) -> Words:
    words = experiment(json.dumps(EXPERIMENT))
    return words + [word for override in overrides for word in ("--set", override)]


for title, text in {
    "an empty file": "",
    "a list instead of keys": "- 1\n- 2\n",
    "broken YAML": "dataset: {name: synthetic\n",
    "aliases that would grow without bound": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "a tag that would run code": "title: !!python/object/apply:os.system ['touch the-file-was-executed']\n",
    "thousands of nested lists": "title: " + "[" * 20000,
    "a megabyte of notes": "notes: " + "x" * 1_000_000,
    "the same key twice": json.dumps(EXPERIMENT)[:-1] + ', "seed": 1, "seed": 2}',
    "an unknown key": json.dumps({**EXPERIMENT, "protocl": {}}),
    "a schema version of the future": json.dumps({**EXPERIMENT, "schema_version": 9}),
    "no method at all": json.dumps({**EXPERIMENT, "methods": []}),
}.items():
    bad("experiments", title, 2)(lambda text=text: experiment(text))
bad("experiments", "bytes that are no text", 3)(lambda: experiment(b"\xff\xfe\x00title"))
bad("experiments", "a file that is not there", 3)(lambda: ["run", "absent.yaml"])
bad("experiments", "a mistyped packaged name", 2)(lambda: ["run", "quickstrat"])

for override, title in {
    "dataset=camvids": "an unknown dataset",
    "method=ar-sec": "an unknown method",
    "method.network=bisenet": "an unknown network",
    "method.networc=bisenet18": "an unknown option of a method",
    "method.lr_scale=0": "a scale of 0",
    "method.lr_scale=.nan": "a scale that is no number",
    "codec.crf=20": "two rate controls",
    "codec.codec=av2": "an unknown codec",
    "codec.preset=fastest": "an unknown preset",
    "codec.extra={threads: 8}": "an encoder option that would change the bits",
    "codec.extra={qcomp: '0.5:threads=8'}": "an encoder option smuggled into another",
    "codec.extra={nonsense: 1}": "an option the encoder does not know",
    "protocol.keyframe_interval=0": "a keyframe interval of 0",
    "protocol.distances=[7]": "a distance beyond the keyframe interval",
    "protocol.distances=0-11": "a range in another notation",
    "dataset.frames=0": "a sequence without frames",
    "dataset.size=[64]": "half a frame size",
    "dataset.size=[100000, 100000]": "frames of ten gigapixels",
    "dataset.only=[nowhere]": "a sequence that the dataset lacks",
    "method.codecs=[hevc]": "a filter for a codec that is not there",
    "keyframe_interval": "--set without a value",
    "seed.deep=1": "--set below a plain value",
    "title=[": "--set with broken YAML",
}.items():
    bad("settings", title, 2)(lambda override=override: changed(override))
bad("settings", "two methods of one label", 2)(
    lambda: experiment(json.dumps({**EXPERIMENT, "methods": EXPERIMENT["methods"] * 2}))
)
bad("settings", "motion of a stream with three references", 2)(
    lambda: changed("method=warp-only", "method.width=4", "codec.references=3")
)
bad("settings", "an even attention window", 2)(
    lambda: changed("method=ar-seg", "method.width=4", "method.window=6")
)
bad("settings", "no frame that could be scored", 3)(
    lambda: changed("protocol.kind=clip", "protocol.keyframe_interval=12", "protocol.distances=[11]")
)
bad("settings", "no workers", 2)(lambda: [*changed()[:4], "--workers", 0])
bad("settings", "an unknown device", 2)(lambda: [*changed()[:4], "--device", "tpu!"])
bad("settings", "a cluster that is none", 2)(lambda: [*changed()[:4], "--cluster", "my-cluster"])
bad("settings", "a cluster and local workers", 2)(lambda: [*changed(), "--cluster", "local:2"])


@bad("settings", "an unknown key in a cluster file", 2)
def _() -> Words:
    Path("cluster.yaml").write_text("scheduler: slurm\nworkers: 4\n")
    return [*changed()[:4], "--cluster", "cluster.yaml"]


@bad("settings", "an unknown batch system", 2)
def _() -> Words:
    Path("cluster.yaml").write_text("scheduler: slrum\n")
    return [*changed()[:4], "--cluster", "cluster.yaml"]


# Datasets -------------------------------------------------------------------------------------------------------------

CLASSES = "name,red,green,blue\nroad,128,64,128\nsky,70,130,180\n"


def picture(size: tuple[int, int] = (48, 32), seed: int = 0) -> Image.Image:
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))


def folder(classes: str = CLASSES, name: str = "classes.csv") -> Path:
    """DATA with two frames, the first labelled."""
    data = Path("DATA")
    (data / "frames").mkdir(parents=True)
    (data / "labels").mkdir()
    (data / name).write_text(classes)
    for index in range(2):
        picture(seed=index).save(data / "frames" / f"{index:03d}.png")
    Image.fromarray(np.zeros((32, 48), np.uint8)).save(data / "labels" / "000.png")
    return data


def verify(*options: str) -> Words:
    words: Words = ["data", "verify", "folder", "--set", "root=DATA"]
    return words + [word for option in options for word in ("--set", option)]


for title, (text, name) in {
    "a class table without colours": ("name\nroad\n", "classes.csv"),
    "a colour value of 300": ("name,red,green,blue\nroad,300,0,0\n", "classes.csv"),
    "one class name twice": ("name,red,green,blue\nroad,0,0,0\nroad,1,1,1\n", "classes.csv"),
    "a class table of 300 classes": (
        "name,red,green,blue\n" + "".join(f"c{i},{i % 256},{i // 256},0\n" for i in range(300)),
        "classes.csv",
    ),
    "a class table that is no JSON": ("{", "classes.json"),
}.items():

    @bad("datasets", title, 3)
    def _(text: str = text, name: str = name) -> Words:
        folder(text, name)
        return verify()


@bad("datasets", "a root that is not there", 3)
def _() -> Words:
    return verify()


@bad("datasets", "a file as root", 3)
def _() -> Words:
    Path("DATA").write_text("")
    return verify()


@bad("datasets", "no class table", 3)
def _() -> Words:
    (folder() / "classes.csv").unlink()
    return verify()


for title, option in {
    "a path that climbs out of the root": "frames=../../home",
    "an absolute path": "labels=/etc",
    "a class table outside the root": "classes=../../etc/passwd",
}.items():

    @bad("datasets", title, 3)
    def _(option: str = option) -> Words:
        folder()
        return verify(option)


@bad("datasets", "a folder without frames", 3)
def _() -> Words:
    data = folder()
    for path in (data / "frames").iterdir():
        path.unlink()
    return verify()


@bad("datasets", "a label without its frame", 3)
def _() -> Words:
    data = folder()
    (data / "labels" / "000.png").rename(data / "labels" / "777.png")
    return verify()


@bad("datasets", "a zip archive among the frames (never extracted)", 3)
def _() -> Words:
    data = folder()
    with zipfile.ZipFile(data / "frames.zip", "w") as archive:
        archive.writestr("../../escaped.png", b"")
    return verify("frames=frames.zip")


# Pictures -------------------------------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(more)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


def frame(data: bytes, name: str = "001.png") -> Words:
    """DATA whose second frame has this content."""
    frames = folder() / "frames"
    (frames / "001.png").unlink()
    (frames / name).write_bytes(data)
    return verify()


def saved(kind: str, **options: object) -> bytes:
    picture().save(f"p.{kind}", **options)
    return Path(f"p.{kind}").read_bytes()


PICTURES: dict[str, Callable[[], Words]] = {
    "an empty file as frame": lambda: frame(b""),
    "a text file as frame": lambda: frame(b"not a picture"),
    "a PNG cut in half": lambda: frame(saved("png")[:2000]),
    "a PNG with a flipped byte": lambda: frame(saved("png")[:1500] + b"\xff" + saved("png")[1501:]),
    "a PNG of 46 bytes that claims 10 gigapixels": lambda: frame(png(100000, 100000)),
    "a PNG just above the limit on pixels": lambda: frame(png(8193, 8192)),
    "a PNG with a text that unpacks to 100 MB": lambda: frame(
        png(48, 32, chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(100_000_000), 9)))
    ),
    "a WebP cut in half": lambda: frame(saved("webp", lossless=True)[:1000], "001.webp"),
    "a WebP that claims another size": lambda: frame(
        saved("webp", lossless=True)[:21] + b"\xff\xff\xff\x0f" + saved("webp", lossless=True)[25:],
        "001.webp",
    ),
    "a JPEG cut in half": lambda: frame(saved("jpg")[:600], "001.jpg"),
    "a TIFF whose directory points nowhere": lambda: frame(b"II*\0\xff\xff\xff\x7f", "001.tif"),
    "a frame of another size": lambda: frame(png_of(picture((64, 32)))),
    "two pictures of one name": lambda: frame(saved("jpg"), "000.jpg"),
}


def png_of(image: Image.Image) -> bytes:
    image.save("other.png")
    return Path("other.png").read_bytes()


for title, make in PICTURES.items():
    bad("pictures", title, 3)(make)


@bad("pictures", "a folder named like a picture", 3)
def _() -> Words:
    (folder() / "frames" / "002.png").mkdir()
    return verify()


@bad("pictures", "a picture that links to itself", 3)
def _() -> Words:
    frames = folder() / "frames"
    (frames / "002.png").symlink_to("002.png")
    return verify()


def label(array: np.ndarray, name: str = "000.png", *options: str) -> Words:
    labels = folder() / "labels"
    (labels / "000.png").unlink()
    Image.fromarray(array).save(labels / name)
    return verify(*options)


for title, make_label in {
    "a class number outside the table": lambda: label(np.full((32, 48), 7, np.uint8)),
    "a colour outside the table": lambda: label(np.full((32, 48, 3), 7, np.uint8)),
    "a label of another size": lambda: label(np.zeros((16, 24), np.uint8)),
    "a label of 16 bits": lambda: label(np.zeros((32, 48), np.uint16)),
    "a label of floats": lambda: label(np.zeros((32, 48), np.float32), "000.tif"),
    "numbers where colours were promised": lambda: label(
        np.zeros((32, 48), np.uint8), "000.png", "label_format=colour"
    ),
    "colours where numbers were promised": lambda: label(
        np.zeros((32, 48, 3), np.uint8), "000.png", "label_format=index"
    ),
}.items():
    bad("label maps", title, 3)(make_label)


# Video ----------------------------------------------------------------------------------------------------------------


def video(suffix: str = "mp4", codec: str = "libx264", **options: str) -> bytes:
    path = f"made.{suffix}"
    options = {"refs": "1", "bf": "0", **options} if codec == "libx264" else options
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p" if codec != "mjpeg" else "yuvj420p"
        stream.thread_count = 1
        for index in range(8):
            for packet in stream.encode(av.VideoFrame.from_image(picture((64, 48), index))):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return Path(path).read_bytes()


def motion(data: bytes, name: str) -> Words:
    Path(name).write_bytes(data)
    return ["motion", name]


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


VIDEOS: dict[str, Callable[[], Words]] = {
    "a text file as mp4": lambda: motion(b"this is no video" * 40, "v.mp4"),
    "an empty mp4": lambda: motion(b"", "v.mp4"),
    "an mp4 that was never finished": lambda: motion(video()[:2000], "v.mp4"),
    "an mp4 cut before its end": lambda: motion(video("mp4")[:-1500], "v.mp4"),
    "an mkv cut in its header": lambda: motion(video("mkv")[:300], "v.mkv"),
    "an mp4 with a damaged header": lambda: motion(flipped(d := video(), d.index(b"stsd") + 1), "v.mp4"),
    "an HEVC stream of noise": lambda: motion(np.random.default_rng(0).bytes(4000), "v.hevc"),
    "an HEVC stream without parameter sets": lambda: motion(b"\0\0\1\x26\1" + b"\xaf" * 400, "v.hevc"),
    "a codec without motion vectors to read": lambda: motion(video("avi", "mjpeg"), "v.avi"),
    "H.264 with three references": lambda: motion(video("mp4", "libx264", refs="3", preset="slow"), "v.mp4"),
    "a playlist that names other files": lambda: motion(
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/hostname\n#EXT-X-ENDLIST\n", "v.mp4"
    ),
    "a concatenation script": lambda: motion(b"ffconcat version 1.0\nfile made.mp4\n", "v.mp4"),
    "a zip archive as video": lambda: motion(_zip(), "v.mkv"),
    "a folder as video": lambda: (Path("v.mp4").mkdir(), ["motion", "v.mp4"])[1],
    "a video that is not there": lambda: ["motion", "absent.mp4"],
}


def _zip() -> bytes:
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.writestr("video.mp4", b"")
    return Path("a.zip").read_bytes()


for title, make in VIDEOS.items():
    bad(
        "video",
        title,
        2 if title in ("a codec without motion vectors to read", "H.264 with three references") else 3,
    )(make)


@bad("video", "a decompression bomb among frames to encode", 3)
def _() -> Words:
    Path("FRAMES").mkdir()
    Path("FRAMES/000.png").write_bytes(png(100000, 100000))
    return ["encode", "FRAMES", "-o", "v.hevc", "--qp", 30]


@bad("video", "frames of two sizes to encode", 3)
def _() -> Words:
    Path("FRAMES").mkdir()
    for index, size in enumerate([(48, 32), (64, 32)]):
        picture(size).save(f"FRAMES/{index}.png")
    return ["encode", "FRAMES", "-o", "v.hevc", "--qp", 30]


@bad("video", "an output that exists", 2)
def _() -> Words:
    Path("v.hevc").write_bytes(b"precious")
    return ["encode", "FRAMES", "-o", "v.hevc", "--qp", 30]


# Weights --------------------------------------------------------------------------------------------------------------


class Executes:
    """What pickle would run on reading."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {EXECUTED}",)


def weights(data: bytes) -> Words:
    Path("w.safetensors").write_bytes(data)
    return changed("method.weights={network: w.safetensors}")


def tensors() -> bytes:
    save_file({"a": torch.zeros(4)}, "t.safetensors")
    return Path("t.safetensors").read_bytes()


def convert(data: bytes) -> Words:
    branch = Path("release/camvid-psp18/HR")
    branch.mkdir(parents=True)
    (branch / "PSPNet_resnet18_1.0_100_.pth").write_bytes(data)
    return ["weights", "convert", "release", "--out", "out"]


def torch_file(value: object) -> bytes:
    torch.save(value, "t.pth")
    return Path("t.pth").read_bytes()


WEIGHTS: dict[str, Callable[[], Words]] = {
    "a weight file that is none": lambda: weights(b"not safetensors"),
    "a weight file cut short": lambda: weights(tensors()[:-4]),
    "a weight header that claims an exabyte": lambda: weights(struct.pack("<Q", 1 << 60) + b"{}"),
    "a weight header that is no JSON": lambda: weights(struct.pack("<Q", 4) + b"{{{{"),
    "tensors that lie outside the file": lambda: weights(tensors().replace(b"[0,16]", b"[0,99]")),
    "weights of another network": lambda: weights(tensors()),
    "a pickle named .safetensors (never unpickled)": lambda: weights(pickle.dumps(Executes())),
    "weights under an unknown name": lambda: changed("method.weights={network: nothing/like-it}"),
    "a .pth where safetensors are expected": lambda: changed("method.weights={network: model.pth}"),
    "weights for a part that the method lacks": lambda: changed("method.weights={hr: w.safetensors}"),
    "a .pth that would run a command (never unpickled)": lambda: convert(torch_file({"a": Executes()})),
    "an old .pth that would run a command": lambda: convert(pickle.dumps({"a": Executes()})),
    "a .pth cut in half": lambda: convert(torch_file({"a": torch.zeros(999)})[:1500]),
    "a .pth that holds no tensors": lambda: convert(torch_file({"epoch": 3})),
}
for title, make in WEIGHTS.items():
    bad("weights", title, 3)(make)


# Runs -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import vssbench

    place = tmp_path_factory.mktemp("finished") / "run"
    vssbench.run(EXPERIMENT, place, workers=1, cache=place.parent / "cache", device="cpu")
    return place


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
    "a unit record cut short": (lambda: damaged("units/*/*/*/*/*.json", lambda t: t[:-40]), 3),
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
    import base64

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


# The test -------------------------------------------------------------------------------------------------------------


def answer(case: Case) -> tuple[int, str]:
    """Exit code and message that the command line gives."""
    result = CliRunner().invoke(app, [str(word) for word in case.make()])
    error = result.exception
    if isinstance(error, VssbenchError):
        return error.exit_code, str(error)
    if error is not None and not isinstance(error, SystemExit):
        pytest.fail(f"{case.title}: {type(error).__name__}: {error}")
    return result.exit_code, "\n".join(
        line for line in result.output.splitlines() if line.startswith("error")
    )


def readable(message: str, place: Path) -> str:
    """One line without what differs from machine to machine."""
    text = message.replace(f"{place.resolve()}/", "").replace(f"{place}/", "").replace(str(place), ".")
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"0x[0-9a-f]{6,}", "0x...", text)
    text = re.sub(r"(torch|vssbench) \d+\.\d+\.\d+", r"\1 ...", text)
    text = re.sub(r"\bx?[0-9a-f]{16,64}\b", "(digest)", text)
    text = re.sub(
        r"(line|column|char|position|positions) [\d-]+", r"\1 N", text
    )  # moves with every new field
    text = re.sub(r"known: [\w ,./+-]+", "known: ...", text)  # grows with every plug-in
    return text if len(text) <= 420 else text[:300] + " ... " + text[-100:]


MESSAGES: dict[int, str] = {}
IDS = [f"{case.group}: {case.title}" for case in CASES]


@pytest.mark.parametrize("number", range(len(CASES)), ids=IDS)
def test_a_bad_input_is_answered_with_one_message_and_code(number, tmp_path, monkeypatch, finished_run):
    import shutil

    case = CASES[number]
    monkeypatch.chdir(tmp_path)
    if case.group == "runs":
        shutil.copytree(finished_run, tmp_path / "run")
    code, message = answer(case)
    text = readable(message, tmp_path)
    assert code == case.exit_code, f"{code}: {text}"
    assert len(text) > 20, text
    assert "Traceback" not in message
    assert not (tmp_path / EXECUTED).exists(), "something in the file was executed"
    assert not (tmp_path.parent / "escaped.png").exists()
    if case.group != "runs":
        assert not (tmp_path / "run" / "units").exists(), "work began in spite of the mistake"
    MESSAGES[number] = text


def page() -> Iterator[str]:
    yield "# What vssbench answers to bad input"
    yield ""
    yield (
        f"{len(CASES)} mistakes and hostile files, and the message each gets. This page is written by "
        "`tests/faults/test_bad_input_table.py`, which also holds that nothing is executed, extracted or half-written. "
        "Exit code 2: the request cannot be served; 3: a file or folder is broken."
    )
    for group in dict.fromkeys(case.group for case in CASES):
        yield ""
        yield f"## {group.capitalize()}"
        yield ""
        yield "| input | code | message |"
        yield "|---|---|---|"
        for number, case in enumerate(CASES):
            if case.group == group:
                text = MESSAGES[number].replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
                yield f"| {case.title} | {case.exit_code} | {text} |"
    yield ""


def test_the_page_of_bad_inputs_is_current():
    if len(MESSAGES) < len(CASES):
        pytest.skip("some cases were not run, or failed")
    assert len(CASES) >= 60
    text = "\n".join(page())
    if "bad-input" in os.environ.get("VSSBENCH_UPDATE", ""):
        PAGE.write_text(text)
    assert PAGE.exists(), "run with VSSBENCH_UPDATE=bad-input"
    if sys.version_info[:2] == (3, 11):  # messages of the standard library change between versions
        assert PAGE.read_text() == text
