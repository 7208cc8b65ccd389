"""Bad dataset folders, pictures and label maps."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bad_input.case import Words, bad
from PIL import Image

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


def with_ignored(value: str) -> str:
    """A table in JSON whose ignored value is this text."""
    return f'{{"names": ["road", "sky"], "palette": [[1, 1, 1], [2, 2, 2]], "ignore_index": {value}}}'


for title, (text, name) in {
    "a class table without colours": ("name\nroad\n", "classes.csv"),
    "a colour value of 300": ("name,red,green,blue\nroad,300,0,0\n", "classes.csv"),
    "one class name twice": ("name,red,green,blue\nroad,0,0,0\nroad,1,1,1\n", "classes.csv"),
    "a class table of 300 classes": (
        "name,red,green,blue\n" + "".join(f"c{i},{i % 256},{i // 256},0\n" for i in range(300)),
        "classes.csv",
    ),
    "a class table that is no JSON": ("{", "classes.json"),
    "a class table without a header": ("road,0,0,0\nsky,1,1,1\n", "classes.csv"),
    "a class without a name": ("name,red,green,blue\n,0,0,0\n", "classes.csv"),
    "a class table with a cell too few": ("name,red,green,blue\nroad,0,0\n", "classes.csv"),
    "a colour that is no whole number": ("name;r;g;b\nroad;0.5;0;0\n", "classes.csv"),
    "an escape sequence as class name": ("name,red,green,blue\n\x1b[31m,0,0,0\n", "classes.csv"),
    "a class table in JSON of another shape": ('{"names": "road", "palette": []}', "classes.json"),
    "an ignored value of -1": (with_ignored("-1"), "classes.json"),
    "an ignored value of 300": (with_ignored("300"), "classes.json"),
    "an ignored value that is a class": (with_ignored("0"), "classes.json"),
    "an ignored value that is a truth value": (with_ignored("true"), "classes.json"),
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


@bad("datasets", "two class tables", 3)
def _() -> Words:
    (folder() / "classes.json").write_text("{}")
    return verify()


@bad("datasets", "a class table that is not UTF-8", 3)
def _() -> Words:
    (folder() / "classes.csv").write_bytes(CLASSES.replace("road", "straße").encode("latin-1"))
    return verify()


@bad("datasets", "a mistyped folder of labels", 3)
def _() -> Words:
    data = folder()
    for kind, name in (("frames", "drive"), ("labels", "drve")):
        (data / kind).rename(data / "moved")
        (data / kind).mkdir()
        (data / "moved").rename(data / kind / name)
    return verify()


@bad("datasets", "labels beside the folders of their sequences", 3)
def _() -> Words:
    data = folder()
    (data / "frames").rename(data / "drive")
    (data / "frames").mkdir()
    (data / "drive").rename(data / "frames" / "drive")
    (data / "labels" / "drive").mkdir()
    return verify()


@bad("datasets", "pictures one folder too deep", 3)
def _() -> Words:
    data = folder()
    (data / "frames").rename(data / "origin")
    (data / "frames" / "drive").mkdir(parents=True)
    (data / "origin").rename(data / "frames" / "drive" / "origin")
    (data / "labels").rename(data / "drive")
    (data / "labels").mkdir()
    (data / "drive").rename(data / "labels" / "drive")
    return verify()


@bad("datasets", "a label whose name differs from its frame's in case only", 3)
def _() -> Words:
    data = folder()
    (data / "frames" / "001.png").rename(data / "frames" / "A.png")
    (data / "labels" / "000.png").rename(data / "labels" / "a.png")
    return verify()


@bad("datasets", "a label of a video with two numbers in its name", 3)
def _() -> Words:
    from bad_input.video import video

    data = folder()
    for path in (data / "frames").iterdir():
        path.unlink()
    (data / "frames" / "drive.mp4").write_bytes(video())
    (data / "labels" / "000.png").rename(data / "labels" / "frame_000004_gt2.png")
    return verify()


@bad("datasets", "a zip archive among the frames (never extracted)", 3)
def _() -> Words:
    data = folder()
    with zipfile.ZipFile(data / "frames.zip", "w") as archive:
        archive.writestr("../../escaped.png", b"")
    return verify("frames=frames.zip")


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
    "PostScript named .png (never run)": lambda: frame(saved("eps")),
    "a TIFF named .png": lambda: frame(saved("tiff")),
    "a JPEG named .png": lambda: frame(saved("jpeg")),
    "a PCX named .png": lambda: frame(saved("pcx")),
    "a Git LFS pointer as frame": lambda: frame(b"version https://git-lfs.github.com/spec/v1\n"),
    "a GIF among the frames": lambda: frame(saved("gif"), "001.gif"),
    "an animated PNG as frame": lambda: frame(saved("png", save_all=True, append_images=[picture(seed=5)])),
    "a TIFF of two pages": lambda: frame(
        saved("tiff", save_all=True, append_images=[picture(seed=5)]), "001.tiff"
    ),
    "a frame of floats": lambda: frame(tiff_of(np.zeros((32, 48), np.float32)), "001.tif"),
    "a frame of 32-bit integers": lambda: frame(tiff_of(np.zeros((32, 48), np.int32)), "001.tif"),
    "a frame in CMYK": lambda: frame(tiff_of(np.zeros((32, 48, 4), np.uint8), "CMYK"), "001.tif"),
    "a frame with transparent pixels": lambda: frame(png_of(Image.new("RGBA", (48, 32)))),
}


def tiff_of(array: np.ndarray, mode: str | None = None) -> bytes:
    data = Image.fromarray(array) if mode is None else Image.frombytes(mode, (48, 32), array.tobytes())
    data.save("array.tif")
    return Path("array.tif").read_bytes()


def png_of(image: Image.Image) -> bytes:
    image.save("other.png")
    return Path("other.png").read_bytes()


for title, make in PICTURES.items():
    bad("pictures", title, 3)(make)


@bad("pictures", "a folder named like a picture", 3)
def _() -> Words:
    (folder() / "frames" / "002.png").mkdir()
    return verify()


@bad("pictures", "a named pipe as frame (nothing waits)", 3)
def _() -> Words:
    os.mkfifo(folder() / "frames" / "002.png")
    return verify()


@bad("pictures", "a device as frame", 3)
def _() -> Words:
    (folder() / "frames" / "002.png").symlink_to("/dev/zero")
    return verify()


@bad("pictures", "a label drawn on the stored picture of a turned frame", 3)
def _() -> Words:
    exif = Image.Exif()
    exif[274] = 6
    for number in range(2):
        picture().save(folder_once() / "frames" / f"{number:03d}.png", exif=exif)
    return verify()


def folder_once() -> Path:
    return Path("DATA") if Path("DATA").exists() else folder()


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


def label_bytes(data: bytes, name: str = "000.png") -> Words:
    labels = folder() / "labels"
    (labels / "000.png").unlink()
    (labels / name).write_bytes(data)
    return verify()


def png16() -> bytes:
    """RGB of 16 bits a channel, 48x32, all zero."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 48, 32, 16, 2, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(32 * (1 + 48 * 6))))
    return b"\x89PNG\r\n\x1a\n" + header + rows + chunk(b"IEND", b"")


for title, make_label in {
    "a class number outside the table": lambda: label(np.full((32, 48), 7, np.uint8)),
    "a colour outside the table": lambda: label(np.full((32, 48, 3), 7, np.uint8)),
    "a label of another size": lambda: label(np.zeros((16, 24), np.uint8)),
    "a label value beyond 8 bits": lambda: label(np.full((32, 48), 300, np.uint16)),
    "a label of negative numbers": lambda: label(np.full((32, 48), -1, np.int32), "000.tif"),
    "a colour label of 16 bits a channel": lambda: label_bytes(png16()),
    "a label stored as JPEG": lambda: label(np.zeros((32, 48), np.uint8), "000.jpg"),
    "a label stored as lossy WebP": lambda: label_bytes(saved("webp"), "000.webp"),
    "a label stored as GIF": lambda: label(np.zeros((32, 48), np.uint8), "000.gif"),
    "a label of floats": lambda: label(np.zeros((32, 48), np.float32), "000.tif"),
    "numbers where colours were promised": lambda: label(
        np.zeros((32, 48), np.uint8), "000.png", "label_format=colour"
    ),
    "colours where numbers were promised": lambda: label(
        np.zeros((32, 48, 3), np.uint8), "000.png", "label_format=index"
    ),
}.items():
    bad("label maps", title, 3)(make_label)
