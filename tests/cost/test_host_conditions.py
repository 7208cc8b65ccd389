"""What else a machine did while something was timed: read from files as Linux writes them, and from the machine at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vssbench.cost.host_conditions import HostWatch, busy_seconds, clock_mhz
from vssbench.cost.latency import LatencyResult, compare_latency
from vssbench.records import HostConditions


def write_proc(proc: Path, columns: str, clocks: tuple[float, ...] = ()) -> None:
    (proc / "stat").write_text(f"cpu  {columns}\ncpu0 1 2 3\nintr 7\n")
    (proc / "cpuinfo").write_text("".join(f"processor\t: 0\ncpu MHz\t\t: {mhz}\n\n" for mhz in clocks))


def test_idle_and_waiting_processors_are_not_busy(tmp_path: Path) -> None:
    # user nice system idle iowait irq softirq steal guest guest_nice; guest time is among user time
    write_proc(tmp_path, "1000 200 300 99999 88888 10 20 70 555 0", (2400.0, 2600.0))
    assert busy_seconds(tmp_path) == pytest.approx(
        (1000 + 200 + 300 + 10 + 20 + 70) / os.sysconf("SC_CLK_TCK")
    )
    assert clock_mhz(tmp_path) == 2500.0


def test_time_of_others_is_that_of_all_less_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    wall, own = iter((100.0, 110.0)), iter((5.0, 14.0))
    monkeypatch.setattr("vssbench.cost.host_conditions.time.monotonic", lambda: next(wall))
    monkeypatch.setattr("vssbench.cost.host_conditions.time.process_time", lambda: next(own))
    monkeypatch.setattr("vssbench.cost.host_conditions.os.cpu_count", lambda: 2)
    write_proc(tmp_path, f"{1000 * ticks} 0 0 5 5 0 0 0 0 0", (2500.0,))
    watch = HostWatch(tmp_path)
    write_proc(tmp_path, f"{1015 * ticks} 0 0 5 5 0 0 0 0 0", (2300.0,))
    found = watch.finish()
    assert found.others_share == pytest.approx((15 - 9) / (10 * 2))
    assert (found.processors, found.clock_mhz) == (2, (2500.0, 2300.0))
    assert found.busy == "other processes took 30 % of the processors"


def test_a_machine_that_does_not_tell_is_not_called_idle_or_busy(tmp_path: Path) -> None:
    found = HostWatch(tmp_path).finish()
    assert (found.others_share, found.clock_mhz, found.busy) == (None, None, "")


def test_a_result_says_that_the_machine_was_busy() -> None:
    samples = (2.0,) * 20
    assert "other processes" not in str(
        LatencyResult("cpu", 3.0, samples, host=HostConditions(2, 0.1, 1.0, None))
    )
    busy = LatencyResult("cpu", 3.0, samples, host=HostConditions(2, 0.25, 1.0, None))
    assert str(busy).endswith("on cpu; other processes took 25 % of the processors")


def test_what_is_timed_is_watched() -> None:
    host = compare_latency({"it": lambda: None}, repeats=1, warmup=0, min_seconds=0).results["it"].host
    assert host is not None
    assert host.processors == os.cpu_count()
    assert host.others_share is None or 0 <= host.others_share <= 1
