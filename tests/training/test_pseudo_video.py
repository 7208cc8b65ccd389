"""Pseudo-video: deterministic, ends on the still, moves like a camera driving forward."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import ndimage

from vssbench.codec import CodecSettings
from vssbench.training.coded_clip import code_clip
from vssbench.training.pseudo_video import PseudoMotion, pseudo_clip

HEIGHT, WIDTH = 96, 128
STILL_CAMERA = PseudoMotion(speed=(1e-9, 1e-9), yaw=0, shake=0, roll_degrees=0, object_speed=0)


def texture() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.normal(size=(HEIGHT, WIDTH, 3)), (2, 2, 0))
    coarse = np.clip(128 + 400 * noise, 0, 255)
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[50:70, 40:70] = 1
    return coarse.astype(np.uint8), label


def test_the_last_frame_is_the_still_and_the_rest_is_deterministic() -> None:
    still, label = texture()
    clips = [pseudo_clip(still, label, 4, [7, 3], movable=(1,)) for _ in range(2)]
    assert_array_equal(clips[0][-1], still)
    for one, two in zip(*clips, strict=True):
        assert_array_equal(one, two)
    other = pseudo_clip(still, label, 4, [7, 4], movable=(1,))
    assert not np.array_equal(other[0], clips[0][0])


def test_a_camera_that_stands_still_repeats_the_still() -> None:
    still, label = texture()
    for frame in pseudo_clip(still, label, 3, [1], motion=STILL_CAMERA):
        assert np.abs(frame.astype(int) - still).max() <= 1


def test_earlier_frames_differ_more() -> None:
    still, label = texture()
    clip = pseudo_clip(still, label, 6, [2], motion=PseudoMotion(speed=(0.04, 0.04)))
    differences = [np.abs(frame.astype(int) - still).mean() for frame in clip]
    assert differences == sorted(differences, reverse=True)
    assert differences[-1] == 0


def test_only_the_movable_segment_moves_under_a_still_camera() -> None:
    still, label = texture()
    motion = PseudoMotion(speed=(1e-9, 1e-9), yaw=0, shake=0, roll_degrees=0, object_speed=0.05)
    first = pseudo_clip(still, label, 3, [5], movable=(1,), motion=motion)[0]
    changed = np.abs(first.astype(int) - still).max(-1) > 2
    assert changed[45:75, 30:80].any()
    far = changed.copy()
    far[25:95, 10:100] = False
    assert not far.any()


def test_a_camera_driving_forward_is_seen_by_the_codec_as_motion_away_from_the_centre() -> None:
    still, label = texture()
    motion = PseudoMotion(speed=(0.03, 0.03), yaw=0, shake=0, roll_degrees=0, object_speed=0)
    clip = pseudo_clip(still, label, 4, [3], motion=motion)
    coded = code_clip(clip, CodecSettings(codec="h264", qp=18, references=1), 15.0)
    flow = coded.flows[3].flow
    # towards the keyframe, content lies nearer to the vanishing point: left half moves right, right half left
    lower = slice(HEIGHT * 3 // 4, HEIGHT - 8)
    assert np.median(flow[0][lower, 8:40]) > 0.5
    assert np.median(flow[0][lower, -40:-8]) < -0.5
    assert np.median(flow[1][lower]) < -0.5


@pytest.mark.needs_shared
def test_pseudo_clips_of_real_stills_move_about_as_real_video_does(shared) -> None:  # type: ignore[no-untyped-def]
    from vssbench.registry import datasets

    dataset = datasets.load("camvid")
    camvid = dataset(dataset.Options(root=shared / "data" / "camvid"))
    codec = CodecSettings(codec="h264", bitrate_kbps=375, references=1, preset="veryfast")

    def mean_motion(clip: list[np.ndarray]) -> float:
        flow = code_clip(clip, codec, 15.0).flows[5].flow
        return float(np.hypot(*flow).mean())

    stills = camvid.sequences("train")[20::110]
    pseudo = [
        mean_motion(pseudo_clip(s.image(0), s.label(0), 6, [1, n], movable=(8, 9, 10)))
        for n, s in enumerate(stills)
    ]
    video = camvid.sequences("val")[0]
    real = [mean_motion([video.image(f + i) for i in range(6)]) for f in (10, 60)]
    assert 0.3 < np.mean(pseudo) / np.mean(real) < 3
