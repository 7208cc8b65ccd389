"""Augmentation: flow follows every geometric change, and the paper's defect is kept apart."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from vssbench.experiment.training import Augmentation
from vssbench.records import IGNORE_INDEX
from vssbench.training.augment import Sample, augment, crop, flip, rescale, thin


def ramp(height: int = 8, width: int = 12) -> Sample:
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 10, y * 10, x + y], -1).astype(np.uint8)
    flow = np.stack([np.full((height, width), 2.0), np.full((height, width), -1.0)]).astype(np.float32)
    return Sample(image, (x % 5).astype(np.uint8), image[:, ::-1].copy(), flow)


def test_flip_mirrors_everything_and_negates_horizontal_motion() -> None:
    sample = ramp()
    sample.flow[0, 0, 0] = 7
    flipped = flip(sample)
    assert_array_equal(flipped.image, sample.image[:, ::-1])
    assert_array_equal(flipped.reference, sample.reference[:, ::-1])
    assert_array_equal(flipped.label, sample.label[:, ::-1])
    assert flipped.flow[0, 0, -1] == -7
    assert flipped.flow[1, 0, 0] == -1


def test_two_flips_are_the_identity() -> None:
    sample = ramp()
    again = flip(flip(sample))
    assert_array_equal(again.image, sample.image)
    assert_array_equal(again.flow, sample.flow)


def test_a_flipped_flow_still_points_at_the_same_content() -> None:
    reference = np.arange(12, dtype=np.uint8)[None].repeat(4, 0)[..., None].repeat(3, -1)
    shifted = np.roll(reference, -2, axis=1)  # content at x now was at x + 2
    flow = np.stack([np.full((4, 12), 2.0), np.zeros((4, 12))]).astype(np.float32)
    mirrored = flip(Sample(shifted, shifted[..., 0], reference, flow))
    for x in range(2, 12):
        assert mirrored.image[0, x, 0] == mirrored.reference[0, x + int(mirrored.flow[0, 0, x]), 0]


def test_scale_multiplies_motion_by_the_scale() -> None:
    scaled = rescale(ramp(), 1.5)
    assert scaled.label.shape == (12, 18)
    assert_array_equal(scaled.flow[0], np.full((12, 18), 3.0))
    assert_array_equal(scaled.flow[1], np.full((12, 18), -1.5))


def test_scaled_size_is_truncated_and_labels_stay_labels() -> None:
    scaled = rescale(ramp(7, 9), 0.675)
    assert scaled.label.shape == (int(7 * 0.675), int(9 * 0.675))
    assert set(np.unique(scaled.label)) <= set(range(5))


def test_crop_slices_all_members_alike() -> None:
    sample = ramp()
    cut = crop(sample, (4, 6), (0.5, 1.0), "corrected")
    assert_array_equal(cut.image, sample.image[2:6, 6:12])
    assert_array_equal(cut.label, sample.label[2:6, 6:12])
    assert_array_equal(cut.flow, sample.flow[:, 2:6, 6:12])


def test_corrected_crop_pads_what_is_too_small_with_ignored_labels() -> None:
    cut = crop(ramp(4, 6), (8, 12), (0.0, 0.0), "corrected")
    assert (cut.label[:4, :6] != IGNORE_INDEX).all()
    assert (cut.label[4:] == IGNORE_INDEX).all()
    assert (cut.label[:, 6:] == IGNORE_INDEX).all()
    assert (cut.flow[:, 4:] == 0).all()


def test_paper_crop_enlarges_without_scaling_the_motion() -> None:
    small = rescale(ramp(8, 12), 0.5)  # flow is now 1, -0.5 for a frame of half the size
    cut = crop(small, (8, 12), (0.0, 0.0), "paper")
    assert cut.label.shape == (8, 12)
    assert_array_equal(
        cut.flow[0], np.full((8, 12), 1.0)
    )  # right would be 2: the defect of the released code


def test_thinned_labels_keep_the_corners() -> None:
    label = np.arange(6, dtype=np.uint8)[None].repeat(6, 0)
    assert_array_equal(thin(label, 2)[0], [0, 2, 5])
    assert thin(label, 1) is label


@pytest.mark.parametrize("rule", ["corrected", "paper"])
def test_same_numbers_give_the_same_sample_of_the_crop_size(rule: str) -> None:
    settings = Augmentation(rule=rule, jitter=0.5, scales=(0.5, 1.0, 2.0), crop=(6, 8), label_stride=2)
    results = [augment(ramp(), settings, np.random.default_rng(seed)) for seed in (1, 1, 2, 3, 4)]
    assert_array_equal(results[0].image, results[1].image)
    for result in results:
        assert result.image.shape == (6, 8, 3)
        assert result.reference.shape == (6, 8, 3)
        assert result.label.shape == (3, 4)
        assert result.flow.shape == (2, 6, 8)


def test_frame_and_keyframe_share_the_jitter() -> None:
    image = np.full((4, 4, 3), 100, np.uint8)
    sample = Sample(image, np.zeros((4, 4), np.uint8), image.copy(), np.zeros((2, 4, 4), np.float32))
    changed = augment(sample, Augmentation(jitter=0.5, flip=0), np.random.default_rng(5))
    assert_array_equal(changed.image, changed.reference)
    assert not np.array_equal(changed.image, image)


def test_without_any_change_the_sample_stays_as_it_is() -> None:
    sample = ramp()
    same = augment(sample, Augmentation(flip=0), np.random.default_rng(0))
    assert_allclose(same.image, sample.image)
    assert_array_equal(same.flow, sample.flow)
