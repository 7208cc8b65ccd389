"""Videos in the dataset `folder`: which way up, which stream, and that what decides the pictures decides the identity."""

from __future__ import annotations

import av
import numpy as np
import pytest
from PIL import Image

from vssbench.datasets.folder import FolderDataset, FolderOptions
from vssbench.errors import InputError

TOP, BOTTOM = 0, 1


def video(path, size=(48, 64), degrees=0, extra=None):
    """Four frames: white above, black below, as they are coded."""
    height, width = size
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2] = 255
    with av.open(str(path), "w") as file:
        streams = []
        for number, shape in enumerate([size, extra] if extra else [size]):
            stream = file.add_stream("libx264", rate=25, options={"crf": "1"})
            stream.height, stream.width, stream.pix_fmt = *shape, "yuv420p"
            if degrees and not number:
                stream.set_display_rotation(degrees)
            streams.append((stream, shape))
        for stream, shape in streams:
            frame = image if shape == size else np.full((*shape, 3), 128, np.uint8)
            for _ in range(4):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            file.mux(stream.encode(None))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "classes.csv").write_text("name,red,green,blue\ntop,255,0,0\nbottom,0,255,0\n")
    return tmp_path


def label(root, shape):
    """White is `top`, made in a viewer that shows the picture upright."""
    values = np.full(shape, TOP, np.uint8)
    values[: shape[0] // 2] = BOTTOM
    Image.fromarray(values).save(root / "labels" / "000002.png")


def only(root, **options):
    (sequence,) = FolderDataset(FolderOptions(root=root, **options)).sequences()
    return sequence


def test_labels_made_in_a_viewer_lie_on_the_frames_of_a_turned_video(root) -> None:
    video(root / "frames" / "drive.mp4", degrees=180)
    label(root, (48, 64))
    sequence = only(root)
    image, truth = sequence.image(2), sequence.label(2)
    assert image[truth == TOP].mean() > 250
    assert image[truth == BOTTOM].mean() < 5
    stored = only(root, orientation="stored")
    assert stored.image(2)[truth == TOP].mean() < 5
    assert stored.identity != sequence.identity


def test_a_quarter_turn_exchanges_the_sides(root) -> None:
    video(root / "frames" / "drive.mp4", degrees=90)
    label(root, (64, 48))
    assert only(root).size == only(root).image(0).shape[:2] == only(root).label(2).shape == (64, 48)
    assert only(root, orientation="stored").size == (48, 64)
    with pytest.raises(InputError, match="label of 48x64 pixels for a video of 64x48"):
        only(root, orientation="stored").label(2)
    label(root, (48, 64))
    with pytest.raises(
        InputError, match="if labels were made on its pictures as they are coded, set orientation: stored"
    ):
        only(root).label(2)
    assert only(root, orientation="stored").label(2).shape == (48, 64)


def test_the_stream_can_be_chosen(root) -> None:
    video(root / "frames" / "drive.mkv", extra=(32, 48))
    main = only(root, stream=0)
    other = only(root, stream=1)
    assert (main.size, other.size) == ((48, 64), (32, 48))
    assert main.identity != other.identity
    assert other.image(0).mean() == pytest.approx(128, abs=2)


def test_verify_says_how_a_video_is_read(root) -> None:
    """The choice that was taken, with the one there is; nothing for a file that lies as it is shown."""
    video(root / "frames" / "drive.mp4", degrees=180)
    label(root, (48, 64))

    def warnings() -> list[str]:
        found = FolderDataset(FolderOptions(root=root)).verify()
        return [f"{one.message} {one.remedy}" for one in found if one.level == "warning"]

    (said,) = warnings()
    assert "orientation" in said
    assert "stored" in said
    video(root / "frames" / "drive.mp4")
    assert warnings() == []
