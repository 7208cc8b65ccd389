"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


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
