from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vssbench.analysis.run import Run, load_run
from vssbench.metrics.confusion import iou, mean_iou
from vssbench.rendering.page.frames import tracks
from vssbench.rendering.page.media import MediaStore, error_mask, motion_svg, track_media
from vssbench.rendering.page.viewer import frame_scores, make_viewer


def test_kept_frames_come_by_sequence_frame_and_distance_longest_first(run: Run) -> None:
    found = tracks(run)
    assert [(t.codec, t.sequence, len(t.cases)) for t in found] == [
        ("hevc-700k", "seq-0", 6), ("hevc-700k", "seq-1", 1), ("h264-700k", "seq-0", 6), ("h264-700k", "seq-1", 1),
    ]  # fmt: skip
    first = found[0].cases
    assert [(c.frame, c.distance, c.frame_type, c.qp) for c in first[:2]] == [
        (20, 0, "I", 24.5),
        (20, 1, "P", 25.5),
    ]
    assert list(first[0].prediction_names) == list(run.roster.method_titles)
    assert found[1].cases[0].qp is None  # a still of a stream that tells no QP


def test_scores_of_a_frame_are_those_of_its_unit_record(run: Run) -> None:
    case = tracks(run)[0].cases[3]
    scores = frame_scores(run, [case])[case.place]
    unit = next(
        u for u in run.units()
        if (u.key.codec, u.key.method, u.key.sequence, u.key.unit) == ("hevc-700k", "warp-only", "seq-0", "frame-000000")
    )  # fmt: skip
    assert scores["warp-only"] == pytest.approx(iou(unit.counts[3]).tolist(), nan_ok=True)
    data = make_viewer(run, tracks(run)[:1], MediaStore(embed=False)).data
    frame = data["tracks"][0]["frames"][3]
    assert frame["miou"][2] == pytest.approx(float(mean_iou(unit.counts[3])), abs=5e-5)
    assert (frame["bits"], frame["type"], frame["d"]) == (8 * 2100, "P", 3)


def test_stored_pictures_are_handed_on_untouched(run: Run) -> None:
    track = tracks(run)[0]
    store = MediaStore(embed=False)
    media = track_media(track, 0, store)
    case = track.cases[2]
    assert store.files[media[2].decoded] == case.read(case.decoded_name)
    assert store.files[media[2].truth] == case.read(case.truth_name)
    single = track_media(tracks(run)[1], 1, store)[0]
    with Image.open(io.BytesIO(store.files[single.truth])) as picture:
        assert picture.mode == "P"
        assert picture.convert("RGB").getpixel((0, 0)) == (128, 128, 128)
        assert picture.convert("RGB").getpixel((0, 143)) == (0, 0, 0)  # ignored
    assert all(re.fullmatch(r"media/\d+/\d{6}-d\d\d-[a-z0-9]+\.(webp|png|svg)", name) for name in store.files)


def test_the_error_mask_is_transparent_where_right_vermilion_where_wrong_black_where_ignored() -> None:
    truth = np.array([[0, 1, 255]], np.uint8)
    predicted = np.array([[0, 2, 1]], np.uint8)
    with Image.open(io.BytesIO(error_mask(truth, predicted, 255))) as mask:
        pixels = np.asarray(mask.convert("RGBA"))
    assert pixels[0, 0, 3] == 0
    assert pixels[0, 1].tolist() == [213, 94, 0, 255]
    assert pixels[0, 2].tolist() == [0, 0, 0, 255]


def test_motion_is_drawn_as_arrows_of_its_length_and_tinted_where_there_is_none(run: Run) -> None:
    case = tracks(run)[0].cases[4]  # flow is -4 px along both axes, the first blocks of each row have none
    drawn = motion_svg(case, (144, 192))
    assert drawn is not None
    arrows = re.findall(rb"M\d+ \d+l(\S+?) (\S+?)(?=M|\")", drawn)
    assert arrows
    assert set(arrows) == {(b"-4", b"-4")}
    assert drawn.count(b"z") == drawn.count(b"v-") // 1 or b'd="M' in drawn
    resting = motion_svg(tracks(run)[0].cases[0], (144, 192))
    assert resting is not None
    assert b"l" not in re.findall(rb'<path d="([^"]*)" fill="none" stroke="#56c8ff"', resting)[0]


def test_vectors_of_every_fourth_sample_fill_the_frame(run: Run) -> None:
    picture = tracks(run)[0].cases[5].picture()
    assert picture.flow is not None
    assert picture.valid is not None
    assert picture.flow.shape == (2, 144, 192)
    assert picture.valid[:, 16:].all()
    assert not picture.valid[:, :16].any()


def _left_after(made: Run, damaged: Path, data: bytes) -> tuple[int, int, list[str]]:
    """Kept frames before and after an archive was damaged, and what is said of it."""
    whole = sum(len(track.cases) for track in tracks(made))
    damaged.write_bytes(data)
    again = load_run(made.path)
    assert set(again.kept_frames[1]) <= set(again.warnings)
    return whole, sum(len(track.cases) for track in tracks(again)), again.kept_frames[1]


def test_a_damaged_archive_is_left_out_and_named(fabricate, tmp_path: Path) -> None:
    made = fabricate(tmp_path / "run", sequences=1, units=1, distances=2)
    path = next((made.path / "frames").glob("*/*/seq-0-*.zip"))
    whole, left, said = _left_after(made, path, path.read_bytes()[:200])
    assert left < whole
    assert len(said) == 1
    assert path.name in said[0]


def test_a_flipped_bit_is_noticed_before_anything_is_shown(fabricate, tmp_path: Path) -> None:
    made = fabricate(tmp_path / "run", sequences=1, units=1, distances=2)
    path = next((made.path / "frames").glob("*/*/*-d11.zip"))
    data = bytearray(path.read_bytes())
    data[data.index(b"-truth.png\x89PNG") + 40] ^= 1
    whole, left, said = _left_after(made, path, bytes(data))
    assert left < whole
    assert path.name in said[0]
