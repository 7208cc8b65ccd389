"""Coded pairs: which clips are coded, what is stored, and that the store survives interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from vssbench.codec import CodecSettings
from vssbench.errors import ConfigError, InputError
from vssbench.experiment.training import PairSection
from vssbench.registry import datasets
from vssbench.training import pairs
from vssbench.training.pairs import ClipPlan, build_pairs, plan_clips

CODEC = (CodecSettings(codec="h264", qp=20, references=1),)


def boxes(**options: Any) -> Any:
    dataset = datasets.load("boxes")
    return dataset(dataset.Options(**options))


def plan(section: PairSection, **options: Any) -> list[ClipPlan]:
    return plan_clips(boxes(sequences=1, **options).sequences("train"), section, seed=1)


def test_dense_labels_are_tiled_by_gops() -> None:
    clips = plan(PairSection(keyframe_interval=4), frames=9)
    assert [(c.first, c.length, c.kept) for c in clips] == [(0, 4, (0, 1, 2, 3)), (4, 4, (0, 1, 2, 3))]


def test_sparse_labels_get_clips_that_end_on_them() -> None:
    clips = plan(PairSection(keyframe_interval=4, clips_per_label=9), frames=9, labelled_every=4)
    assert [(c.first, c.length, c.kept) for c in clips] == [
        (3, 2, (1,)), (2, 3, (2,)), (1, 4, (3,)), (7, 2, (1,)), (6, 3, (2,)), (5, 4, (3,)),
    ]  # fmt: skip


def test_stills_need_no_earlier_frames() -> None:
    section = PairSection(source="stills", keyframe_interval=4, distances=(3,))
    clips = plan(section, frames=1)
    assert [(c.first, c.length, c.kept) for c in clips] == [(-3, 4, (3,))]


def test_a_limit_spreads_over_the_split() -> None:
    clips = plan(PairSection(keyframe_interval=2, limit_clips=3), frames=10)
    assert [c.first for c in clips] == [0, 4, 8]


def test_a_split_without_usable_labels_is_refused() -> None:
    with pytest.raises(InputError, match="no labelled frame"):
        plan(PairSection(keyframe_interval=4, distances=(3,)), frames=3, labelled_every=2)


def test_the_store_holds_decoded_frames_labels_and_motion_to_the_keyframe(tmp_path: Path) -> None:
    dataset = boxes(sequences=1, frames=4)
    sequence = dataset.sequences("train")[0]
    store = build_pairs(dataset, PairSection(keyframe_interval=4, flow_stride=1), CODEC, 1, tmp_path)
    assert [entry.distance for entry in store.entries] == [0, 1, 2, 3]
    entry = store.select(pairs=True, distances=(3,))[0]
    sample = store.pair(entry)
    assert_array_equal(sample.label, sequence.label(3))
    assert_array_equal(sample.reference, store.image(store.entries[0]).image)
    assert_array_equal(store.image(entry, original=True).image, sequence.image(3))
    assert np.abs(sample.image.astype(int) - sequence.image(3)).mean() < 6
    # the square moved right by 6 pixels, so its content was 6 pixels further left in the keyframe
    inside = sample.flow[:, 8:12, 16:20]
    assert np.median(inside[0]) == pytest.approx(-6, abs=0.5)
    assert np.median(inside[1]) == pytest.approx(0, abs=0.5)
    assert_array_equal(
        store.label_counts, np.bincount(np.stack([sequence.label(i) for i in range(4)]).ravel())
    )


def test_a_coarser_flow_grid_fills_cells_with_the_motion_of_their_centre(tmp_path: Path) -> None:
    dataset = boxes(sequences=1, frames=4)
    fine, coarse = (
        build_pairs(dataset, PairSection(keyframe_interval=4, flow_stride=s), CODEC, 1, tmp_path)
        for s in (1, 4)
    )
    exact = fine.pair(fine.entries[3]).flow
    cells = coarse.pair(coarse.entries[3]).flow
    assert_array_equal(cells, exact[:, 2::4, 2::4].repeat(4, 1).repeat(4, 2))


def test_an_interrupted_build_continues_and_gives_the_same_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = boxes(sequences=2, frames=8)
    section = PairSection(keyframe_interval=4)
    whole = build_pairs(dataset, section, CODEC, 1, tmp_path / "whole")
    code, calls = pairs._code, []

    def failing(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return code(*arguments)

    monkeypatch.setattr(pairs, "_code", failing)
    with pytest.raises(KeyboardInterrupt):
        build_pairs(dataset, section, CODEC, 1, tmp_path / "parts")
    again = build_pairs(dataset, section, CODEC, 1, tmp_path / "parts")
    assert len(calls) == 3 + 2  # two clips were kept, the third was redone
    assert again.entries == whole.entries
    for one, two in zip(whole.entries, again.entries, strict=True):
        assert_array_equal(whole.image(one).image, again.image(two).image)


def test_a_finished_store_is_read_not_rebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, section = boxes(sequences=1), PairSection(keyframe_interval=4)
    build_pairs(dataset, section, CODEC, 1, tmp_path)
    monkeypatch.setattr(pairs, "_code", lambda *a: pytest.fail("coded again"))
    build_pairs(dataset, section, CODEC, 1, tmp_path)


def test_codecs_take_turns_and_change_the_store(tmp_path: Path) -> None:
    dataset, section = boxes(sequences=1), PairSection(keyframe_interval=4)
    coarse = CodecSettings(codec="h264", qp=44, references=1)
    one = build_pairs(dataset, section, CODEC, 1, tmp_path)
    two = build_pairs(dataset, section, (*CODEC, coarse), 1, tmp_path)
    assert one.digest != two.digest
    assert_array_equal(one.image(one.entries[1]).image, two.image(two.entries[1]).image)
    assert not np.array_equal(one.image(one.entries[5]).image, two.image(two.entries[5]).image)


def test_asking_for_distances_that_were_not_made_is_an_error(tmp_path: Path) -> None:
    store = build_pairs(
        boxes(sequences=1), PairSection(keyframe_interval=4, distances=(0, 1)), CODEC, 1, tmp_path
    )
    with pytest.raises(ConfigError, match=r"distances \[3\]"):
        store.select(pairs=True, distances=(3,))


def test_a_damaged_clip_file_is_named(tmp_path: Path) -> None:
    store = build_pairs(boxes(sequences=1), PairSection(keyframe_interval=4), CODEC, 1, tmp_path)
    (store.folder / store.entries[0].file).write_bytes(b"PK not a zip")
    with pytest.raises(InputError, match=r"clip-000000\.npz: cannot be read"):
        store.image(store.entries[0])
