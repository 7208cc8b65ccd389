"""Synthetic streets: exactness of labels and motion, determinism, random access."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import ValidationError

from vssbench.datasets.synthetic import SyntheticOptions, SyntheticStreets
from vssbench.datasets.synthetic.geometry import Camera, homographies, image_boxes, inverse, product
from vssbench.datasets.synthetic.noise import (
    LAYERS,
    LEVELS,
    Draws,
    cosine,
    hash_grid,
    sine,
    textures,
    wobble,
)
from vssbench.errors import InputError


def street(index: int = 0, split: str = "val", **options):
    values = {"size": (120, 160), "noise": 0, "frames": 24, **options}
    return SyntheticStreets(SyntheticOptions(**values)).sequences(split)[index]


def bilinear(image, x, y):
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    height, width = image.shape[:2]
    x1, y1 = np.clip(x0 + 1, 0, width - 1), np.clip(y0 + 1, 0, height - 1)
    x0, y0 = np.clip(x0, 0, width - 1), np.clip(y0, 0, height - 1)
    fx, fy = (x - np.floor(x))[..., None], (y - np.floor(y))[..., None]
    image = image.astype(float)
    top = image[y0, x0] * (1 - fx) + image[y0, x1] * fx
    return top * (1 - fy) + (image[y1, x0] * (1 - fx) + image[y1, x1] * fx) * fy


def test_the_classes_are_camvids_eleven_in_its_order():
    classes = SyntheticStreets().classes
    assert classes.names == (
        "sky", "building", "pole", "road", "pavement", "tree", "signsymbol", "fence", "car", "pedestrian", "bicyclist"
    )  # fmt: skip
    assert classes.palette[3] == (128, 64, 128)


@pytest.mark.parametrize("index", range(3))
def test_warping_the_previous_frame_reproduces_this_one_where_valid(index):
    sequence = street(index, size=(180, 240))
    y, x = np.indices(sequence.size)
    image, field = sequence.image(9), sequence.flow_to_previous(9)
    warped = bilinear(sequence.image(8), x + field.flow[0], y + field.flow[1])
    error = np.abs(warped - image).mean(axis=2)[field.valid]
    unwarped = np.abs(sequence.image(8).astype(float) - image).mean(axis=2)[field.valid]
    assert np.median(error) < 2.0
    assert error.mean() < 0.55 * unwarped.mean()
    assert np.percentile(error, 95) < 12.0


@pytest.mark.parametrize("index", range(3))
def test_labels_agree_along_the_flow_where_valid(index):
    sequence = street(index)
    y, x = np.indices(sequence.size)
    field = sequence.flow_to_previous(5)
    before = sequence.label(4)
    px, py = np.rint(x + field.flow[0]).astype(int), np.rint(y + field.flow[1]).astype(int)
    inside = (px >= 0) & (px < 160) & (py >= 0) & (py < 120)
    assert not field.valid[~inside].any()
    assert_array_equal(before[py[field.valid], px[field.valid]], sequence.label(5)[field.valid])


def test_most_pixels_are_valid_and_what_the_camera_drives_towards_was_in_view():
    shares = [street(index).flow_to_previous(7).valid.mean() for index in range(4)]
    assert all(0.85 < share < 1 for share in shares)


def test_a_standing_camera_sees_no_motion_at_all():
    sequence = street(motion=0, traffic=False)
    field = sequence.flow_to_previous(3)
    assert_array_equal(field.flow, 0)
    assert field.valid.all()
    assert_array_equal(sequence.label(3), sequence.label(0))


def test_with_a_standing_camera_only_traffic_moves():
    sequence = street(motion=0)
    moving = np.abs(sequence.flow_to_previous(3).flow).max(axis=0) > 0
    movers = np.isin(sequence.label(3), [8, 9, 10])
    assert moving.any()
    assert not (moving & ~movers).any()


def test_flow_of_the_ground_matches_the_pinhole_camera():
    """A ground point under pixel (x, y), found with plain trigonometry, lands where the flow says."""
    sequence = street(traffic=False)
    field, label = sequence.flow_to_previous(6), sequence.label(6)
    now, before = sequence._camera(6 / 30), sequence._camera(5 / 30)
    rows, columns = np.nonzero((label == 3) & field.valid)
    assert len(rows) > 1000
    for i in range(0, len(rows), 97):
        x, y = float(columns[i]), float(rows[i])
        ray = [(x - now.centre[0]) / now.focal_px, (y - now.centre[1]) / now.focal_px, 1.0]
        world = [sum(now.rotation[r][c] * ray[r] for r in range(3)) for c in range(3)]
        reach = -now.position[1] / world[1]
        point = [now.position[c] + reach * world[c] for c in range(3)]
        offset = [point[c] - before.position[c] for c in range(3)]
        seen = [sum(before.rotation[r][c] * offset[c] for c in range(3)) for r in range(3)]
        px = before.focal_px * seen[0] / seen[2] + before.centre[0]
        py = before.focal_px * seen[1] / seen[2] + before.centre[1]
        assert field.flow[:, rows[i], columns[i]] == pytest.approx((px - x, py - y), abs=2e-3)


def test_the_distance_to_a_keyframe_is_like_camvids():
    """Chained over 11 frames at 480x360 the mean motion is a few tens of pixels, as measured on CamVid (18 to 21)."""
    lengths = [
        11 * np.hypot(*street(index, size=(360, 480)).flow_to_previous(6).flow).mean() for index in range(4)
    ]
    assert 10 < float(np.mean(lengths)) < 40


def test_any_frame_can_be_had_without_those_before_it():
    straight = street(1)
    for index in range(9):
        straight.image(index)
    alone = street(1)
    assert_array_equal(alone.image(8), straight.image(8))
    assert_array_equal(alone.label(8), straight.label(8))
    assert_array_equal(alone.flow_to_previous(8).flow, straight.flow_to_previous(8).flow)


def test_frames_are_the_same_on_every_machine():
    """Digest of one frame with noise: integer hashes and IEEE single operations only, so it holds everywhere."""
    sequence = street(2, noise=1.5, seed=3)
    digest = hashlib.sha256(sequence.image(5).tobytes() + sequence.label(5).tobytes()).hexdigest()
    assert digest[:16] == GOLDEN_DIGEST


GOLDEN_DIGEST = "968d13df65a53c20"


def test_splits_and_seeds_share_no_scene():
    images = {
        hashlib.sha256(street(index, split, seed=seed).label(0).tobytes()).hexdigest()
        for split in ("train", "val", "test")
        for seed in (0, 1)
        for index in (0, 1)
    }
    assert len(images) == 12


def test_identity_names_everything_that_changes_a_pixel():
    base = street().identity
    assert street().identity == base
    for change in (
        {"seed": 9},
        {"noise": 1},
        {"motion": 0.5},
        {"frame_rate_hz": 15},
        {"size": (60, 80)},
        {"traffic": False},
    ):
        assert street(**change).identity != base
    assert street(1).identity != base


def test_every_class_occurs_in_the_validation_split():
    seen = {int(i) for index in range(8) for i in np.unique(street(index).label(12))}
    assert seen == set(range(11))


def test_a_longer_drive_begins_with_the_same_frames():
    assert_array_equal(street(frames=200).image(4), street(frames=8).image(4))


def test_half_the_frame_rate_gives_twice_the_motion():
    fast, slow = street(frame_rate_hz=30), street(frame_rate_hz=15)
    assert_array_equal(fast.image(4), slow.image(2))
    ratio = np.hypot(*slow.flow_to_previous(2).flow).mean() / np.hypot(*fast.flow_to_previous(4).flow).mean()
    assert 1.5 < ratio < 2.6


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (64, 200), (200, 64)])
def test_any_size_is_rendered(size):
    sequence = street(size=size)
    assert sequence.image(1).shape == (*size, 3)
    assert sequence.label(1).shape == size
    assert np.isfinite(sequence.flow_to_previous(1).flow).all()


def test_the_first_frame_has_no_motion_and_frames_end():
    sequence = street(frames=3)
    assert sequence.flow_to_previous(0) is None
    assert list(sequence.labelled) == [0, 1, 2]
    with pytest.raises(InputError, match=r"frames 0\.\.2, asked for 3"):
        sequence.image(3)


def test_impossible_options_are_refused():
    for bad in ({"size": (0, 10)}, {"frames": 0}, {"noise": -1}, {"frame_rate_hz": 24}, {"speed": 3}):
        with pytest.raises(ValidationError):
            SyntheticOptions(**bad)


def test_noise_has_the_asked_deviation():
    clean, noisy = street(noise=0), street(noise=3.0)
    difference = noisy.image(2).astype(float) - clean.image(2)
    middle = (clean.image(2) > 20) & (clean.image(2) < 235)
    assert difference[middle].std() == pytest.approx(3.0, rel=0.05)
    assert abs(difference[middle].mean()) < 0.1


def test_sine_and_cosine_match_the_library():
    angles = np.linspace(-20, 20, 1001)
    assert_allclose(sine(angles), np.sin(angles), atol=1e-8)
    assert_allclose([cosine(float(a)) for a in angles], np.cos(angles), atol=1e-8)


def test_draws_depend_on_names_only():
    assert Draws(1, 2).unit() == Draws(1, 2).unit()
    assert Draws(1, 2).unit() != Draws(2, 1).unit()
    values = [Draws(7, i).unit() for i in range(4000)]
    assert 0.48 < sum(values) / 4000 < 0.52
    assert 0 <= min(values) < max(values) < 1


def test_hash_noise_is_uniform_and_wobble_is_smooth():
    grid = hash_grid(5, 100, 100)
    counts = np.histogram(grid, bins=10, range=(0, 1))[0]
    assert counts.min() > 850
    steps = [abs(wobble(3, t / 1000 + 0.001, 1.0) - wobble(3, t / 1000, 1.0)) for t in range(3000)]
    assert max(steps) < 0.01


def sampled_by_numpy(layer, u, v, footprint):
    """The definition: bilinear on the box-filtered tile of level floor((floor(log2 footprint) + 1) / 2), wrapped around."""
    table, result = textures(), np.empty(len(u), np.float32)
    grid = np.arange(256, dtype=np.float32)
    for i in range(len(u)):
        level = int(np.clip((np.floor(np.log2(footprint[i])) + 1) // 2, 0, LEVELS - 1))
        tile = table.pick(layer[i], *(axis.ravel() for axis in np.meshgrid(grid, grid))).reshape(256, 256)
        for _ in range(level):
            tile = (tile[0::2, 0::2] + tile[1::2, 0::2] + tile[0::2, 1::2] + tile[1::2, 1::2]) * np.float32(
                0.25
            )
        side, scale = 256 >> level, np.float32(2.0**-level)
        x, y = u[i] * scale - np.float32(0.5), v[i] * scale - np.float32(0.5)
        left, top = np.floor(x), np.floor(y)
        rows = []
        for row in (int(top) % side, (int(top) + 1) % side):
            a, b = tile[row, int(left) % side], tile[row, (int(left) + 1) % side]
            rows.append(a + (b - a) * (x - left))
        result[i] = rows[0] + (rows[1] - rows[0]) * (y - top)
    return result


def test_texture_samples_equal_the_definition_bit_for_bit():
    random = np.random.default_rng(4)
    layer = random.integers(0, len(LAYERS), 400)
    u, v = random.uniform(-9000, 9000, (2, 400)).astype(np.float32)
    u[:40] = np.round(u[:40])
    footprint = np.exp2(random.uniform(-4, 20, 400)).astype(np.float32)
    assert_array_equal(textures().sample(layer, u, v, footprint), sampled_by_numpy(layer, u, v, footprint))
    assert_array_equal(
        textures().sample(3, u, v, footprint), sampled_by_numpy(np.full(400, 3), u, v, footprint)
    )


def test_texture_sampling_refuses_rows_of_unlike_length_and_unknown_layers():
    row = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="one length"):
        textures().sample(0, row, row[:2], row)
    with pytest.raises(ValueError, match="no such layer"):
        textures().sample(len(LAYERS), row, row, row)


def test_texture_samples_at_texel_centres_are_texels_and_repeat():
    table = textures()
    centres = np.arange(6, dtype=np.float32) + np.float32(0.5)
    whole, own = np.arange(6, dtype=np.float32), np.ones(6, np.float32)
    values = table.sample(0, centres, centres, own)
    assert_array_equal(values, table.pick(0, whole, whole))
    assert_allclose(table.sample(0, centres + 256, centres - 256, own), values, atol=1e-6)


def test_homographies_project_points_and_invert():
    camera = Camera.looking((1.0, -1.5, 2.0), 0.1, 0.05, 0.02, (100, 200), 150.0)
    origin, u, v = (np.array([a]) for a in ([3.0, 0.0, 12.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]))
    maps = homographies(camera, origin, u, v, np.array([False]))
    inverses, _ = inverse(maps)
    assert_allclose(product(maps, inverses)[0], np.eye(3), atol=1e-9)
    rotation = np.array(camera.rotation)
    assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    point = rotation @ (origin[0] + 0.5 * u[0] + 2.0 * v[0] - np.array(camera.position))
    expected = 150.0 * point[:2] / point[2] + np.array(camera.centre)
    image = maps[0] @ np.array([0.5, 2.0, 1.0])
    assert_allclose(image[:2] / image[2], expected, atol=1e-9)


def test_boxes_of_faces_that_pass_the_camera_are_cut_at_the_near_plane():
    camera = Camera.looking((0.0, 0.0, 0.0), 0.0, 0.0, 0.0, (100, 100), 100.0)
    origin, u, v = (np.array([a]) for a in ([2.0, 1.0, -5.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]))
    maps = homographies(camera, origin, u, v, np.array([False]))
    boxes, near, far = image_boxes(maps, np.array([[0.0, 25.0, 0.0, 2.0]]))
    assert (near[0], far[0]) == pytest.approx((-5.0, 20.0))
    assert boxes[0, 0] == pytest.approx(49.5 + 100 * 2 / 20)
    assert math.isfinite(boxes[0, 2])
    assert boxes[0, 2] > 500


def test_verify_says_what_is_there():
    dataset = SyntheticStreets(SyntheticOptions(size=(60, 80), sequences=2, frames=2))
    findings = list(dataset.verify("val"))
    assert [f.level for f in findings] == ["ok", "ok"]
    assert len(list(dataset.verify())) == 6
