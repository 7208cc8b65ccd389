"""CodecSettings: what is refused, and that equal meaning gives equal digests."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from vssbench.codec import CodecSettings


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "exactly one of bitrate_kbps, crf and qp must be set, got none"),
        ({"bitrate_kbps": 1000, "crf": 23}, "got bitrate_kbps=1000 and crf=23"),
        ({"bitrate_kbps": 1000, "crf": 23, "qp": 1}, "bitrate_kbps=1000 and crf=23 and qp=1"),
        ({"qp": 30, "keyframe_interval": 0}, "greater than or equal to 1"),
        ({"bitrate_kbps": 0}, "greater than 0"),
        ({"qp": 52}, "less than or equal to 51"),
        ({"qp": 30, "b_frames": -1}, "greater than or equal to 0"),
        ({"qp": 30, "references": 0}, "greater than or equal to 1"),
        ({"qp": 30, "codec": "av1"}, "'hevc', 'h264', 'mpeg4' or 'source'"),
        ({"qp": 30, "preset": "quick"}, "'ultrafast'"),
        ({"qp": 30, "bframes": 2}, "Extra inputs are not permitted"),
        ({"codec": "mpeg4", "qp": 30, "references": 2}, "predicts from one picture, got references=2"),
        ({"codec": "mpeg4", "crf": 23}, "has no crf"),
        ({"codec": "mpeg4", "qp": 0}, "must be 1 to 31, got 0"),
        ({"codec": "mpeg4", "qp": 3, "preset": "slow"}, "has no presets"),
        ({"codec": "mpeg4", "qp": 3, "b_frames": 1}, "does not keep closed GOPs"),
    ],
)
def test_impossible_settings_are_refused_with_the_value(values, reason) -> None:
    with pytest.raises(ValidationError) as caught:
        CodecSettings(**values)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("keyint", "belongs in the setting 'keyframe_interval'"),
        ("bitrate", "belongs in the setting 'bitrate_kbps'"),
        ("ref", "belongs in the setting 'references'"),
        ("scenecut", "is fixed by vssbench"),
        ("no-scenecut", "is fixed by vssbench"),
        ("frame-threads", "is fixed by vssbench"),
        ("pools", "is fixed by vssbench"),
        ("no-wpp", "is fixed by vssbench"),
        ("open_gop", "is fixed by vssbench"),
        ("sc_threshold", "is fixed by vssbench"),
        ("rect=1:frame-threads", "may not be empty or contain"),
        ("", "may not be empty"),
    ],
)
def test_extra_cannot_undo_what_is_pinned(option, reason) -> None:
    with pytest.raises(ValidationError) as caught:
        CodecSettings(qp=30, extra={option: "1"})
    assert reason in str(caught.value)


def test_extra_values_cannot_smuggle_a_second_option() -> None:
    with pytest.raises(ValidationError, match="may not be empty or contain"):
        CodecSettings(qp=30, extra={"rect": "1:frame-threads=4"})


def test_equal_meaning_gives_equal_digests() -> None:
    one = CodecSettings(crf=23, extra={"rect": True, "amp": 1})
    other = CodecSettings(crf=23.0, extra={"amp": "1", "rect": "1"})
    assert one.digest() == other.digest()
    assert one.canonical_json() == other.canonical_json()
    assert CodecSettings.model_validate_json(one.canonical_json()) == one


@pytest.mark.parametrize(
    "change",
    [
        {"codec": "h264"},
        {"qp": 31},
        {"preset": "slow"},
        {"keyframe_interval": 6},
        {"b_frames": 2},
        {"references": 1},
        {"extra": {"amp": "1"}},
    ],
)
def test_every_field_changes_the_digest(change) -> None:
    values = {"codec": "hevc", "qp": 30}
    assert CodecSettings(**{**values, **change}).digest() != CodecSettings(**values).digest()


def test_canonical_json_holds_every_field() -> None:
    assert set(json.loads(CodecSettings(qp=30).canonical_json())) == set(CodecSettings.model_fields)


def test_mpeg4_has_one_reference_unless_told() -> None:
    assert CodecSettings(codec="mpeg4", qp=3).references == 1
    assert CodecSettings(codec="h264", qp=3).references == 3
