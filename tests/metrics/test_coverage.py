"""Do 95 % intervals hold the truth 95 times in 100? Test sets drawn from counts of a run in this repository.

A drawn sequence walks through groups of pictures of the run's sequences as a Markov chain: it goes on where it is, or
jumps anywhere, so neighbours resemble each other and the truth is known: all groups of pictures together.
`python tests/metrics/test_coverage.py` prints the table of docs/metrics.md (several minutes).
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vssbench import load_run
from vssbench.metrics.confusion import mean_of_present
from vssbench.metrics.intervals import (
    Interval,
    MeasuredCurve,
    MeasuredPoint,
    bd_with_interval,
    mean_interval,
    miou_difference,
    miou_intervals,
)
from vssbench.metrics.unit_counts import Margins, UnitMargins

RECORDS = Path(__file__).parents[2] / "reports/results/table2_synthetic/methods/records.tar.xz"
METHODS = ("0.5x", "BiSe18 1.0x", "AR 0.5", "TD2-BiSe18")
"""Two curves of two points: constant resolution, then two video methods."""
COSTS = (1.0, 4.0, 1.2, 4.0)
INTERVAL, GROUPS = 12, 3
"""Pictures per group and groups per sequence in the run."""
LOST = 0.03
"""Share of right pixels that a training loses on average; half of that is its deviation by class."""


def pool_of(folder: Path) -> np.ndarray:
    """[methods, groups of pictures, d, 2, C]: true positives and unions."""
    with tarfile.open(RECORDS) as packed:
        packed.extractall(folder, filter="data")
    run = load_run(next(folder.rglob("roster.json")).parent)
    found = {group.method: group.unit_counts() for group in run.groups}
    pools = []
    for method in METHODS:
        units = found[method]
        sums = np.zeros((len(units.frames) // INTERVAL, INTERVAL, 2, units.shape[1]))
        for d, (rows, values) in enumerate(zip(units.margins.rows, units.margins.values, strict=True)):
            np.add.at(sums[:, d], rows // INTERVAL, values.reshape(len(rows), 2, -1))
        pools.append(sums)
    return np.stack(pools)


def with_rare_classes(pool: np.ndarray, keep: tuple[int, int] = (6, 4)) -> np.ndarray:
    """Two classes only in so many groups of pictures of 24."""
    pool = pool.copy()
    for c, number in zip((9, 10), keep, strict=True):
        pool[:, np.argsort(pool[0, :, :, 1, c].sum(1))[:-number], :, :, c] = 0
    return pool


def drawn(
    rng: np.random.Generator, pool: np.ndarray, sequences: int, every_distance: bool, jump: float
) -> np.ndarray:
    """[methods, sequences, d, 2, C] sums of sequences as long as the run's."""
    sums = np.zeros((len(pool), sequences, *pool.shape[2:]))
    at = rng.integers(0, pool.shape[1], sequences)
    for step in range(GROUPS if every_distance else GROUPS * INTERVAL):
        d = slice(None) if every_distance else step % INTERVAL
        sums[:, :, d] += pool[:, at, d]
        if every_distance or d == INTERVAL - 1:
            at = at // GROUPS * GROUPS + (at % GROUPS + 1) % GROUPS
        leaps = rng.random(sequences) < jump
        at = np.where(leaps, rng.integers(0, pool.shape[1], sequences), at)
    return sums


def units_of(sums: np.ndarray, name: str) -> UnitMargins:
    """[sequences, d, 2, C] as the counts of one method, a frame per sequence."""
    held = [np.flatnonzero(sums[:, d, 1].any(1)) for d in range(sums.shape[1])]
    values = tuple(sums[rows, d].reshape(len(rows), -1) for d, rows in enumerate(held))
    names = tuple(f"s{i:02d}" for i in range(len(sums)))
    return UnitMargins(
        name, Margins(tuple(held), values), (sums.shape[1], sums.shape[3]), names, (0,) * len(sums)
    )


def curves_of(sums: np.ndarray) -> list[MeasuredCurve]:
    points = [
        MeasuredPoint(units_of(one, name), c) for one, name, c in zip(sums, METHODS, COSTS, strict=True)
    ]
    return [MeasuredCurve("constant", tuple(points[:2])), MeasuredCurve("video", tuple(points[2:]))]


def trained(rng: np.random.Generator, sums: np.ndarray, name: str) -> UnitMargins:
    """The method trained once more: each class loses another share of its right pixels."""
    sums = sums.copy()
    sums[:, :, 0] *= 1 - LOST * (1 + 0.5 * rng.standard_normal(sums.shape[3]))
    return units_of(sums, name)


def miou_of(sums: np.ndarray) -> np.ndarray:
    """[..., d, 2, C] -> [..., d]"""
    with np.errstate(invalid="ignore"):
        return np.asarray(mean_of_present(sums[..., 0, :] / sums[..., 1, :]))


def trial(
    rng: np.random.Generator, pool: np.ndarray, truth: dict[str, np.ndarray], sums: np.ndarray, bd: bool
) -> Iterator[tuple[str, Interval | tuple[float, float] | None, float]]:
    """(figure, interval, truth) of one drawn test set."""
    one = miou_intervals(units_of(sums[1], "a"))
    yield "mIoU", one.miou, float(truth["miou_d"][1].mean())
    yield from (("mIoU_d", i, float(t)) for i, t in zip(one.miou_d, truth["miou_d"][1], strict=True))
    yield from (("class", i, float(t)) for i, t in zip(one.per_class, truth["class"], strict=True))
    gap = truth["miou_d"][2].mean() - truth["miou_d"][0].mean()
    yield "difference", miou_difference(units_of(sums[0], "a"), units_of(sums[2], "b")).miou, float(gap)
    seeds = [trained(rng, sums[1], f"seed {n}") for n in range(3)]
    yield "3 seeds", mean_interval(seeds), float(truth["trained"])
    if bd:
        yield "BD-mIoU", bd_with_interval(*curves_of(sums), "miou").interval, float(truth["bd"])


def coverage(
    pool: np.ndarray, sequences: int, trials: int, *, every_distance: bool = False, bd: bool = True
) -> dict[str, tuple[float, float]]:
    """Figure -> (share of intervals that hold the truth, share of trials with an interval)."""
    rng = np.random.default_rng(7)
    whole = pool.sum(1)
    lossy = whole[1] * np.array([1 - LOST, 1.0])[:, None]
    truth = {
        "miou_d": miou_of(whole),
        "class": mean_of_present((whole[1, :, 0] / whole[1, :, 1]).T),
        "trained": miou_of(lossy).mean(),
        "bd": bd_with_interval(*curves_of(whole[:, None]), "miou").value if bd else 0.0,
    }
    hits: dict[str, list[bool | None]] = {}
    for _ in range(trials):
        sums = drawn(rng, pool, sequences, every_distance, jump=0.2 if every_distance else 0.02)
        for name, found, true in trial(rng, pool, truth, sums, bd):
            low, high = (found.low, found.high) if isinstance(found, Interval) else found or (np.nan, np.nan)
            hits.setdefault(name, []).append(None if np.isnan(low) else low <= true <= high)
    given = {name: [hit for hit in all_ if hit is not None] for name, all_ in hits.items()}
    return {
        name: (float(np.mean(held)) if held else float("nan"), len(held) / len(hits[name]))
        for name, held in given.items()
    }


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> np.ndarray:
    return pool_of(tmp_path_factory.mktemp("records"))


@pytest.mark.parametrize(("sequences", "every_distance"), [(4, False), (6, False), (8, True), (12, False)])
def test_intervals_hold_the_truth_as_often_as_they_say(pool, sequences, every_distance) -> None:
    found = coverage(pool, sequences, 200, every_distance=every_distance, bd=sequences == 8)
    for name, (share, given) in found.items():  # standard error of 200 trials: 1.5 points
        assert given == (0 if name == "class" and sequences < 8 else pytest.approx(1, abs=0.05))
        assert not given or 0.90 <= share <= 0.985, name


def test_fewer_sequences_than_cover_get_no_interval(pool) -> None:
    rng = np.random.default_rng(0)
    for number in (1, 2, 3):
        found = miou_intervals(units_of(drawn(rng, pool, number, False, 0.02)[1], "a"))
        assert np.isnan([found.miou.low, found.miou.high, found.miou_d[3].low]).all()
        assert found.miou.method == f"no interval: {number} sequence{'s' * (number > 1)}, an interval needs 4"


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        plain = pool_of(Path(folder))
    cases = (
        ("all classes", plain, False),
        ("all classes", plain, True),
        ("two rare classes", with_rare_classes(plain), False),
    )
    for title, data, every in cases:
        for n in (4, 6, 8, 12, 24):
            row = coverage(data, n, 300, every_distance=every)
            cells = [
                f"{100 * share:.1f}" + ("" if given > 0.99 else f" ({100 * given:.0f} %)") if given else "-"
                for share, given in row.values()
            ]
            print(f"| {title}, {'all d' if every else 'one d'} | {n} |", " | ".join(cells), "|", flush=True)
