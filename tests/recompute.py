"""The numbers of a run folder once more, from its files alone: no code of vssbench, plain loops.

    python tests/recompute.py RUN            prints mIoU with its interval for every dataset, codec and method

`test_recompute.py` holds these numbers against `Run.summary`.
"""

from __future__ import annotations

import base64
import json
import sys
import zlib
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy import stats

Place = tuple[str, str, str]


def counts_of(packed: dict) -> np.ndarray:
    """[cases, C, C] pixels by truth and prediction, as a unit file holds them."""
    raw = zlib.decompress(base64.b64decode(packed["zlib_int64"]))
    return np.frombuffer(raw, dtype="<i8").reshape(packed["shape"])


def read(run: Path) -> dict[Place, dict[str, dict[int, np.ndarray]]]:
    """(dataset, codec, method) -> sequence -> distance -> summed counts."""
    found: dict = defaultdict(lambda: defaultdict(dict))
    for path in sorted((run / "units").rglob("*.json")):
        unit = json.loads(path.read_text())
        key = unit["key"]
        held = found[key["dataset"], key["codec"], key["method"]][key["sequence"]]
        for case, counts in zip(unit["cases"], counts_of(unit["counts"]), strict=True):
            d = case["distance"]
            held[d] = held[d] + counts if d in held else counts
    return found


def miou(sequences: list[dict[int, np.ndarray]]) -> float:
    """Mean over distances of the mean over classes of hits / (truth + predicted - hits)."""
    by_distance = []
    for d in sorted({d for one in sequences for d in one}):
        total = sum(one[d] for one in sequences if d in one)
        ious = []
        for c in range(len(total)):
            hits = int(total[c, c])
            union = int(total[c].sum()) + int(total[:, c].sum()) - hits
            if union:
                ious.append(hits / union)
        by_distance.append(sum(ious) / len(ious))
    return sum(by_distance) / len(by_distance)


def interval(sequences: list[dict[int, np.ndarray]]) -> tuple[float, float]:
    """The jackknife of docs/metrics.md; NaN with fewer than four sequences."""
    n, whole = len(sequences), miou(sequences)
    if n < 4:
        return float("nan"), float("nan")
    without = [miou(sequences[:i] + sequences[i + 1 :]) for i in range(n)]
    mean = sum(without) / n
    bias = (n - 1) * (mean - whole)
    error = ((n - 1) / n * sum((w - mean) ** 2 for w in without) + bias**2) ** 0.5
    share = _shares(sequences)
    degrees = sum(share) ** 2 / sum(s * s for s in share) - 1
    half = stats.t.ppf(0.975, degrees) * error
    return min(whole - bias - half, whole), max(whole - bias + half, whole)


def _shares(sequences: list[dict[int, np.ndarray]]) -> list[float]:
    """Share of each sequence in the unions, mean over distances and classes."""
    distances = sorted({d for one in sequences for d in one})
    shape = next(iter(sequences[0].values())).shape
    unions = np.zeros((len(sequences), len(distances), shape[0]))
    for i, one in enumerate(sequences):
        for j, d in enumerate(distances):
            if d in one:
                unions[i, j] = one[d].sum(0) + one[d].sum(1) - np.diag(one[d])
    total = unions.sum(0)
    return [float(np.mean(u / np.where(total > 0, total, 1))) for u in unions]


def recompute(run: Path) -> dict[Place, tuple[float, float, float]]:
    """(dataset, codec, method) -> mIoU in 0..1 and the ends of its interval."""
    return {
        place: (miou(list(held.values())), *interval(list(held.values())))
        for place, held in read(run).items()
    }


if __name__ == "__main__":
    for place, (value, low, high) in recompute(Path(sys.argv[1])).items():
        print(*place, f"{100 * value:.2f} [{100 * low:.2f}, {100 * high:.2f}]", sep="  ")
