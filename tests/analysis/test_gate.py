from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from vssbench.analysis.baseline import make_baseline, read_baseline, write_baseline
from vssbench.analysis.gate import Limits, compare, exit_code
from vssbench.analysis.run import load_run
from vssbench.errors import ConfigError, InputError
from vssbench.rendering.tables.markdown import section
from vssbench.rendering.tables.verdicts import headline, junit_xml, verdict_table
from vssbench.results.schema import CaseRecord, UnitKey, UnitRecord
from vssbench.results.store import RunFolder

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
    times = {
        "step_key": step_ms / 1000,
        "step_non_key": step_ms / 2000,
        "steps_key": 1,
        "steps_non_key": 1,
        "workers": 2,
    }
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
    write_baseline(tmp_path / "b.json", baseline)
    assert read_baseline(tmp_path / "b.json") == baseline
    assert exit_code(compare(run, read_baseline(tmp_path / "b.json"))) == 0


def test_an_edited_baseline_is_refused(tmp_path, baseline):
    write_baseline(tmp_path / "b.json", baseline)
    text = (tmp_path / "b.json").read_text()
    (tmp_path / "b.json").write_text(text.replace('"gop_mean_gmacs": 1.5', '"gop_mean_gmacs": 9.5'))
    with pytest.raises(InputError, match=r"does not match its digest.*baseline update"):
        read_baseline(tmp_path / "b.json")


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


def test_other_decoded_pixels_are_not_comparable_unless_allowed(write_run, tmp_path, baseline):
    run = write_run(tmp_path / "head", [unit(i, digest="e") for i in range(12)])
    rows = compare(run, baseline)
    assert [(r.metric, r.outcome) for r in rows] == [("bits", "incomparable")]
    assert exit_code(rows) == 2
    assert headline(rows).startswith("NOT COMPARABLE: other decoded pixels")
    rows = compare(run, baseline, allow=["bits"])
    assert rows[0].metric == "bits"  # said first
    assert exit_code(rows) == 0
    assert "miou" in {r.metric for r in rows}


def test_unlike_runs_are_told_with_the_key(write_run, tmp_path, baseline):
    values = baseline.model_dump(mode="json")
    values["facts"]["places"][0]["settings"]["bitrate_kbps"] = 500
    rows = compare(write_run(tmp_path / "head", [unit(i) for i in range(12)]), type(baseline)(**values))
    assert [r.outcome for r in rows] == ["incomparable"]
    assert rows[0].reason == "codecs.hevc.bitrate_kbps (500 there, 300 here)"
    assert "--allow" not in headline(rows)


@pytest.mark.parametrize("kind", ["frames", "labels"])
def test_other_data_is_not_comparable_unless_allowed(write_run, tmp_path, baseline, kind):
    values = baseline.model_dump(mode="json")
    record = values["facts"]["datasets"]["synthetic"]["record"]
    record["sequences"]["street"][f"{kind}_digest"] = "other"
    run, other = write_run(tmp_path / "head", [unit(i) for i in range(12)]), type(baseline)(**values)
    rows = compare(run, other)
    assert [(r.dataset, r.metric, r.outcome) for r in rows] == [("synthetic", kind, "incomparable")]
    assert f"other {kind}: street; --allow {kind} compares" in headline(rows)
    allowed = compare(run, other, allow=[kind])
    assert (allowed[0].metric, allowed[0].outcome) == (kind, "skipped")
    assert exit_code(allowed) == 0
    with pytest.raises(ConfigError, match=r"--allow 'lables': .*did you mean labels"):
        compare(run, other, allow=["lables"])


def test_other_distances_are_not_comparable(write_run, tmp_path, baseline):
    units = [replace(u, cases=u.cases[:1], counts=u.counts[:1]) for u in (unit(i) for i in range(12))]
    run = write_run(tmp_path / "head", units)
    assert [r.metric for r in compare(run, baseline)] == ["distances"]
    allowed = {r.metric: r.outcome for r in compare(run, baseline, allow=["distances"])}
    assert allowed["miou_d"] == "skipped"


def test_an_incomplete_run_is_refused(write_run, tmp_path, baseline):
    run = write_run(tmp_path / "head", [unit(i) for i in range(12)])
    run.folder.unit_path(unit(3).key).unlink()
    with pytest.raises(InputError, match="11 of 12 units"):
        compare(load_run(run.path), baseline)


def with_machine(baseline, processor: str):
    environment = baseline.environment.model_copy(update={"machine": {"processor": processor}})
    return baseline.model_copy(update={"environment": environment})


def test_latency_of_another_processor_is_skipped_and_paired_refuses_it(write_run, tmp_path, baseline):
    other = with_machine(baseline, "other processor")
    run = write_run(tmp_path / "head", [unit(i) for i in range(12)])
    assert {r.outcome for r in compare(run, other) if r.metric.endswith("_ms")} == {"skipped"}
    rows = compare(run, other, paired=True)  # one job on one machine cannot have two processors
    assert [(r.metric, r.outcome) for r in rows] == [("processor", "incomparable")]


def test_latency_with_other_workers_is_skipped_and_said(write_run, tmp_path, baseline):
    units = [replace(u, timings={**u.timings, "workers": 3}) for u in (unit(i) for i in range(12))]
    rows = compare(write_run(tmp_path / "head", units), baseline)
    told = [r for r in rows if r.metric.endswith("_ms")]
    assert {r.outcome for r in told} == {"skipped"}
    assert "measured with 2 worker processes, here 3" in told[0].reason


def test_a_tolerance_is_a_number_of_pixels(write_run, tmp_path, baseline):
    units = [unit(i, wrong_pixels=11 if i == 5 else 10) for i in range(12)]  # one pixel more, all else equal
    run = write_run(tmp_path / "head", units)
    strict = next(r for r in compare(run, baseline) if r.metric == "miou")
    assert strict.outcome == "regression"
    assert "at least 1 of 2401 pixels are classified otherwise, 0 may be" in strict.reason
    assert strict.reason.startswith("lower by 0.000537, limit 1e-09")
    assert exit_code(compare(run, baseline, Limits(pixels=1))) == 0
    # another kind of CPU rounds otherwise: a hundred-thousandth of 2401 pixels is one
    assert exit_code(compare(run, with_machine(baseline, "other"))) == 0


def test_a_class_has_its_own_limit(write_run, tmp_path, baseline):
    units = [unit(i, wrong_pixels=20) for i in range(12)]
    run = write_run(tmp_path / "head", units)
    loose = {"miou": 1.0, "miou_0": 1.0}
    # class a at d = 0: 50 / 65 before, 50 / 75 now, and the same at d = 1; the mean falls by half of the difference
    drop = (50 / 65 - 50 / 75) / 2
    for limit, outcome in ((drop + 1e-6, "pass"), (drop - 1e-6, "regression")):
        rows = compare(run, baseline, Limits(metrics={**loose, "iou.a": limit}))
        found = {r.metric: r.outcome for r in rows if r.outcome != "skipped"}
        assert found["iou.a"] in (outcome, "improved" if outcome == "pass" else outcome)
        assert "iou.b" not in found
    with pytest.raises(ConfigError, match=r"'iou\.car'.*known: iou\.a, iou\.b"):
        compare(run, baseline, Limits(metrics={"iou.car": 0.1}))


def _latency_regressions(write_run, tmp_path, factor: float, repetitions: int) -> int:
    """How many of `repetitions` noisy measurements of a change by `factor` are called regressions of the key step."""
    base_run = write_run(tmp_path / "base", [unit(i) for i in range(24)])
    generator = np.random.default_rng(7)
    found = 0
    for _ in range(repetitions):
        load = generator.normal(1.0, 0.05, 24)  # both runs of one job see the same load
        old = make_baseline(base_run)
        times = {"key": tuple(10 * load * generator.normal(1, 0.04, 24))}
        old = old.model_copy(update={"rows": (old.rows[0].model_copy(update={"step_ms": times}),)})
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


def test_other_class_tables_are_told_with_the_key(write_run, tmp_path, baseline):
    values = baseline.model_dump(mode="json")
    values["facts"]["datasets"]["synthetic"]["record"]["class_names"] = ["a", "bus"]
    rows = compare(write_run(tmp_path / "head", [unit(i) for i in range(12)]), type(baseline)(**values))
    assert [r.outcome for r in rows] == ["incomparable"]
    assert rows[0].reason == "other class table: class table.class_names.1 ('bus' there, 'b' here)"


def test_a_baseline_of_another_schema_is_refused(tmp_path, baseline):
    RunFolder(tmp_path).write_record("b.json", baseline.model_copy(update={"schema_version": 3}))
    with pytest.raises(InputError, match=r"schema_version: Input should be 4.*baseline update"):
        read_baseline(tmp_path / "b.json")


def test_a_single_metric_has_its_own_limit(write_run, tmp_path, baseline):
    units = [unit(i, wrong_pixels=11 if i == 5 else 10) for i in range(12)]
    run = write_run(tmp_path / "head", units)
    loose = Limits(metrics={"miou_0": 0.01})
    assert [r.metric for r in compare(run, baseline, loose) if r.outcome == "regression"] == ["miou"]
    assert not exit_code(compare(run, baseline, Limits(metrics={"miou_0": 0.01, "miou": 0.01})))
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
    assert not exit_code(compare(run, baseline, Limits(macs_rise=0.1)))
