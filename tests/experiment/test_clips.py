from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vssbench.experiment.clips import cut_clips
from vssbench.experiment.schema import ProtocolSettings


def _cases(groups):
    return sorted(
        (clip.first + d, d) for encodes in groups for e in encodes for clip in e.clips for d in clip.scored
    )


def test_clip_protocol_starts_one_encode_at_every_distance_before_the_labelled_frame():
    (encodes,) = cut_clips(20, [5], ProtocolSettings(kind="clip", keyframe_interval=4))
    assert [(e.first, e.length) for e in encodes] == [(5, 4), (4, 4), (3, 4), (2, 4)]
    assert [e.clips[0].scored for e in encodes] == [(0,), (1,), (2,), (3,)]
    assert {clip.unit for e in encodes for clip in e.clips} == {"frame-000005"}


def test_clip_protocol_leaves_out_distances_that_reach_before_the_sequence():
    (encodes,) = cut_clips(20, [1], ProtocolSettings(kind="clip", keyframe_interval=4))
    assert [e.first for e in encodes] == [1, 0]


def test_clip_protocol_can_stop_at_the_labelled_frame():
    (encodes,) = cut_clips(
        20, [5], ProtocolSettings(kind="clip", keyframe_interval=4, clip_frames="until_labelled")
    )
    assert [(e.first, e.length) for e in encodes] == [(5, 1), (4, 2), (3, 3), (2, 4)]


def test_clip_at_the_end_of_a_sequence_is_short():
    (encodes,) = cut_clips(7, [6], ProtocolSettings(kind="clip", keyframe_interval=4))
    assert [(e.first, e.length) for e in encodes] == [(6, 1), (5, 2), (4, 3), (3, 4)]


def test_stream_protocol_encodes_once_per_phase_and_scores_each_label_at_its_distance():
    groups = list(cut_clips(10, [5], ProtocolSettings(kind="stream", keyframe_interval=4, phases=(0, 2))))
    assert [encodes[0].first for encodes in groups] == [0, 2]
    assert [encodes[0].length for encodes in groups] == [10, 8]
    assert _cases(groups) == [(5, 1), (5, 3)]
    assert [clip.unit for clip in groups[0][0].clips if clip.scored] == ["phase-00-gop-000001"]
    assert [clip.length for clip in groups[0][0].clips] == [4, 4, 2]


def test_sequence_without_labels_gives_no_job():
    assert list(cut_clips(10, [], ProtocolSettings())) == []


@given(
    frames=st.integers(1, 60),
    interval=st.integers(1, 13),
    labelled=st.sets(st.integers(0, 59)),
)
def test_all_phases_score_the_same_cases_as_all_clips(frames, interval, labelled):
    chosen = sorted(t for t in labelled if t < frames)
    stream = _cases(
        cut_clips(frames, chosen, ProtocolSettings(kind="stream", keyframe_interval=interval, phases="all"))
    )
    clip = _cases(cut_clips(frames, chosen, ProtocolSettings(kind="clip", keyframe_interval=interval)))
    assert stream == clip
    assert len(clip) == sum(min(interval, t + 1) for t in chosen)
