"""Pixels of frames and labels: exact at every depth, upright, and refused by name where there is no exact answer."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import zlib

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from vssbench import pictures
from vssbench.errors import InputError


def save(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8), mode).save(path)
    return path


def test_frames_are_rgb_whatever_the_file_holds(tmp_path):
    grey = save(tmp_path / "a.png", [[0, 100], [200, 255]])
    assert_array_equal(pictures.read_image(grey)[0, 1], [100, 100, 100])
    assert pictures.picture_size(grey) == (2, 2)


def test_a_missing_frame_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.png: no such file"):
        pictures.read_image(tmp_path / "nothing.png")


def test_a_truncated_png_is_named_with_its_size(tmp_path):
    path = save(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 256, (64, 48, 3)))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"cut\.png: damaged or truncated.*expected 48x64"):
        pictures.read_image(path)


def test_a_text_file_is_not_a_picture(tmp_path):
    path = tmp_path / "text.png"
    path.write_text("hello")
    with pytest.raises(InputError, match="not a readable picture"):
        pictures.read_image(path)


def test_an_absurd_size_is_refused_unread(tmp_path, monkeypatch):
    path = save(tmp_path / "big.png", np.zeros((20, 20), np.uint8))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 399)
    with pytest.raises(InputError, match=r"big\.png: claims 20x20 pixels"):
        pictures.read_image(path)


def test_palette_labels_are_indices_unless_colours_are_asked_for(tmp_path):
    picture = Image.fromarray(np.array([[1, 0]], np.uint8), "P")
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.save(tmp_path / "p.png")
    assert_array_equal(pictures.read_label_values(tmp_path / "p.png"), [[1, 0]])
    assert_array_equal(
        pictures.read_label_values(tmp_path / "p.png", colours=True), [[[40, 50, 60], [10, 20, 30]]]
    )


def test_labels_of_the_wrong_kind_are_refused(tmp_path):
    save(tmp_path / "rgb.png", np.zeros((2, 2, 3)))
    with pytest.raises(InputError, match="mode RGB, expected whole numbers"):
        pictures.read_label_values(tmp_path / "rgb.png", colours=False)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path, samples, bits, colour_type=0, *more):
    """A PNG by the letter of its specification: samples [H, W] or [H, W, channels] of `bits` bits."""
    height, width = samples.shape[:2]
    rows = samples.reshape(height, -1)
    lines = []
    for row in rows:
        text = "".join(f"{int(value):0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        lines.append(b"\0" + bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8)))
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    parts = [
        chunk(b"IHDR", header),
        *more,
        chunk(b"IDAT", zlib.compress(b"".join(lines))),
        chunk(b"IEND", b""),
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_frames_are_spread_over_8_bits(tmp_path, bits):
    samples = np.random.default_rng(bits).integers(0, 2**bits, (9, 13))
    samples[0, :2] = 0, 2**bits - 1
    frame = pictures.read_image(png(tmp_path / "f.png", samples, bits))
    expected = samples >> 8 if bits == 16 else samples * (255 // (2**bits - 1))
    assert frame.dtype == np.uint8
    assert_array_equal(frame, np.repeat(expected[..., None], 3, axis=2))


def test_an_even_ramp_of_16_bits_keeps_its_mean_and_all_grey_levels(tmp_path):
    ramp = np.arange(65536).reshape(256, 256)
    Image.fromarray(ramp.astype(np.uint16)).save(tmp_path / "ramp.tif")
    for path in (png(tmp_path / "ramp.png", ramp, 16), tmp_path / "ramp.tif"):
        frame = pictures.read_image(path)
        assert (len(np.unique(frame)), frame.mean()) == (256, 127.5)


def test_grey_and_colour_of_16_bits_give_the_same_levels(tmp_path):
    samples = np.random.default_rng(3).integers(0, 65536, (7, 5))
    grey = pictures.read_image(png(tmp_path / "g.png", samples, 16))
    colour = png(tmp_path / "c.png", np.repeat(samples[..., None], 3, axis=2), 16, 2)
    assert_array_equal(grey, pictures.read_image(colour))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_labels_are_the_samples_as_written(tmp_path, bits):
    samples = np.random.default_rng(bits).integers(0, min(2**bits, 256), (9, 13))
    samples[0, :2] = 0, min(2**bits, 256) - 1
    assert_array_equal(pictures.read_label_values(png(tmp_path / "l.png", samples, bits)), samples)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_labels_are_indices_at_every_depth(tmp_path, bits):
    samples = np.random.default_rng(bits).integers(0, 2**bits, (9, 13))
    palette = np.random.default_rng(1).integers(0, 256, (2**bits, 3), dtype=np.uint8)
    path = png(tmp_path / "p.png", samples, bits, 3, chunk(b"PLTE", palette.tobytes()))
    assert_array_equal(pictures.read_label_values(path), samples)
    assert_array_equal(pictures.read_label_values(path, colours=True), palette[samples])
    assert_array_equal(pictures.read_image(path), palette[samples])


def test_a_transparent_palette_entry_changes_no_label_but_is_no_frame(tmp_path):
    samples = np.array([[0, 1], [1, 0]])
    more = chunk(b"PLTE", bytes([9, 8, 7, 6, 5, 4])), chunk(b"tRNS", b"\0")
    path = png(tmp_path / "p.png", samples, 8, 3, *more)
    assert_array_equal(pictures.read_label_values(path), samples)
    with pytest.raises(InputError, match=r"p\.png: has transparent pixels"):
        pictures.read_image(path)


@pytest.mark.parametrize(("bits", "white_is"), [(1, 0), (2, 0), (2, 1), (4, 0), (4, 1), (8, 0), (8, 1)])
def test_tiff_labels_are_the_samples_as_written(tmp_path, bits, white_is):
    samples = np.random.default_rng(bits).integers(0, 2**bits, (6, 16))
    assert_array_equal(pictures.read_label_values(tiff(tmp_path / "l.tif", samples, bits, white_is)), samples)


@pytest.mark.parametrize("bits", [12, 16])
def test_tiff_frames_are_scaled_by_their_own_depth(tmp_path, bits):
    samples = np.random.default_rng(bits).integers(0, 2**bits, (6, 16))
    frame = pictures.read_image(tiff(tmp_path / "f.tif", samples, bits, 1))
    assert_array_equal(frame[..., 0], samples >> (bits - 8))


def test_white_is_zero_of_16_bits_is_turned_round(tmp_path):
    samples = np.array([[0, 65535, 255, 256]])
    assert pictures.read_image(tiff(tmp_path / "f.tif", samples, 16, 0))[0, :, 0].tolist() == [
        255,
        0,
        255,
        254,
    ]


def tiff(path, samples, bits, white_is):
    """An uncompressed grey TIFF (TIFF 6.0): samples [H, W], most significant bit first, numbers little-endian."""
    height, width = samples.shape
    if bits == 16:
        data = samples.astype("<u2").tobytes()
    else:
        text = "".join(f"{int(value):0{bits}b}" for value in samples.ravel())
        data = bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
    tags = [
        (256, width), (257, height), (258, bits), (259, 1), (262, white_is), (273, 8), (277, 1), (278, height),
        (279, len(data)),
    ]  # fmt: skip
    data += b"\0" * (len(data) % 2)
    entries = b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags
    )
    path.write_bytes(
        b"II*\0"
        + struct.pack("<I", 8 + len(data))
        + data
        + struct.pack("<H", len(tags))
        + entries
        + b"\0" * 4
    )
    return path


def alpha_at(corner):
    pixels = np.full((3, 4, 4), 255, np.uint8)
    pixels[..., :3] = np.random.default_rng(0).integers(0, 256, (3, 4, 3))
    pixels[0, 0, 3] = corner
    return pixels


def test_opaque_alpha_is_dropped_and_transparency_refused(tmp_path):
    for name in ("a.png", "a.tif"):
        Image.fromarray(alpha_at(255)).save(tmp_path / name)
        assert_array_equal(pictures.read_image(tmp_path / name), alpha_at(255)[..., :3])
        Image.fromarray(alpha_at(254)).save(tmp_path / name)
        with pytest.raises(InputError, match=r"has transparent pixels.*background"):
            pictures.read_image(tmp_path / name)
    for bits in (8, 16):
        key = chunk(b"tRNS", struct.pack(">H", 5))
        with pytest.raises(InputError, match="transparent"):
            pictures.read_image(png(tmp_path / "k.png", np.full((2, 2), 5), bits, 0, key))


@pytest.mark.parametrize(
    ("array", "mode", "name"),
    [
        (np.zeros((2, 3), np.float32), None, "x.tif"),
        (np.zeros((2, 3), np.int32), None, "x.tif"),
        (np.zeros((2, 3, 4), np.uint8), "CMYK", "x.tif"),
        (np.zeros((2, 3, 4), np.uint8), "CMYK", "x.jpg"),
        (np.zeros((2, 3, 3), np.uint8), "LAB", "x.tif"),
    ],
)
def test_frames_without_an_exact_rgb_are_refused_by_name(tmp_path, array, mode, name):
    picture = Image.fromarray(array) if mode is None else Image.frombytes(mode, (3, 2), array.tobytes())
    picture.save(tmp_path / name)
    with pytest.raises(InputError, match=r"no exact RGB of 8 bits follows from .*; expected .*convert it"):
        pictures.read_image(tmp_path / name)


@pytest.mark.parametrize("value", [256, 65535])
def test_label_values_beyond_8_bits_are_refused_with_their_place(tmp_path, value):
    samples = np.zeros((3, 4), int)
    samples[1, 2] = value
    with pytest.raises(
        InputError, match=rf"l\.png: label value {value} at column 2, row 1; expected 0\.\.255"
    ):
        pictures.read_label_values(png(tmp_path / "l.png", samples, 16))


def test_integer_labels_of_tiff_are_exact_and_negative_ones_refused(tmp_path):
    samples = np.array([[0, 7], [255, 3]], np.int32)
    Image.fromarray(samples).save(tmp_path / "l.tif")
    assert_array_equal(pictures.read_label_values(tmp_path / "l.tif"), samples)
    Image.fromarray(samples - 1).save(tmp_path / "l.tif")
    with pytest.raises(InputError, match="label value -1 at column 0, row 0"):
        pictures.read_label_values(tmp_path / "l.tif")


def test_colour_labels_of_16_bits_and_lossy_labels_are_refused(tmp_path):
    path = png(tmp_path / "c.png", np.zeros((2, 2, 3), int), 16, 2)
    with pytest.raises(InputError, match="16 bits a channel cannot be read exactly"):
        pictures.read_label_values(path)
    colours = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    colours.save(tmp_path / "l.webp", lossless=True)
    assert_array_equal(pictures.read_label_values(tmp_path / "l.webp"), np.array(colours))
    colours.save(tmp_path / "l.webp", quality=100)
    colours.save(tmp_path / "l.jpg")
    colours.save(tmp_path / "l.tif", compression="jpeg")
    for name in ("l.webp", "l.jpg", "l.tif"):
        with pytest.raises(InputError, match="does not keep label values exactly"):
            pictures.read_label_values(tmp_path / name)


TURNS = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.transpose(a, (1, 0, 2)),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.transpose(a, (1, 0, 2)), 2),
    8: lambda a: np.rot90(a, 1),
}
"""EXIF 2.3, tag 274: what a viewer does with the stored rows and columns."""


@pytest.mark.parametrize("turn", sorted(TURNS))
@pytest.mark.parametrize("name", ["f.png", "f.webp", "f.tif", "f.tiff", "f.jpg"])
def test_frames_and_labels_are_turned_as_their_exif_says(tmp_path, name, turn):
    stored = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = turn
    options = {"f.webp": {"lossless": True}, "f.tiff": {"compression": "tiff_lzw"}, "f.jpg": {"quality": 90}}
    path = tmp_path / name
    Image.fromarray(stored).save(path, exif=exif, **options.get(name, {}))
    if name == "f.jpg":  # what the same bytes hold without orientation
        Image.fromarray(stored).save(tmp_path / "plain.jpg", quality=90)
        stored = np.array(Image.open(tmp_path / "plain.jpg"))
    upright = TURNS[turn](stored)
    assert_array_equal(pictures.read_image(path), upright)
    assert_array_equal(pictures.read_image(path, orientation="stored"), stored)
    assert pictures.picture_size(path) == upright.shape[:2]
    assert pictures.picture_size(path, orientation="stored") == stored.shape[:2]
    assert pictures.declared_turn(path) == turn
    if name != "f.jpg":
        assert_array_equal(pictures.read_label_values(path), upright)
        assert_array_equal(pictures.read_label_values(path, orientation="stored"), stored)


def test_exif_behind_the_samples_of_a_png_counts_and_nonsense_does_not(tmp_path):
    stored = np.arange(6).reshape(2, 3) * 40
    for turn, exif in ((6, True), (1, False)):
        content = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0" if exif else b"\xff" * 9
        path = png(tmp_path / "f.png", stored, 8)
        whole = path.read_bytes()
        path.write_bytes(whole[:-12] + chunk(b"eXIf", content) + whole[-12:])
        assert pictures.declared_turn(path) == turn
        expected = np.rot90(stored, -1) if exif else stored
        assert_array_equal(pictures.read_image(path)[..., 0], expected)


PROMISES = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".bmp": "BMP", ".tif": "TIFF", ".ppm": "PPM"}


@pytest.mark.parametrize(
    "content", ["PNG", "WEBP", "JPEG", "BMP", "TIFF", "PPM", "EPS", "PCX", "GIF", "TGA", "ICO"]
)
def test_a_suffix_decides_the_format(tmp_path, content, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a program was started"))
    source = tmp_path / "source"
    Image.new("RGB", (16, 16), (1, 2, 3)).save(source, content)
    for suffix, promised in PROMISES.items():
        path = tmp_path / f"f{suffix}"
        path.write_bytes(source.read_bytes())
        if promised == content:
            assert pictures.read_image(path).shape == (16, 16, 3)
        else:
            with pytest.raises(InputError, match=rf"not a readable picture of the kind {promised}"):
                pictures.read_image(path)
            with pytest.raises(InputError):
                pictures.picture_size(path)


def test_animations_and_pages_are_refused(tmp_path):
    pages = [Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(3)]
    for name, options in (("a.png", {}), ("a.webp", {"lossless": True}), ("a.tif", {})):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:], **options)
        with pytest.raises(InputError, match=r"holds several pictures .* save each on its own"):
            pictures.read_image(tmp_path / name)


def test_what_is_no_file_is_refused_without_waiting(tmp_path, monkeypatch):
    made = {"pipe": lambda p: os.mkfifo(p), "folder": lambda p: p.mkdir(), "link": lambda p: p.symlink_to(p)}
    for kind, make in made.items():
        path = tmp_path / f"{kind}.png"
        make(path)
        with pytest.raises(InputError, match=rf"{kind}\.png: (is a|cannot be read)"):
            pictures.read_image(path)
    (tmp_path / "device.png").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is a device"):
        pictures.read_label_values(tmp_path / "device.png")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # names of sockets are short
        server.bind("s.png")
        with pytest.raises(InputError, match="is a socket"):
            pictures.read_image(tmp_path / "s.png")


def test_interlaced_pngs_and_upper_case_suffixes_are_read(tmp_path):
    Image.fromarray(np.full((9, 9, 3), 77, np.uint8)).save(tmp_path / "F.PNG")
    assert pictures.read_image(tmp_path / "F.PNG")[4, 4, 1] == 77
    rows = zlib.compress(b"\0\x05" + b"\0\x06" + b"\0\x07\x08")  # Adam7 of 2x2: passes 1, 6 and 7
    header = struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 1)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (tmp_path / "i.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    assert pictures.read_label_values(tmp_path / "i.png").tolist() == [[5, 6], [7, 8]]


def test_gamma_and_profiles_change_no_sample(tmp_path):
    samples = np.arange(12).reshape(3, 4) * 20
    plain = pictures.read_image(png(tmp_path / "p.png", samples, 8))
    more = chunk(b"gAMA", struct.pack(">I", 100000)), chunk(b"sBIT", b"\x05")
    assert_array_equal(pictures.read_image(png(tmp_path / "g.png", samples, 8, 0, *more)), plain)
