from __future__ import annotations

import numpy as np
import pytest

from vssbench.codec import CodecSettings, encode
from vssbench.codec.source import read_qp


def frames(count: int = 4) -> list[np.ndarray]:
    texture = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    return [np.roll(texture, 2 * i, axis=1) for i in range(count)]


@pytest.mark.parametrize(("codec", "references"), [("hevc", 3), ("h264", 1)])
def test_a_constant_qp_is_read_back(codec: str, references: int) -> None:
    made = encode(frames(), CodecSettings(codec=codec, qp=30, references=references), 15.0)
    found = read_qp(made)
    assert len(found) == 4
    assert found[1:] == pytest.approx([30.0] * 3, abs=0.51)
    assert found[0] is not None
    assert 26 <= found[0] <= 30  # intra pictures are coded finer


def test_a_smaller_bitrate_means_a_larger_qp() -> None:
    def mean(kbps: int) -> float:
        made = encode(frames(8), CodecSettings(codec="hevc", bitrate_kbps=kbps), 15.0)
        return float(np.mean([value for value in read_qp(made) if value is not None]))

    assert mean(100) > mean(800) + 3


def test_mpeg4_tells_its_quantiser() -> None:
    made = encode(frames(), CodecSettings(codec="mpeg4", bitrate_kbps=500, references=1), 15.0)
    found = read_qp(made)
    assert len(found) == 4
    assert all(value is not None and 1 <= value <= 31 for value in found)
