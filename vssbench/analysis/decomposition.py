"""Where the loss at distance d comes from: compression, resolution, wrong motion, disocclusion.

With Q mIoU_d, M the method and R the full-resolution network of the same kind on the frame itself,

    loss          = Q(R, frames before encoding)               - Q(M)
    motion        = Q(M, exact flow)                           - Q(M)
    disocclusion  = Q(M, exact flow, hidden pixels from R)     - Q(M, exact flow)
    resolution    = Q(R)                                       - Q(M, exact flow, hidden pixels from R)
    compression   = Q(R, frames before encoding)               - Q(R)

The four are the steps of one staircase from Q(M) up to the top, so they sum to the loss; a step may be negative. Which
step an effect falls on depends on their order: a joint effect belongs to the earlier step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vssbench.errors import ConfigError
from vssbench.metrics.confusion import mean_of_present
from vssbench.metrics.further import ORACLE_EXACT, ORACLE_FILLED, ORACLE_SOURCE, ratios
from vssbench.results.group import Group
from vssbench.results.roster import MethodEntry, Roster

PARTS = ("motion", "disocclusion", "resolution", "compression")
"""In the order of the staircase."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Decomposition:
    """The staircase of one method on one dataset and codec; mIoU_d in 0..1, each [D]."""

    dataset: str
    codec: str
    method: str
    reference: str
    """Title of R."""
    distances: tuple[int, ...]
    miou: Values
    """Q(M)."""
    exact: Values
    """Q(M, exact flow); Q(M) for methods that follow no flow."""
    filled: Values
    """Q(M, exact flow, hidden pixels from R)."""
    full: Values
    """Q(R)."""
    source: Values
    """Q(R, frames before encoding): the top."""

    @property
    def loss(self) -> Values:
        """[D] mIoU below the top."""
        return self.source - self.miou

    @property
    def parts(self) -> dict[str, Values]:
        """Name -> [D]; they sum to `loss`."""
        stairs = (self.miou, self.exact, self.filled, self.full, self.source)
        return {name: high - low for name, low, high in zip(PARTS, stairs[:-1], stairs[1:], strict=True)}

    def rows(self) -> Iterator[tuple[int, str, float]]:
        """(d, metric, value) for the long table; d = -1 is the plain mean over distances."""
        for metric, values in (("loss", self.loss), *((f"loss: {n}", v) for n, v in self.parts.items())):
            yield -1, metric, float(values.mean())
            yield from ((d, metric, float(v)) for d, v in zip(self.distances, values, strict=True))


def decompose(groups: Sequence[Group], roster: Roster) -> list[Decomposition]:
    """The decompositions of all groups; empty if the run was made without oracles."""
    found = []
    of_title = {(g.dataset, g.codec, g.method): g for g in groups}
    for group in groups:
        place = (group.dataset, group.codec)
        if not any(ORACLE_SOURCE in g.measured for g in groups if (g.dataset, g.codec) == place):
            continue
        here = [m for m in roster.methods_on(*place) if (*place, m.title) in of_title]
        reference = of_title[*place, reference_titles(here)[group.method]]
        if ORACLE_SOURCE in reference.measured and reference.distances == group.distances:
            found.append(_decompose(group, reference))
    return found


def _decompose(group: Group, reference: Group) -> Decomposition:
    miou = group.miou_d
    exact = _oracle_miou(group, ORACLE_EXACT) if ORACLE_EXACT in group.measured else miou
    filled = _oracle_miou(group, ORACLE_FILLED) if ORACLE_FILLED in group.measured else miou
    return Decomposition(
        group.dataset,
        group.codec,
        group.method,
        reference.method,
        group.distances,
        miou,
        exact,
        filled,
        reference.miou_d,
        _oracle_miou(reference, ORACLE_SOURCE),
    )


def _oracle_miou(group: Group, name: str) -> Values:
    summed = group.measured_at(name)
    return np.asarray(mean_of_present(ratios(summed[:, 0], summed[:, 1])))


def reference_titles(methods: Sequence[MethodEntry]) -> dict[str, str]:
    """Method title -> title of the full-resolution method R that its loss is measured against.

    methods: those of one dataset and codec. R is the method `constant` with the largest lr_scale, 1 or more, of the same
    network (and training seed, where there are several); for methods of no or several networks any constant. Raises
    ConfigError naming the first method that has none.
    """
    found = {}
    for method in methods:
        kin = [one for one in methods if method.may_be_held_against(one)]
        best = max(
            kin, key=lambda one: (one.lr_scale, one.training_seed == method.training_seed), default=None
        )
        if best is None or best.lr_scale < 1:
            network = f" and network {method.networks[0].name}" if len(method.networks) == 1 else ""
            raise ConfigError(
                f"oracles: method {method.title} has no full-resolution counterpart on its dataset and codec; add the "
                f"method constant with lr_scale 1{network}, or leave oracles off"
            )
        found[method.title] = best.title
    return found
