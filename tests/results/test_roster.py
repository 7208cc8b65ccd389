"""The roster: what a run writes of its entries, and that neither labels nor written-out defaults decide anything."""

from __future__ import annotations

from typing import Any

import pytest

from vssbench.codec import CodecSettings
from vssbench.errors import InputError
from vssbench.experiment.schema import Experiment, load_experiment
from vssbench.experiment.yaml import packaged_experiments
from vssbench.results.identity import PaperIdentity, codec_label
from vssbench.results.published import published_row, published_time
from vssbench.results.roster import ROSTER_FILE, MethodEntry, Roster, make_roster, read_roster
from vssbench.results.store import RunFolder

CAMVID = {"name": "camvid", "split": "test", "protocol": "paper", "root": "CamVid"}
CODEC = {
    "label": "3M", "codec": "hevc", "bitrate_kbps": 3000, "preset": "medium", "extra": {"rect": "1", "amp": "1"},
}  # fmt: skip
HALF = {"label": "half", "name": "ar-seg", "network": "pspnet18-camvid", "lr_scale": 0.5}
FULL = {"label": "full", "name": "constant", "network": "pspnet18-camvid"}
PROTOCOL = {"kind": "clip", "keyframe_interval": 12}


def roster(**changes: Any) -> Roster:
    """Of PSPNet18 at full resolution and AR-Seg at half of it, on CamVid as in the paper."""
    plain = {"datasets": [CAMVID], "codecs": [CODEC], "methods": [HALF, FULL], "protocol": PROTOCOL}
    return make_roster(load_experiment({**plain, **changes}))


def identity(method: str = "half", **changes: Any) -> PaperIdentity | None:
    return roster(**changes).identity("camvid", "3M", method)


def written_out(experiment: Experiment) -> dict[str, Any]:
    """The experiment as a file that leaves nothing to a default."""
    values = experiment.model_dump(mode="json")
    for kind, specs in (("datasets", experiment.datasets), ("methods", experiment.methods)):
        values[kind] = [
            {**values[kind][i], **spec.options().model_dump(mode="json")} for i, spec in enumerate(specs)
        ]
    for codec in values["codecs"]:
        del codec["keyframe_interval"]  # the protocol's
    return values


@pytest.mark.parametrize("name", packaged_experiments())
def test_writing_every_default_into_a_packaged_experiment_changes_nothing(name: str) -> None:
    experiment = load_experiment(name)
    assert make_roster(load_experiment(written_out(experiment))) == make_roster(experiment)


def test_reading_gives_what_was_written(tmp_path) -> None:
    folder, made = RunFolder(tmp_path), roster()
    folder.write_record(ROSTER_FILE, made)
    assert read_roster(folder) == made


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not readable as JSON"),
        ("[]", "not a record of a run"),
        ('{"schema_version": 2, "digest": "", "belongs": ""}', "schema_version: Input should be 1"),
    ],
)
def test_a_file_that_is_no_roster_is_named_with_its_remedy(tmp_path, text: str, reason: str) -> None:
    (tmp_path / ROSTER_FILE).write_text(text)
    with pytest.raises(InputError, match=rf"roster\.json: .*{reason}.*makes it again"):
        read_roster(RunFolder(tmp_path))


def test_a_missing_roster_is_an_input_error(tmp_path) -> None:
    with pytest.raises(InputError, match=r"roster\.json: is missing"):
        read_roster(RunFolder(tmp_path))


def entry(options: dict[str, Any]) -> MethodEntry:
    (made,) = roster(methods=[{"label": "m", **options}]).methods
    return made


def test_a_network_left_to_its_default_is_that_network() -> None:
    default = entry({"name": "ar-seg"})
    assert [(one.name, one.width) for one in default.networks] == [("bisenet18", 64)]
    assert default.family == entry({"name": "ar-seg", "network": "bisenet18", "lr_scale": 0.3}).family
    assert default.family != entry({"name": "ar-seg", "network": "pspnet18-camvid"}).family
    assert default.may_be_held_against(entry({"name": "constant"}))
    assert not default.may_be_held_against(entry({"name": "constant", "network": "pspnet18-camvid"}))
    assert not default.may_be_held_against(default)


def test_the_network_of_accel_is_the_one_that_runs_on_every_frame() -> None:
    accel = entry({"name": "accel", "reference_network": "deeplab101", "update_width": 8})
    assert [(one.name, one.width) for one in accel.networks] == [("deeplab18", 8), ("deeplab101", 64)]


def test_members_of_a_family_differ_in_their_knob_alone() -> None:
    assert entry({"name": "dff", "key_interval": 3}).family == entry({"name": "dff"}).family
    assert entry({"name": "dff", "flow_width": 16}).family != entry({"name": "dff"}).family
    assert (
        entry({"name": "dff", "inference": {"half_reference": True}}).family != entry({"name": "dff"}).family
    )


def test_titles_that_two_datasets_share_are_two_methods() -> None:
    made = make_roster(load_experiment("ar-seg/table1"))
    networks = [made.method(dataset, "PSP18 1.0x").networks[0].name for dataset in ("camvid", "cityscapes")]
    assert networks == ["pspnet18-camvid", "pspnet18-cityscapes"]
    assert len(list(made.combinations())) == 16
    assert made.codec("cityscapes", "HEVC@5Mbps").settings.bitrate_kbps == 5000
    with pytest.raises(KeyError):
        made.codec("camvid", "HEVC@5Mbps")


def test_a_row_of_table_1_is_found_by_options() -> None:
    found = identity()
    assert found is not None
    row = published_row(found)
    assert row is not None
    assert (row["miou_percent"], row["gflops"]) == (70.48, 101.98)
    assert str(row["source"]).endswith("table 1, row 4")


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("methods", {"width": 12}),
        ("methods", {"mode": "corrected"}),
        ("methods", {"window": 3}),
        ("methods", {"inference": {"autocast": "bf16"}}),
        ("methods", {"network": "pspnet18-cityscapes"}),
        ("codecs", {"bitrate_kbps": 2999}),
        ("codecs", {"codec": "h264"}),
        ("codecs", {"references": 1}),
        ("datasets", {"protocol": "standard"}),
        ("datasets", {"split": "val"}),
        ("protocol", {"kind": "stream"}),
    ],
)
def test_what_the_paper_did_not_measure_has_no_identity(kind: str, change: dict[str, Any]) -> None:
    base = {"methods": HALF, "codecs": CODEC, "datasets": CAMVID, "protocol": PROTOCOL}[kind]
    changed: Any = {**base, **change}
    if change.get("codec") == "h264":
        changed["extra"] = {}
    assert identity(**{kind: changed if kind == "protocol" else [changed]}) is None


@pytest.mark.parametrize("change", [{"lr_scale": 0.45}, {"label": "AR0.5-PSP18", "lr_scale": 0.31}])
def test_a_scale_that_the_paper_has_not_has_no_row_whatever_its_label(change: dict[str, Any]) -> None:
    found = identity(change.get("label", "half"), methods=[{**HALF, **change}])
    assert found is not None
    assert published_row(found) is None
    assert published_time(found) is None


def test_execution_that_leaves_the_numbers_alone_leaves_the_identity() -> None:
    fast = {"channels_last": True, "batch": 4, "fold_normalisation": False}
    assert identity(methods=[{**HALF, "inference": fast}]) == identity()


def test_table_3_is_told_by_variant_and_interval() -> None:
    found = identity(methods=[{**HALF, "variant": "window-3"}])
    assert found is not None
    assert published_row(found)["miou_percent"] == 70.30
    found = identity(protocol={**PROTOCOL, "keyframe_interval": 30})
    assert found is not None
    assert published_row(found)["miou_percent"] == 69.67
    assert identity(protocol={**PROTOCOL, "distances": "0..11"}) == identity()
    partly = identity(protocol={**PROTOCOL, "distances": [0, 11]})
    assert partly is not None
    assert published_row(partly) is None  # accuracy at two distances is another quantity
    assert published_time(partly).latency_ms == 14.7
    assert published_time(partly).times_faster == pytest.approx(31.2 / 14.7)


def test_codec_settings_carry_the_papers_names() -> None:
    usual = {"codec": "hevc", "preset": "medium", "extra": {"rect": "1", "amp": "1"}}

    def label(dataset: str, **settings: Any) -> str | None:
        return codec_label(CodecSettings(**{**usual, **settings}), dataset)

    assert label("camvid", bitrate_kbps=3000) == "HEVC@3Mbps"
    assert label("cityscapes", bitrate_kbps=5000) == "HEVC@5Mbps"
    assert label("camvid", bitrate_kbps=5000) is None
    assert label("camvid", bitrate_kbps=3000, extra={}) == "x265-medium@3Mbps"
    assert label("camvid", bitrate_kbps=3000, extra={}, preset="ultrafast") == "x265-ultrafast@3Mbps"
    assert label("camvid", bitrate_kbps=3000, b_frames=2) is None
    assert label("camvid", crf=23) is None
