"""Flow composition against loops over single samples, the reference's merged vectors, and real encodes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vssbench.codec import (
    CodecSettings,
    KeyframeFlow,
    decode,
    encode,
    flow_field_to_keyframe,
    flow_field_to_previous,
    flow_to_keyframe,
    flow_to_previous,
    flows_to_keyframe,
    prediction_residual,
)
from vssbench.codec.motion import _whole
from vssbench.errors import BitstreamError, CapabilityError
from vssbench.records import MODE_INTER, MODE_INTRA, NO_REFERENCE, DecodedFrame, MotionField


def field_of(poc, vectors, distance, *, size=None, left_top=(0, 0), frame_type=None, **rest):
    """vectors [H4, W4, 2] quarter samples; distance [H4, W4] pictures back, 0 intra."""
    distance = np.asarray(distance)
    shape = distance.shape
    both = np.zeros((*shape, 2, 2), np.int16)
    both[:, :, 0] = np.where(distance[:, :, None] > 0, vectors, 0)
    references = np.full((*shape, 2), NO_REFERENCE, np.int32)
    references[:, :, 0] = np.where(distance > 0, poc - distance, NO_REFERENCE)
    return MotionField(
        poc=poc,
        frame_type=frame_type or ("P" if (distance > 0).any() else "I"),
        size=size or (shape[0] * 4, shape[1] * 4),
        vectors_qpel=both,
        reference_poc=references,
        mode=np.where(distance > 0, MODE_INTER, MODE_INTRA).astype(np.uint8),
        crop_left_top=left_top,
        **{"decode_order": poc, **rest},
    )


def random_clip(seed, shape=(5, 6), count=6, reach=40, **geometry):
    generator = np.random.default_rng(seed)
    fields = [field_of(0, np.zeros((*shape, 2)), np.zeros(shape, int), **geometry)]
    for poc in range(1, count):
        vectors = generator.integers(-reach, reach + 1, (*shape, 2))
        distance = np.minimum(generator.integers(0, 5, shape), poc)
        distance[0, 0] = 1  # never all intra, or it would be a keyframe
        fields.append(field_of(poc, vectors, distance, **geometry))
    return fields


def round_half_even(quarter_samples):
    return round(int(quarter_samples) / 4)  # exact in binary, and Python rounds half to even


def clamp(value, length):
    return min(max(value, 0), length - 1)


def merge_sample_by_sample(fields):
    """The paper's merging, spec/ar-seg.md section 3.2, one sample after the other: roots[f][y][x] = (x, y)."""
    height, width = fields[0].size
    left, top = fields[0].crop_left_top
    roots = [[[(x, y) for x in range(width)] for y in range(height)]]
    for number, field in enumerate(fields[1:], start=1):
        picture = []
        for y in range(height):
            row = []
            for x in range(width):
                block = (y + top) // 4, (x + left) // 4
                reference = int(field.reference_poc[block][0])
                index = field.poc - reference - 1 if reference != NO_REFERENCE else -1
                moved = field.vectors_qpel[block][0]
                if index < 0 or index >= 3:
                    index, moved = 0, (0, 0)
                x_to = clamp(x + round_half_even(moved[0]), width)
                y_to = clamp(y + round_half_even(moved[1]), height)
                row.append(roots[max(0, number - index - 1)][y_to][x_to])
            picture.append(row)
        roots.append(picture)
    return roots


def compose_sample_by_sample(fields):
    """The rule "exact": accumulated flow in quarter samples and validity, one sample after the other."""
    height, width = fields[0].size
    left, top = fields[0].crop_left_top
    flow = np.zeros((len(fields), height, width, 2), int)
    valid = np.ones((len(fields), height, width), bool)
    for number, field in enumerate(fields[1:], start=1):
        for y in range(height):
            for x in range(width):
                block = (y + top) // 4, (x + left) // 4
                reference = int(field.reference_poc[block][0])
                if reference == NO_REFERENCE:
                    valid[number, y, x] = False
                    continue
                target = [
                    4 * at + int(moved)
                    for at, moved in zip((x, y), field.vectors_qpel[block][0], strict=True)
                ]
                inside = [
                    min(max(to, 0), 4 * (length - 1))
                    for to, length in zip(target, (width, height), strict=True)
                ]
                near = [at + round_half_even(to - 4 * at) for at, to in zip((x, y), inside, strict=True)]
                source = number - (field.poc - reference)
                flow[number, y, x] = np.subtract(inside, (4 * x, 4 * y)) + flow[source, near[1], near[0]]
                valid[number, y, x] = inside == target and valid[source, near[1], near[0]]
    return flow, valid


GEOMETRIES = [
    {},
    {"size": (17, 21)},  # cropped at the right and bottom, in the middle of a block
    {"size": (14, 18), "left_top": (2, 4)},
]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("seed", range(2))
def test_paper_rule_equals_merging_sample_by_sample(seed, geometry) -> None:
    fields = random_clip(seed, **geometry)
    roots = np.array(merge_sample_by_sample(fields))
    height, width = fields[0].size
    here = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    for index, flow in enumerate(flows_to_keyframe(fields, "paper")):
        np.testing.assert_array_equal(flow.flow.transpose(1, 2, 0), roots[index] - here)
        assert flow.valid.all()


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("seed", range(2))
def test_exact_rule_equals_composing_sample_by_sample(seed, geometry) -> None:
    fields = random_clip(seed, **geometry)
    expected, valid = compose_sample_by_sample(fields)
    for index, flow in enumerate(flows_to_keyframe(fields, "exact")):
        np.testing.assert_array_equal(flow.flow.transpose(1, 2, 0) * 4, expected[index])
        np.testing.assert_array_equal(flow.valid, valid[index])


@pytest.mark.parametrize("rule", ["paper", "exact"])
def test_extreme_vectors_do_not_wrap_around(rule) -> None:
    fields = random_clip(3, reach=2**15 - 1)
    for index, flow in enumerate(flows_to_keyframe(fields, rule)):
        if rule == "paper":
            roots = np.array(merge_sample_by_sample(fields))[index]
            here = np.stack(np.meshgrid(np.arange(24), np.arange(20)), axis=-1)
            np.testing.assert_array_equal(flow.flow.transpose(1, 2, 0), roots - here)
        else:
            np.testing.assert_array_equal(
                flow.flow.transpose(1, 2, 0) * 4, compose_sample_by_sample(fields)[0][index]
            )


def test_rounding_is_half_to_even_for_every_vector() -> None:
    every = np.arange(-(2**15), 2**15).astype(np.int16)
    np.testing.assert_array_equal(_whole(every), np.rint(every / 4))
    assert _whole(np.array([2, 6, 10, -2, -6], np.int16)).tolist() == [0, 2, 2, 0, -2]


@pytest.mark.needs_shared
@pytest.mark.parametrize("clip", range(3))
def test_paper_rule_equals_the_references_merged_vectors(shared, clip) -> None:
    arrays = np.load(shared / "data" / "hevc" / "ar-seg" / f"arseg{clip}.npz")
    fields = [
        MotionField(
            poc=int(poc),
            frame_type="I" if index == 0 else "P",
            size=(720, 960),
            vectors_qpel=arrays["mv"][index],
            reference_poc=arrays["ref_poc"][index],
            mode=arrays["pred_mode"][index],
            decode_order=index,
        )
        for index, poc in enumerate(arrays["poc"])
    ]
    chain = KeyframeFlow("paper")
    for index, field in enumerate(fields):
        chain.advance(field)
        if index in (1, 5, 11):
            np.testing.assert_array_equal(chain.current_qpel(), arrays[f"clean_d{index}"])
            np.testing.assert_array_equal(
                flow_to_keyframe(fields, index, "paper") * 4, arrays[f"clean_d{index}"].transpose(2, 0, 1)
            )


@pytest.mark.parametrize("rule", ["paper", "exact"])
def test_a_steady_pan_adds_up(rule) -> None:
    """5 quarter samples per picture over 4 pictures: 5 samples exactly; rounded per hop 4 samples (5/4 -> 1)."""
    moving = np.full((8, 8, 2), (5, -4))
    fields = [field_of(0, moving, np.zeros((8, 8), int))]
    fields += [field_of(poc, moving, np.ones((8, 8), int)) for poc in range(1, 5)]
    flow = flow_to_keyframe(fields, 4, rule)
    inner = flow[:, 8:-8, 8:-8]
    assert (inner[0] == {"paper": 4, "exact": 5}[rule]).all()
    assert (inner[1] == -4).all()
    assert flow.dtype == np.float32


def test_what_is_predicted_from_an_intra_block_is_invalid() -> None:
    intra = np.ones((4, 4), int)
    intra[1, 1] = 0
    still = np.zeros((4, 4, 2))
    fields = [field_of(0, still, np.zeros((4, 4), int)), field_of(1, still, intra)]
    fields.append(
        field_of(2, np.full((4, 4, 2), (16, 0)), np.ones((4, 4), int))
    )  # everything came from 4 to the right
    first, second = (flow_field_to_keyframe(fields, index) for index in (1, 2))
    assert not first.valid[4:8, 4:8].any()
    assert first.valid.sum() == 16 * 16 - 16
    assert not second.valid[4:8, 0:4].any()  # points into the intra block
    assert not second.valid[:, 12:].any()  # points out of the picture
    assert second.valid.sum() == 16 * 12 - 16
    assert (flow_to_keyframe(fields, 1)[:, 4:8, 4:8] == 0).all()


def test_the_keyframe_itself_does_not_move() -> None:
    flow = flow_field_to_keyframe(random_clip(0), 0)
    assert not flow.flow.any()
    assert flow.valid.all()


def two_groups():
    """Two coded sequences whose POCs start over."""
    second = [
        dataclasses.replace(field, coded_sequence=1, decode_order=6 + field.decode_order)
        for field in random_clip(2)
    ]
    return random_clip(1) + second


@pytest.mark.parametrize("rule", ["paper", "exact"])
def test_each_group_counts_from_its_own_keyframe(rule) -> None:
    fields = two_groups()
    streamed = list(flows_to_keyframe(iter(fields), rule))
    assert len(streamed) == len(fields)
    for index, flow in enumerate(streamed):
        alone = flow_field_to_keyframe(fields, index, rule)
        np.testing.assert_array_equal(flow.flow, alone.flow)
        np.testing.assert_array_equal(flow.valid, alone.valid)
    np.testing.assert_array_equal(streamed[9].flow, flow_to_keyframe(fields[6:], 3, rule))


def test_streaming_takes_one_field_at_a_time() -> None:
    taken = []

    def source():
        for field in two_groups():
            taken.append(field)
            yield field

    for count, _ in enumerate(flows_to_keyframe(source()), start=1):
        assert len(taken) == count


def test_a_reference_further_back_than_the_paper_knows_stands_still() -> None:
    still, moving = np.zeros((4, 4, 2)), np.full((4, 4, 2), (4, 0))
    fields = [field_of(0, still, np.zeros((4, 4), int))]
    fields += [field_of(poc, still, np.ones((4, 4), int)) for poc in (1, 2, 3)]
    fields.append(field_of(4, moving, np.full((4, 4), 4)))
    assert not flow_to_keyframe(fields, 4, "paper").any()
    assert (flow_to_keyframe(fields, 4, "exact")[0, :, :12] == 1).all()


@pytest.mark.parametrize("rule", ["paper", "exact"])
def test_a_reference_that_is_no_longer_kept_counts_as_no_vector(rule) -> None:
    """Long-term pictures may be older than the 16 that are kept; so may what a damaged stream asks for."""
    still, ones = np.zeros((4, 4, 2)), np.ones((4, 4), int)
    fields = [field_of(0, still, 0 * ones)] + [field_of(poc, still, ones) for poc in range(1, 30)]
    fields.append(field_of(30, np.full((4, 4, 2), (4, 0)), 29 * ones))
    flow = flow_field_to_keyframe(fields, 30, rule)
    assert not flow.flow.any()
    assert (flow.valid == (rule == "paper")).all()


@pytest.mark.parametrize("rule", ["paper", "exact"])
def test_a_repeated_picture_order_count_takes_the_place_of_the_one_before(rule) -> None:
    """Damaged streams read with strict=False have them."""
    right, ones = np.full((4, 8, 2), (4, 0)), np.ones((4, 8), int)
    fields = [field_of(0, right, 0 * ones)]
    for order, poc in enumerate([1, 1, 1, 2, 2, 0, 3, 1, 2, 3, 4] * 3, start=1):
        fields.append(field_of(poc, right, ones, decode_order=order))
    for flow in flows_to_keyframe(fields, rule):
        assert set(np.unique(flow.flow[1])) == {0}
    first, second = (flow_to_keyframe(fields[:count], count - 1, rule)[0, :, :8] for count in (3, 5))
    assert (first == 1).all()  # from the keyframe again
    assert (second == 2).all()


def b_group():
    """Display I B P; the B takes its left half from the P behind it and its right half from the I before it."""
    shape = (4, 8)
    ones, still = np.ones(shape, int), np.zeros((*shape, 2))
    key = field_of(0, still, 0 * ones)
    last = field_of(2, np.full((*shape, 2), (0, 8)), 2 * ones, decode_order=1)
    vectors = np.zeros((*shape, 2, 2), np.int16)
    references = np.full((*shape, 2), NO_REFERENCE, np.int32)
    vectors[:, :4, 1], references[:, :4, 1] = (0, -4), 2
    vectors[:, 4:, 0], references[:, 4:, 0] = (0, 4), 0
    between = MotionField(
        poc=1,
        frame_type="B",
        size=(16, 32),
        vectors_qpel=vectors,
        reference_poc=references,
        mode=np.full(shape, MODE_INTER, np.uint8),
        decode_order=2,
    )
    return [key, between, last]


def test_b_pictures_wait_for_the_picture_they_point_to() -> None:
    fields = b_group()
    flows = list(flows_to_keyframe(fields))
    # Left: one sample up in the last picture, from there two samples down in the keyframe.
    assert (flows[1].flow[1, 1:13, :16] == 1).all()
    assert (flows[1].flow[1, :15, 16:] == 1).all()
    for index in range(3):
        np.testing.assert_array_equal(flows[index].flow, flow_to_keyframe(fields, index))


def test_a_vector_to_a_later_picture_is_turned_around() -> None:
    flow = flow_field_to_previous(b_group(), 1)
    assert (flow.flow[1, :15] == 1).all()  # both halves move one sample per picture
    assert flow.valid[:15].all()


def test_the_paper_rule_is_not_defined_for_b_pictures() -> None:
    with pytest.raises(CapabilityError, match="defined for P pictures only"):
        list(flows_to_keyframe(b_group(), "paper"))


@pytest.mark.parametrize("rule", ["paper", "exact"])
@pytest.mark.parametrize("seed", range(3))
def test_one_picture_after_the_keyframe_both_flows_agree(seed, rule) -> None:
    fields = random_clip(seed, count=2)
    previous, key = flow_field_to_previous(fields, 1, rule), flow_field_to_keyframe(fields, 1, rule)
    np.testing.assert_array_equal(previous.flow, key.flow)
    np.testing.assert_array_equal(previous.valid, key.valid)


def test_flow_to_previous_takes_long_vectors_in_equal_steps() -> None:
    still = np.zeros((4, 4, 2))
    fields = [field_of(0, still, np.zeros((4, 4), int)), field_of(1, still, np.ones((4, 4), int))]
    fields.append(field_of(2, np.full((4, 4, 2), (12, -4)), np.full((4, 4), 2)))
    flow = flow_to_previous(fields, 2)
    assert (flow[0, 2:, :12] == 1.5).all()
    assert (flow[1, 2:, :12] == -0.5).all()


@pytest.mark.parametrize(("rule", "valid"), [("paper", True), ("exact", False)])
def test_pictures_without_motion_stand_still(rule, valid) -> None:
    for index in (0, 6):
        flow = flow_field_to_previous(two_groups(), index, rule)
        assert not flow.flow.any()
        assert (flow.valid == valid).all()


def test_a_position_outside_the_clip_is_an_index_error() -> None:
    for function in (flow_to_keyframe, flow_to_previous):
        for index in (-1, 6):
            with pytest.raises(IndexError, match=f"picture {index} does not exist"):
                function(random_clip(0), index)


def test_a_changing_size_inside_a_group_is_an_error() -> None:
    fields = [random_clip(0)[0], random_clip(0, shape=(5, 7))[1]]
    with pytest.raises(BitstreamError, match="picture 1 is 28x20 after pictures of 24x20"):
        flow_to_keyframe(fields, 1)


def test_a_window_outside_the_coded_picture_is_an_error() -> None:
    with pytest.raises(BitstreamError, match="is outside the coded picture 24x20"):
        flow_to_keyframe(random_clip(0, size=(20, 24), left_top=(4, 0)), 0)


def test_pictures_too_large_for_16_bits_are_refused() -> None:
    field = field_of(0, np.zeros((1, 2048, 2)), np.zeros((1, 2048), int))
    with pytest.raises(CapabilityError, match="up to a side of 8160"):
        flow_to_keyframe([field], 0)


def frame_of(index, image, field):
    return DecodedFrame(index=index, image=image, frame_type=field.frame_type, motion=field)


def shifted(image, x):
    """Content moves x to the left; the border repeats."""
    columns = np.clip(np.arange(image.shape[1]) + x, 0, image.shape[1] - 1)
    return image[:, columns]


def residual_clip():
    generator = np.random.default_rng(4)
    first = generator.integers(0, 256, (16, 24, 3), dtype=np.uint8)
    images = [first, shifted(first, 3), shifted(first, 6)]
    return images, np.full((4, 6, 2), (12, 0)), np.ones((4, 6), int)


def test_perfect_prediction_leaves_nothing() -> None:
    images, vectors, ones = residual_clip()
    fields = [field_of(0, vectors, 0 * ones), field_of(1, vectors, ones), field_of(2, 2 * vectors, 2 * ones)]
    decoded = [frame_of(index, *pair) for index, pair in enumerate(zip(images, fields, strict=True))]
    for index in range(3):
        residual = prediction_residual(decoded, index)
        assert residual.dtype == np.int16
        assert residual.shape == (3, 16, 24)
        assert not residual.any()


def test_the_residual_of_intra_blocks_is_the_frame_difference() -> None:
    images, vectors, ones = residual_clip()
    ones[1, 2] = 0
    fields = [field_of(0, vectors, 0 * ones), field_of(1, vectors, ones)]
    decoded = [frame_of(index, *pair) for index, pair in enumerate(zip(images[:2], fields, strict=True))]
    residual = prediction_residual(decoded, 1)
    difference = (images[1].astype(int) - images[0]).transpose(2, 0, 1)
    np.testing.assert_array_equal(residual[:, 4:8, 8:12], difference[:, 4:8, 8:12])
    residual[:, 4:8, 8:12] = 0
    assert not residual.any()


def test_two_vectors_are_averaged() -> None:
    shape = (4, 4)
    references = np.zeros((*shape, 2), np.int32)
    references[:, :, 1] = 2
    fields = [
        field_of(0, np.zeros((*shape, 2)), np.zeros(shape, int)),
        MotionField(
            1, "B", (16, 16), np.zeros((*shape, 2, 2), np.int16), references, np.ones(shape, np.uint8)
        ),
        field_of(2, np.zeros((*shape, 2)), np.full(shape, 2)),
    ]
    images = [np.full((16, 16, 3), value, np.uint8) for value in (10, 100, 21)]
    decoded = [frame_of(index, *pair) for index, pair in enumerate(zip(images, fields, strict=True))]
    assert (prediction_residual(decoded, 1) == 100 - 16).all()  # (10 + 21 + 1) // 2


def test_a_residual_wants_motion_and_its_references() -> None:
    images, vectors, ones = residual_clip()
    fields = [field_of(0, vectors, 0 * ones), field_of(1, vectors, ones), field_of(2, vectors, 2 * ones)]
    decoded = [frame_of(index, *pair) for index, pair in enumerate(zip(images, fields, strict=True))]
    with pytest.raises(BitstreamError, match="refers to picture order count 0, which is not among"):
        prediction_residual(decoded[1:], 1)
    with pytest.raises(ValueError, match="decoded without motion"):
        prediction_residual([dataclasses.replace(decoded[0], motion=None)], 0)


def warp_nearest(image, flow):
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width]
    return image[
        np.clip(np.rint(y + flow[1]).astype(int), 0, height - 1),
        np.clip(np.rint(x + flow[0]).astype(int), 0, width - 1),
    ]


@pytest.mark.parametrize("rule", ["paper", "exact"])
@pytest.mark.parametrize("codec", ["h264", "mpeg4"])
def test_real_motion_points_the_right_way(pan, codec, rule) -> None:
    """Wrong sign < copying the keyframe < following the vectors."""
    settings = CodecSettings(codec=codec, qp=8, references=1)
    decoded = list(decode(encode(pan((96, 128), 6, (4, -2)), settings, 30)))
    flow = flow_to_keyframe([frame.motion for frame in decoded], 5, rule)
    errors = [
        np.abs(warp_nearest(decoded[0].image, sign * flow).astype(int) - decoded[5].image)[
            24:-24, 24:-24
        ].mean()
        for sign in (1, 0, -1)
    ]
    assert errors[0] < errors[1] / 2
    assert errors[0] < errors[2] / 2
    residuals = [np.abs(prediction_residual(decoded, index)).mean() for index in range(1, 6)]
    differences = [
        np.abs(decoded[index].image.astype(int) - decoded[index - 1].image).mean() for index in range(1, 6)
    ]
    assert max(residuals) < min(differences) / 2
