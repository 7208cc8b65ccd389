"""The recipes of docs/motion.md run as they stand there."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import av
import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "motion.md"
RECIPES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


@pytest.fixture
def clip(pan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """clip.mp4 as any encoder writes it: H.264 with B pictures and several references."""
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"crf": "28"})
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        for image in pan((96, 128), 12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    monkeypatch.chdir(tmp_path)


def test_there_are_recipes() -> None:
    assert len(RECIPES) == 6


@pytest.mark.parametrize("number", range(len(RECIPES)))
@pytest.mark.usefixtures("clip")
def test_recipe_runs(number: int) -> None:
    exec(compile(RECIPES[number], f"docs/motion.md, recipe {number}", "exec"), {})
