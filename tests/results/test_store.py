from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from vssbench.errors import ConfigError, InputError
from vssbench.records import CodedQuality
from vssbench.results.roster import Roster
from vssbench.results.schema import CaseRecord, UnitKey, UnitRecord, from_json, to_json
from vssbench.results.store import RunFolder, require_distinct_slugs, slug, unit_name


@pytest.fixture
def record() -> UnitRecord:
    counts = np.arange(18, dtype=np.int64).reshape(2, 3, 3) * 10**12
    cases = tuple(CaseRecord(7 + d, d, "IP"[d], 7, 12, 900, "key" if d == 0 else "non_key") for d in range(2))
    key = UnitKey("synthetic", "hevc 700k", "AR 0.5", "street-00", "phase-00-gop-000000")
    return UnitRecord(
        key,
        cases,
        counts,
        {"key": 1, "non_key": 1},
        1.0,
        712.5,
        "ab" * 32,
        {"step_key": 0.25, "steps_key": 1},
        quality=CodedQuality(12345, 10**6, 0.9876543210123, 12),
    )


def test_a_record_survives_the_file_unchanged(record):
    again = from_json(to_json(record), "x")
    assert again.key == record.key
    assert again.cases == record.cases
    np.testing.assert_array_equal(again.counts, record.counts)
    assert again.quality == record.quality
    assert to_json(again) == to_json(record)


def test_timings_have_a_digest_of_their_own(record):
    slower = replace(record, timings={"step_key": 99.0, "steps_key": 3})
    values, others = json.loads(to_json(record)), json.loads(to_json(slower))
    assert values["digest"] == others["digest"]
    values["timings"] = others["timings"]
    with pytest.raises(InputError, match="does not match its digest"):
        from_json(json.dumps(values), "x")


@pytest.mark.parametrize(
    ("timings", "words"),
    [
        ({"step_key": 99.0}, "step_key"),
        ({"step_key": "99", "steps_key": 1}, "step_key"),
        ({"step_key": 1.0, "steps_key": None}, "steps_key"),
        ({"step_key": float("nan"), "steps_key": 1}, "nan"),
        ({"step_key": -1.0, "steps_key": 1}, "-1.0"),
        ([1.0], "list"),
    ],
)
def test_damaged_timings_are_refused_with_the_file(record, timings, words):
    values = json.loads(to_json(record))
    values["timings"] = timings
    with pytest.raises(InputError, match=f"^there.json: .*{words}"):
        from_json(json.dumps(values), "there.json")


@pytest.mark.parametrize("field", ["achieved_kbps", "decoded_digest", "executed_share"])
def test_an_edited_record_is_refused(record, field):
    values = json.loads(to_json(record))
    values[field] = 1 if field != "decoded_digest" else "cd" * 32
    values["achieved_kbps"] += 1
    with pytest.raises(InputError, match="digest"):
        from_json(json.dumps(values), "unit.json")


def test_a_half_written_record_is_set_aside_and_counts_as_missing(tmp_path, record):
    folder = RunFolder(tmp_path)
    folder.write_unit(record)
    assert folder.has_unit(record.key, record.belongs)
    path = folder.unit_path(record.key)
    path.write_text(path.read_text()[:100])
    assert not folder.has_unit(record.key, record.belongs)
    assert not path.exists()
    assert len(folder.set_aside_damaged()) == 1


def test_slugs_are_file_names_and_stay_different():
    titles = ["AR 0.5", "AR/0.5", "AR_0.5", "../../etc", "", "ä", "hevc-700k"]
    slugs = [slug(title) for title in titles]
    assert len(set(slugs)) == len(titles)
    assert all("/" not in s and s not in (".", "..") and s for s in slugs)
    assert slug("hevc-700k") == "hevc-700k"


def test_slugs_take_long_titles_and_broken_unicode():
    for title in ("x" * 300, "\ud800", "a\udcffb", "é" * 200):
        assert len(slug(title)) <= 200
        assert re.fullmatch(r"[A-Za-z0-9._+-]+", slug(title))
    assert slug("x" * 300) != slug("x" * 299)
    assert slug("x" * 200) == "x" * 200


def test_titles_that_would_share_record_files_are_refused():
    require_distinct_slugs("methods", ["AR 0.5", "AR_0.5", "AR 0.5", "a", "b"])
    for pair in (("AR 0.5", slug("AR 0.5")), ("Drive", "drive")):
        with pytest.raises(ConfigError, match=r"would share the record files .*; give one another label"):
            require_distinct_slugs("methods", pair)


@pytest.mark.parametrize("length", range(1, 9))
def test_zeros_are_no_record_whatever_their_number(length: int) -> None:
    with pytest.raises(InputError, match="JSONDecodeError"):  # json takes four zeros for UTF-32
        from_json(b"\0" * length, "unit.json")


def test_a_record_of_another_run_is_set_aside_and_counts_as_missing(tmp_path, record):
    folder = RunFolder(tmp_path)
    folder.write_unit(replace(record, belongs="there"))
    assert not folder.has_unit(record.key, "here")
    folder.write_unit(replace(record, belongs="there"))
    found, (told,) = folder.intact_units({unit_name(record.key): ("here",)})
    assert not found
    assert "belongs to another run" in told
    assert len(folder.set_aside_damaged()) == 2


def test_what_belongs_is_read_once(tmp_path, record, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.write_unit(replace(record, belongs="here"))
    planned = {unit_name(record.key): ("here",)}
    assert folder.intact_units(planned) == (set(planned), [])
    monkeypatch.setattr(RunFolder, "read_unit", None)
    assert folder.intact_units(planned) == (set(planned), [])


def test_a_record_in_the_place_of_another_is_refused(tmp_path, record):
    folder, other = RunFolder(tmp_path), replace(record, key=replace(record.key, method="other"))
    folder.write_unit(other)
    folder.unit_path(record.key).parent.mkdir(parents=True)
    folder.unit_path(other.key).rename(folder.unit_path(record.key))
    with pytest.raises(InputError, match="belongs in another place"):
        list(folder.units(lambda key: (other.belongs,)))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000, "{\"a\":" * 200_000, "null", "[]", '"a"', "1" * 5000, '{"schema": 1}', "\0", "NaN",
        '{"schema": ' + "9" * 5000 + "}",
    ],
)  # fmt: skip
def test_json_of_any_shape_is_one_error(tmp_path, text):
    with pytest.raises(InputError, match=r"^unit\.json: "):
        from_json(text, "unit.json")
    (tmp_path / "roster.json").write_text(text)
    with pytest.raises(InputError, match=r"roster\.json: .*makes it again"):
        RunFolder(tmp_path).read_record("roster.json", Roster)


@pytest.mark.parametrize("shape", [[2, 10**5, 10**5], [10**30], [-1, -3], ["2"], [2.5], None])
def test_counts_of_impossible_shapes_are_one_error(record, shape):
    values = json.loads(to_json(record))
    values["counts"]["shape"] = shape
    with pytest.raises(InputError, match=r"^unit\.json: not a readable unit record"):
        from_json(json.dumps(values), "unit.json")
