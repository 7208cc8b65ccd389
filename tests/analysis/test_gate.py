from __future__ import annotations

import copy
import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from vssbench.analysis.gate import Limits, compare, make_baseline, regressed
from vssbench.analysis.run import load_run
from vssbench.errors import ConfigError, InputError
from vssbench.rendering.tables.markdown import section
from vssbench.rendering.tables.verdicts import headline, junit_xml, verdict_table
from vssbench.results.schema import CaseRecord, UnitKey, UnitRecord

EXPERIMENT = {
    "datasets": [{"name": "synthetic", "frames": 24}],
    "codecs": [{"label": "hevc", "codec": "hevc", "bitrate_kbps": 300}],
    "protocol": {"kind": "stream", "keyframe_interval": 2},
    "methods": [{"name": "constant", "label": "m"}],
}


def unit(number: int, step_ms: float = 10.0, wrong_pixels: int = 10, digest: str = "d") -> UnitRecord:
    counts = np.array([[[50, wrong_pixels], [5, 35]], [[40, 20], [10, 30]]], dtype=np.int64)
    cases = tuple(
        CaseRecord(2 * number + d, d, "IP"[d], 2 * number, 2, 100, ("key", "non_key")[d]) for d in range(2)
    )
    key = UnitKey("synthetic", "hevc", "m", "street", f"phase-00-gop-{number:06d}")
    times = {"step_key": step_ms / 1000, "step_non_key": step_ms / 2000, "steps_key": 1, "steps_non_key": 1}
    return UnitRecord(key, cases, counts, {"key": 1, "non_key": 1}, 1.0, 300.0, f"{digest}{number}", times)


@pytest.fixture(scope="session")
def write_run(fabricated):
    def write(path, units, macs: float = 1.5):
        return fabricated(path, EXPERIMENT, units, gmacs={"m": macs})

    return write


@pytest.fixture
def baseline(write_run, tmp_path):
    return make_baseline(write_run(tmp_path / "base", [unit(i) for i in range(12)]))


def test_miou_is_the_mean_over_distances_of_the_summed_counts(write_run, tmp_path):
    run = write_run(tmp_path / "run", [unit(i) for i in range(3)])
    d0 = (50 / 65 + 35 / 50) / 2
    d1 = (40 / 70 + 30 / 60) / 2
    assert run.groups[0].miou_d == pytest.approx([d0, d1])
    assert run.summary["miou"][0] == pytest.approx((d0 + d1) / 2)


def test_an_equal_run_passes(write_run, tmp_path, baseline):
    rows = compare(write_run(tmp_path / "head", [unit(i) for i in range(12)]), baseline)
    assert {row.outcome for row in rows} == {"pass"}
    assert headline(rows).startswith("OK: 0 regressed")


def test_a_baseline_survives_json(write_run, tmp_path, baseline):
    run = write_run(tmp_path / "head", [unit(i) for i in range(12)])
    assert not regressed(compare(run, json.loads(json.dumps(baseline))))


def test_one_pixel_worse_in_one_unit_is_a_regression(write_run, tmp_path, baseline):
    units = [unit(i, wrong_pixels=11 if i == 5 else 10) for i in range(12)]
    bad = [
        row.metric
        for row in compare(write_run(tmp_path / "head", units), baseline)
        if row.outcome == "regression"
    ]
    assert bad == ["miou", "miou_0"]


def test_more_macs_are_a_regression_and_fewer_an_improvement(write_run, tmp_path, baseline):
    more = compare(write_run(tmp_path / "more", [unit(i) for i in range(12)], macs=1.6), baseline)
    fewer = compare(write_run(tmp_path / "fewer", [unit(i) for i in range(12)], macs=1.4), baseline)
    assert [r.outcome for r in more if r.metric == "gop_mean_gmacs"] == ["regression"]
    assert [r.outcome for r in fewer if r.metric == "gop_mean_gmacs"] == ["improved"]


def test_other_decoded_pixels_are_a_regression(write_run, tmp_path, baseline):
    rows = compare(write_run(tmp_path / "head", [unit(i, digest="e") for i in range(12)]), baseline)
    assert [r.metric for r in rows if r.outcome == "regression"] == ["decoded_digest"]


def test_unlike_runs_are_refused_with_the_key(write_run, tmp_path, baseline):
    other = copy.deepcopy(baseline)
    other["must_match"]["codecs"][0]["settings"]["bitrate_kbps"] = 500
    with pytest.raises(ConfigError, match=r"codecs\.0\.settings\.bitrate_kbps \(500 there, 300 here\)"):
        compare(write_run(tmp_path / "head", [unit(i) for i in range(12)]), other)


def test_an_incomplete_run_is_refused(write_run, tmp_path, baseline):
    run = write_run(tmp_path / "head", [unit(i) for i in range(12)])
    run.folder.unit_path(unit(3).key).unlink()
    with pytest.raises(InputError, match="11 of 12 units"):
        compare(load_run(run.path), baseline)


def test_latency_of_another_processor_is_skipped_and_paired_refuses_it(write_run, tmp_path, baseline):
    other = copy.deepcopy(baseline)
    other["environment"]["machine"]["processor"] = "other processor"
    run = write_run(tmp_path / "head", [unit(i) for i in range(12)])
    assert {r.outcome for r in compare(run, other) if r.metric.endswith("_ms")} == {"skipped"}
    with pytest.raises(ConfigError, match=r"machine\.processor \('other processor' there"):
        compare(run, other, paired=True)  # one job on one machine cannot have two processors


def _latency_regressions(write_run, tmp_path, factor: float, repetitions: int) -> int:
    """How many of `repetitions` noisy measurements of a change by `factor` are called regressions of the key step."""
    base_run = write_run(tmp_path / "base", [unit(i) for i in range(24)])
    generator = np.random.default_rng(7)
    found = 0
    for _ in range(repetitions):
        load = generator.normal(1.0, 0.05, 24)  # both runs of one job see the same load
        old = make_baseline(base_run)
        old["rows"][0]["step_ms"] = {"key": list(10 * load * generator.normal(1, 0.04, 24))}
        group = replace_step_ms(base_run, list(10 * factor * load * generator.normal(1, 0.04, 24)))
        found += any(
            r.metric == "key_ms" and r.outcome == "regression" for r in compare(group, old, paired=True)
        )
    return found


def replace_step_ms(run, values):
    changed = load_run(run.path)
    changed.groups = [replace(run.groups[0], unit_step_ms={"key": values})]
    return changed


def test_a_real_slowdown_fails_and_noise_alone_passes(write_run, tmp_path):
    """200 repetitions each, 5 % common load and 4 % own noise: a 25 % slowdown is found, noise alone is not."""
    assert _latency_regressions(write_run, tmp_path, 1.25, 200) >= 196
    assert _latency_regressions(write_run, tmp_path, 1.0, 200) == 0


def test_reports_escape_what_comes_from_data(write_run, tmp_path, baseline):
    rows = compare(write_run(tmp_path / "head", [unit(i) for i in range(12)], macs=2.0), baseline)
    rows = [replace(row, method="<script>|x") for row in rows]
    assert "<script>" not in section(verdict_table(rows))
    suite = ElementTree.fromstring(junit_xml(rows))
    assert suite.get("failures") == "1"
    assert int(suite.get("tests", "0")) == len(rows)


def test_other_class_tables_are_refused_with_the_key(write_run, tmp_path, baseline):
    other = copy.deepcopy(baseline)
    other["must_match"]["classes"]["synthetic"]["class_names"][1] = "bus"
    with pytest.raises(ConfigError, match=r"classes\.synthetic\.class_names\.1 \('bus' there, 'b' here\)"):
        compare(write_run(tmp_path / "head", [unit(i) for i in range(12)]), other)


def test_a_baseline_of_another_schema_is_refused(write_run, tmp_path, baseline):
    with pytest.raises(InputError, match="baseline update"):
        compare(write_run(tmp_path / "head", [unit(0)]), {**baseline, "schema": 1})


def test_a_single_metric_has_its_own_limit(write_run, tmp_path, baseline):
    units = [unit(i, wrong_pixels=11 if i == 5 else 10) for i in range(12)]
    run = write_run(tmp_path / "head", units)
    loose = Limits(metrics={"miou_0": 0.01})
    assert [r.metric for r in compare(run, baseline, loose) if r.outcome == "regression"] == ["miou"]
    assert not regressed(compare(run, baseline, Limits(metrics={"miou_0": 0.01, "miou": 0.01})))
    with pytest.raises(ConfigError, match="'moiu'; did you mean miou"):
        compare(run, baseline, Limits(metrics={"moiu": 0.01}))


def with_boundary(record: UnitRecord, common: int) -> UnitRecord:
    counts = np.array([[[common, 10], [20, 20]]] * 2, dtype=np.int64)
    return replace(record, measured={"boundary": counts})


def test_a_further_metric_that_fell_is_a_regression(write_run, tmp_path):
    base = make_baseline(write_run(tmp_path / "base", [with_boundary(unit(i), 10) for i in range(4)]))
    rows = compare(write_run(tmp_path / "head", [with_boundary(unit(i), 9) for i in range(4)]), base)
    bad = {row.metric: row for row in rows if row.outcome == "regression"}
    assert list(bad) == ["boundary IoU (2 % of the diagonal)"]
    # per class intersection / union: (10 / 20, 10 / 20), then (9 / 20, 10 / 20)
    assert bad["boundary IoU (2 % of the diagonal)"].baseline == pytest.approx(1 / 2)
    assert bad["boundary IoU (2 % of the diagonal)"].value == pytest.approx((9 / 20 + 1 / 2) / 2)


def test_limits_can_be_loosened_on_purpose(write_run, tmp_path, baseline):
    run = write_run(tmp_path / "head", [unit(i) for i in range(12)], macs=1.6)
    assert not regressed(compare(run, baseline, Limits(macs_rise=0.1)))
