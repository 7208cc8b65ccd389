"""One `--set` language: every row of the table is tried on a run experiment and on a training experiment."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vssbench.errors import ConfigError
from vssbench.experiment.overrides import apply_override
from vssbench.experiment.schema import load_experiment
from vssbench.experiment.training import load_training_experiment

from .conftest import run_document, training_document

STAGES = {"image": {"steps": 6}}


def _run(*overrides: str) -> dict[str, Any]:
    entries = [
        {"name": "tiny", "label": "a"},
        {"name": "tiny", "label": "b 0.5"},
        {"name": "tiny", "label": "s", "lr_scales": [0.3, 0.5]},
    ]
    document = run_document(datasets=[{"name": "boxes", "label": "mine"}], methods=entries)
    return load_experiment(document, overrides).canonical()


def _train(*overrides: str) -> dict[str, Any]:
    entries = [
        {"name": "tiny", "label": "a", "stages": STAGES},
        {"name": "tiny", "label": "b-0.5", "stages": STAGES},
        {"name": "tiny", "label": "s", "lr_scales": [0.3, 0.5], "stages": STAGES},
    ]
    document = training_document(dataset={"name": "boxes", "label": "mine"}, contestants=entries)
    found = load_training_experiment(document, overrides).canonical()
    return {**found, "datasets": [found["dataset"]]}


def _codecs(values: dict[str, Any]) -> list[Any]:
    return [codec["preset"] for codec in values["codecs"]]


@pytest.mark.parametrize("load", [_run, _train], ids=["run", "train"])
@pytest.mark.parametrize(
    ("overrides", "look", "wanted"),
    [
        (["dataset.root=x"], lambda v: v["datasets"][0]["root"], "x"),
        (["datasets.mine.root=x"], lambda v: v["datasets"][0]["root"], "x"),
        (["datasets.boxes.root=x"], lambda v: v["datasets"][0]["root"], "x"),
        (["datasets.0.root=x"], lambda v: v["datasets"][0]["root"], "x"),
        (["dataset.frames=3"], lambda v: v["datasets"][0]["frames"], 3),
        (["dataset=drives"], lambda v: v["datasets"][0]["name"], "drives"),
        (["dataset={name: drives, frames: 2}"], lambda v: v["datasets"][0]["frames"], 2),
        (["dataset=[drives]", "dataset.root=y"], lambda v: v["datasets"][0]["root"], "y"),
        (["dataset.root=/a b #1"], lambda v: v["datasets"][0]["root"], "/a b #1"),
        (["dataset.root=a: b = c"], lambda v: v["datasets"][0]["root"], "a: b = c"),
        (["dataset.root=- *x &y !z | >"], lambda v: v["datasets"][0]["root"], "- *x &y !z | >"),
        (["dataset.root='#1'"], lambda v: v["datasets"][0]["root"], "#1"),
        (["codec.preset=fast"], _codecs, ["fast"]),
        (["codecs.h264.preset=fast"], _codecs, ["fast"]),
        (["codecs.0.preset=fast"], _codecs, ["fast"]),
        (["codec={codec: hevc, crf: 20}"], lambda v: v["codecs"][0]["crf"], 20.0),
        (["codec.extra={aq-mode: 2}"], lambda v: v["codecs"][0]["extra"], {"aq-mode": "2"}),
        (["codec.extra.aq-mode=2"], lambda v: v["codecs"][0]["extra"], {"aq-mode": "2"}),
        (["seed=0x10"], lambda v: v["seed"], 16),
        (["seed=1", "seed=2"], lambda v: v["seed"], 2),
    ],
)
def test_both_kinds_understand(load: Any, overrides: list[str], look: Any, wanted: Any) -> None:
    assert look(load(*overrides)) == wanted


@pytest.mark.parametrize(
    ("load", "one", "sep", "inner"),
    [(_run, "method", " ", ""), (_train, "contestant", "-", "options.")],
    ids=["run", "train"],
)
@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("{one}.{inner}width=7", [7, 7, 7, 7]),
        ("{one}s.a.{inner}width=7", [7, 64, 64, 64]),
        ("{one}s.0.{inner}width=7", [7, 64, 64, 64]),
        ('{one}s."b{sep}0.5".{inner}width=7', [64, 7, 64, 64]),
        ("{one}s.b{sep}0.5.{inner}width=7", [64, 7, 64, 64]),
        ("{one}s.s.{inner}width=7", [64, 64, 7, 7]),
        ("{one}s.s{sep}0.3.{inner}width=7", [64, 64, 7, 64]),
        ("{one}s.tiny.{inner}width=7", [7, 7, 7, 7]),
    ],
)
def test_entries_are_reached_by_label_name_position_or_all_at_once(
    load: Any, one: str, sep: str, inner: str, key: str, wanted: list[int]
) -> None:
    found = load(key.format(one=one, sep=sep, inner=inner))[f"{one}s"]
    assert [(entry.get("options") or entry)["width"] for entry in found] == wanted


@pytest.mark.parametrize(
    ("load", "one", "sep"), [(_run, "methods", " "), (_train, "contestants", "-")], ids=["run", "train"]
)
def test_settings_are_applied_in_their_order(load: Any, one: str, sep: str) -> None:
    inner = "options." if one == "contestants" else ""
    first, second = f"{one}.s{sep}0.3.{inner}width=7", f"{one}.s.{inner}width=9"

    def widths(*overrides: str) -> list[int]:
        return [(entry.get("options") or entry)["width"] for entry in load(*overrides)[one][2:]]

    assert widths(first, second) == [9, 9]
    assert widths(second, first) == [7, 9]
    assert widths(f"{one}.s.lr_scales=[0.4, 0.6, 0.8]", f"{one}.s{sep}0.6.{inner}width=5") == [64, 5, 64]
    with pytest.raises(ConfigError, match="before the settings that name a single scale"):
        load(first, f"{one}.s.lr_scales=[0.4]")


@pytest.mark.parametrize("load", [_run, _train], ids=["run", "train"])
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "expected key=value, like protocol.keyframe_interval=6"),
        ("=4", "expected key=value"),
        ("a..b=4", "expected key=value"),
        ('"a.b=4', "unknown key"),
        ("sede=1", r"--set 'sede=1': sede: unknown key; did you mean seed"),
        ("datasets.mina.root=x", "no entry 'mina'; did you mean mine"),
        ("datasets.7.root=x", "no entry '7'; known: mine"),
        ("datasets.mine.rot=x", r"datasets?\.(mine\.)?rot: unknown key; did you mean root"),
        ("datasets.mine.lable=x", r"lable: unknown key; did you mean label"),
        ("codecs.0.qp.deep=1", "'deep' is below a plain value"),
        ("dataset=[a", "not valid YAML"),
        ("dataset=[boxes] #1", "'#1' follows the value; quote the whole of it"),
        ('dataset.root="a" b', "'b' follows the value"),
        ("seed=2024-02-30", "a date; put it in quotes"),
        ("seed=1:30", "base 60"),
        ("seed=010", "an octal number"),
        ("seed=1_000", "grouped digits"),
        ("seed=" + "9" * 5000, "does not fit 64 bits"),
        ("seed=yes", "seed: Input should be a valid integer.*got 'yes'"),
        ("seed=true", "seed: expected a number .got True"),
        ("codec.qp=no", "qp: Input should be a valid integer"),
        ("codec.b_frames=false", r"b_frames: expected a number .got False"),
        ("dataset.frames=true", "frames: expected a number"),
        ('dataset.root="\\0"', "NUL"),
        ("dataset.root=~nobody-has-this-name/x", "home"),
        ("dataset.name=boxs", "unknown dataset 'boxs'; did you mean boxes"),
    ],
)
def test_both_kinds_refuse_alike(load: Any, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(override)
    assert str(caught.value).startswith("--set "), caught.value


def test_a_default_that_the_file_leaves_out_can_be_set() -> None:
    assert _run("measure.latency=true")["measure"]["latency"] is True
    assert _run("method.inference.batch=2")["methods"][0]["inference"]["batch"] == 2
    assert _run("limits.metrics.miou_d0=0.5")["limits"]["metrics"] == {"miou_d0": 0.5}
    assert _train("pairs.original_share=0")["pairs"]["original_share"] == 0
    prefix = _train('contestant.stages.image.lr_multipliers."network.conv1"=0.5')["contestants"][0]["stages"][
        "image"
    ]
    assert prefix["lr_multipliers"] == {"network.conv1": 0.5}


def test_text_behind_the_first_equals_sign_is_taken_whole() -> None:
    for text in ("a #b", "#", " padded ", "x=y", "a\tb", "it's", "100%", "@home", "{"[:0] + "a]b}"):
        values: dict[str, Any] = {}
        apply_override(values, f"key={text}")
        assert values == {"key": text}
    for text, value in (("3", 3), ("1e-3", 1e-3), ("null", None), ("true", True), ("", ""), ("'3'", "3")):
        values = {}
        apply_override(values, f"key={text}")
        assert values == {"key": value}


_STEPS = st.sampled_from(
    ["dataset", "datasets", "mine", "0", "root", "codec", "codecs", "qp", "extra", "seed", "method", "methods", "contestant",
     "contestants", "a", "s", '"b 0.5"', "b-0.5", "options", "stages", "image", "lr_scales", "protocol", "pairs", "x", ""]
)  # fmt: skip
_VALUES = st.one_of(
    st.text(max_size=8), st.sampled_from(["{}", "[]", "[1]", "{a: [1, {b: c}]}", "0.5", "true", "null", "'"])
)


@settings(max_examples=150)
@given(
    load=st.sampled_from([_run, _train]),
    words=st.lists(st.tuples(st.lists(_STEPS, min_size=1, max_size=4), _VALUES), min_size=1, max_size=3),
)
def test_any_setting_is_taken_or_refused_in_one_message(
    load: Any, words: list[tuple[list[str], str]]
) -> None:
    overrides = [".".join(steps) + "=" + value for steps, value in words]
    said = "--set"
    try:
        load(*overrides)
    except ConfigError as error:
        said = str(error)
    assert "--set" in said or said.startswith("experiment: ")


def test_a_training_has_one_dataset() -> None:
    with pytest.raises(ConfigError, match="a training has one dataset, got 2"):
        _train("dataset=[boxes, drives]")
    assert [entry["name"] for entry in _run("dataset=[boxes, drives]")["datasets"]] == ["boxes", "drives"]


def test_two_datasets_have_roots_of_their_own() -> None:
    found = _run("dataset=[boxes, drives]", "datasets.boxes.root=A", "datasets.drives.root=B")["datasets"]
    assert [entry["root"] for entry in found] == ["A", "B"]


def test_a_title_tells_what_was_changed_but_no_paths() -> None:
    plain = {
        "title": "Streets, interval 12",
        "datasets": [{"name": "synthetic"}],
        "codecs": [{"label": "c", "qp": 30}],
        "methods": [{"name": "constant"}],
    }
    changed = load_experiment(plain, ["protocol.keyframe_interval=6", "seed=2", "codec.preset=fast"])
    assert changed.title == "Streets, interval 12 (protocol.keyframe_interval=6, codec.preset=fast)"
    assert load_experiment(plain, ["title=mine", "protocol.keyframe_interval=6"]).title == "mine"
    assert load_experiment(plain).title == "Streets, interval 12"
