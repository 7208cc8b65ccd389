"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"

settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.load_profile("fixed")  # the same examples everywhere; --hypothesis-profile=default draws new ones

LONGEST_FIRST = (
    "test_documentation.py",
    "test_quickstart.py",
    "faults/test_faults.py",
    "rendering/test_report.py",
    "runner/test_cluster.py",
    "cli/test_bad_input.py",
    "runner/test_run.py",
    "analysis/test_paper_costs.py",
    "faults/test_bad_input_table.py",
    "test_tutorial.py",
    "fuzz/hevc/test_fuzz_hevc.py",
    "rendering/test_browser.py",
    "baselines/test_tdnet.py",
)
"""Files of ten seconds and more: two workers that share out files end together only if the long ones do not come last."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files; the order inside a file, and of all others, stays."""
    place = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The research data beside the repository; skips where it is absent."""
    if not (SHARED / "data").is_dir():
        if "shared" in os.environ.get("VSSBENCH_REQUIRE", ""):
            pytest.fail("VSSBENCH_REQUIRE names shared, but ../shared/data is absent")
        pytest.skip("needs the research data in ../shared")
    return SHARED


@pytest.fixture(scope="session")
def cuda() -> str:
    """A CUDA device; skips where there is none."""
    import torch

    if not torch.cuda.is_available():
        if "cuda" in os.environ.get("VSSBENCH_REQUIRE", ""):
            pytest.fail("VSSBENCH_REQUIRE names cuda, but torch finds no CUDA device")
        pytest.skip("needs a CUDA device")
    return "cuda"
