"""What stands in a file is what is meant, or is refused with file, line and column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from vssbench.cli import app
from vssbench.errors import ConfigError, InputError, VssbenchError
from vssbench.experiment.schema import load_experiment
from vssbench.experiment.training import load_training_experiment
from vssbench.experiment.yaml import packaged_experiments, parse_yaml

RUN = """\
dataset: {name: boxes}
methods: [{label: m, name: tiny}]
codecs: [{label: c, codec: h264, CODEC, references: 1}]
protocol: {kind: stream, keyframe_interval: LENGTH}
"""
TRAIN = """\
name: small
dataset: {name: boxes}
codecs: [{codec: h264, CODEC, references: 1}]
pairs: {keyframe_interval: LENGTH}
contestants: [{name: tiny, label: a, stages: {image: {steps: 1}}}]
"""


def _text(base: str, codec: str = "qp: 30", length: str = "4", extra: str = "") -> str:
    return base.replace("CODEC", codec).replace("LENGTH", length) + extra


def _load(tmp_path: Path, base: str, text: str | bytes) -> Any:
    path = tmp_path / "my.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return (load_experiment if base is RUN else load_training_experiment)(str(path))


@pytest.mark.parametrize("base", [RUN, TRAIN], ids=["run", "train"])
@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("x: 2024-02-30", 4, "a date; put it in quotes"),
        ("x: 2024-02-28T10:00:00Z", 4, "a date"),
        ("x: 0000-00-00", 4, "a date"),
        ("x: 0x_", 4, "hexadecimal"),
        ("x: 0b11", 4, "binary"),
        ("x: 010", 4, "octal"),
        ("x: 1_000", 4, "grouped digits"),
        ("x: 1:30", 4, "base 60"),
        ("x: 190:20:30.15", 4, "base 60"),
        ("x: " + "9" * 5000, 4, "5000 digits does not fit 64 bits"),
        ("x: !!int x", 4, "the tag !!int does not fit 'x'"),
        ("x: !!bool x", 4, "the tag !!bool"),
        ("x: !!float x", 4, "the tag !!float"),
        ("x: !!timestamp x", 4, "the tag !!timestamp"),
        ("x: !!binary aGk=", 4, "the tag !!binary"),
        ("x: !!set {a, b}", 4, "the tag !!set is not known"),
        ("x: !mine 3", 4, "the tag !mine"),
        (
            "x: !!python/object/apply:os.system ['touch executed']",
            4,
            "the tag !!python/object/apply:os.system",
        ),
        ("x: &a [1]\ny: *a", None, "aliases"),
        ("x: {a: 1, a: 2}", 11, "the key a appears twice"),
        ("seed: 1\nseed: 2", None, "the key seed appears twice"),
        ("? [a, b]\n: 1", 3, "cannot be a key"),
        ("x:\n\t- 1", None, "indented with spaces, not with tabs"),
        ("x: [1", None, "not valid YAML"),
        ("x: 'open", None, "not valid YAML"),
        ("x: \0", 4, "U+0000"),
        ("x: \x07", 4, "U+0007"),
        ('x: "\\0"', 4, "NUL"),
        ('x: "\\uD800"', 4, "surrogate"),
        ('x: "\\UFFFFFFFF"', None, "not valid YAML"),
        ("x: " + "[" * 20000, None, "more than 60 lists"),
        ("2024-13-01: x", 1, "2024-13-01: unknown key"),
        ("seed: true", 1, "seed: expected a number (got True)"),
        ("seed: yes", 1, "seed: Input should be a valid integer"),
        ("seed: 1.5", 1, "seed: Input should be a valid integer"),
        ("sed: 1", 1, "sed: unknown key; did you mean seed"),
        ("---\nx: 1", None, "expected a single document"),
    ],
)
def test_a_mistake_is_named_with_line_and_column(
    tmp_path: Path, base: str, line: str, column: int | None, message: str
) -> None:
    text = _text(base, extra=line + "\n")
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, base, text)
    start = f"{tmp_path / 'my.yaml'}:"
    assert str(caught.value).startswith(start), caught.value
    assert message in str(caught.value)
    found = str(caught.value).removeprefix(start).split(":")
    assert int(found[0]) > _text(base).count("\n")
    if column is not None:
        assert int(found[0]) == _text(base).count("\n") + 1
        assert int(found[1]) == column
    assert not Path("executed").exists()


@pytest.mark.parametrize("base", [RUN, TRAIN], ids=["run", "train"])
@pytest.mark.parametrize(
    ("codec", "length"),
    [
        ("crf: off", "4"), ("crf: false", "4"), ("qp: no", "4"), ("qp: true", "4"), ("qp: 30", "yes"), ("qp: 30", "true"),
        ("qp: 30, b_frames: off", "4"), ("qp: 30, b_frames: false", "4"), ("bitrate_kbps: true", "4"), ("qp: 30", "1:00"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_taken_for_none(tmp_path: Path, base: str, codec: str, length: str) -> None:
    with pytest.raises(ConfigError, match=r"my\.yaml:\d+:\d+: "):
        _load(tmp_path, base, _text(base, codec, length))


def test_truth_values_are_no_distances(tmp_path: Path) -> None:
    for entry in ("on", "true"):
        with pytest.raises(ConfigError, match=r"my\.yaml:4:\d+: protocol\.distances"):
            _load(tmp_path, RUN, _text(RUN, length=f"2, distances: [0, {entry}]"))
        with pytest.raises(ConfigError, match=r"validation\.distances"):
            _load(tmp_path, TRAIN, _text(TRAIN, extra=f"validation: {{distances: [0, {entry}]}}\n"))


def test_switches_take_the_words_of_a_switch(tmp_path: Path) -> None:
    for word, wanted in (
        ("off", False),
        ("no", False),
        ("false", False),
        ("on", True),
        ("yes", True),
        ("True", True),
    ):
        found = _load(tmp_path, RUN, _text(RUN, extra=f"measure: {{macs: {word}}}\n"))
        assert found.measure.macs is wanted


def test_scalars_mean_what_yaml_1_2_says() -> None:
    text = "{a: 0o17, b: 0x1F, c: 1e3, d: .5, e: -.inf, f: ~, g: '010', h: !!str 1:30, i: no, j: !!float 3, k: +7, l: a:b}"
    assert parse_yaml(text, "x", None) == {
        "a": 15, "b": 31, "c": 1000.0, "d": 0.5, "e": float("-inf"), "f": None, "g": "010", "h": "1:30", "i": "no",
        "j": 3.0, "k": 7, "l": "a:b",
    }  # fmt: skip


def test_files_are_text(tmp_path: Path) -> None:
    assert (
        _load(tmp_path, RUN, b"\xef\xbb\xbf" + _text(RUN).encode()).codecs[0].qp == 30
    )  # UTF-8 with its mark
    with pytest.raises(InputError, match="save it as UTF-8"):
        _load(tmp_path, RUN, _text(RUN).encode("utf-16"))
    with pytest.raises(InputError, match="is no file"):
        load_experiment(str(tmp_path) + "/folder.yaml") if (
            tmp_path / "folder.yaml"
        ).mkdir() is None else None
    with pytest.raises(VssbenchError):
        load_experiment("x" * 300)


def test_infinite_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"latency_seconds: Input should be a finite number"):
        _load(tmp_path, RUN, _text(RUN, extra="measure: {latency_seconds: .inf}\n"))


@pytest.mark.parametrize(
    "words",
    [
        ["run", "quickstart", "--set", "title=2024-02-30", "--dry-run"],
        ["train", "quickstart", "--set", "seed=2024-02-30", "--dry-run"],
        ["data", "list", "synthetic", "--set", "sequences=0x_"],
        ["data", "list", "synthetic", "--set", "sequences=true"],
        ["profile", "constant", "--set", "network=0x_"],
        ["profile", "constant", "--set", "width=true"],
        ["conformance", "constant", "--set", "width=0x_"],
    ],
)
def test_every_command_with_settings_refuses_with_exit_code_2(words: list[str]) -> None:
    error = CliRunner().invoke(app, words).exception
    assert isinstance(error, ConfigError), error
    assert error.exit_code == 2


_SCALARS = st.one_of(
    st.sampled_from(
        [
            "yes",
            "off",
            "true",
            "null",
            "~",
            "1:30",
            "010",
            "2024-02-30",
            "!!int x",
            "*a",
            "&a b",
            "- 1",
            "{",
            "[",
            "'",
        ]
    ),
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(str),
    st.text(max_size=12),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_spoiled_file_loads_or_is_one_error_that_names_it(tmp_path: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["run", "train"]))
    names = [n for n, p in packaged_experiments(kind).items() if p.stat().st_size < 4000]
    lines = (
        packaged_experiments(kind)[data.draw(st.sampled_from(names))].read_text(encoding="utf-8").splitlines()
    )
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(lines) - 1))
        line = lines[place]
        change = data.draw(st.sampled_from(["value", "drop", "double", "cut", "insert", "indent"]))
        at = data.draw(st.integers(0, max(len(line) - 1, 0)))
        scalar = data.draw(_SCALARS)
        lines[place : place + 1] = {
            "value": [line.partition(":")[0] + ": " + scalar],
            "drop": [],
            "double": [line, line],
            "cut": [line[:at]],
            "insert": [line[:at] + scalar + line[at:]],
            "indent": [" " * (at % 5) + line],
        }[change] or [""]
    path = tmp_path / "spoiled.yaml"
    path.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")
    said = ""
    try:
        loaded = (load_experiment if kind == "run" else load_training_experiment)(str(path))
        json.dumps(loaded.canonical(), allow_nan=False)
    except (ConfigError, InputError) as error:
        said = str(error)
    assert not said or str(path) in said
