"""Tables of planar faces: everything that is drawn, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
Vector = tuple[float, float, float]


class Label(IntEnum):
    """Class indices, in CamVid order."""

    SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)


class Material(IntEnum):
    """How a face is coloured; the parameters of each are documented in shading.py."""

    SKY, GROUND, FACADE, PLAIN, FOLIAGE, FENCE, CAR_SIDE, CAR_END, CAR_GLASS, PERSON, CYCLIST, SIGN, LAMPS = (
        range(13)
    )


class Shape(IntEnum):
    """Silhouette inside the rectangle of a face."""

    RECTANGLE, ELLIPSE, TRIANGLE, FOLIAGE, TRAPEZIUM, CAR_SIDE, PERSON, CYCLIST, SKYLINE = range(9)


PARAMETERS = 12
"""Columns of `FaceTable.parameters`: 0-2 first colour, 3-5 second colour, 6-11 by material."""


@dataclass
class FaceTable:
    """Arrays over N faces; row numbers are the identity of a surface and never change within a sequence."""

    origin: NDArray[np.float64]
    """[N, 3] world position of (u, v) = (0, 0), metres."""
    u_axis: NDArray[np.float64]
    """[N, 3] unit vector of u."""
    v_axis: NDArray[np.float64]
    """[N, 3] unit vector of v."""
    extent: NDArray[np.float64]
    """[N, 4] u0, u1, v0, v1 in metres."""
    label: NDArray[np.uint8]
    material: NDArray[np.uint8]
    shape: NDArray[np.uint8]
    one_sided: NDArray[np.bool_]
    """True for the faces of closed boxes: drawn only where u x v points away from the camera."""
    parameters: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.label)

    def joined(self, other: FaceTable) -> FaceTable:
        """This table's rows followed by the other's."""
        return FaceTable(
            *(
                np.concatenate([getattr(self, name), getattr(other, name)])
                for name in self.__dataclass_fields__
            )
        )


@dataclass
class FaceList:
    """A growing list of faces, frozen into a FaceTable at the end."""

    rows: list[
        tuple[Vector, Vector, Vector, tuple[float, float, float, float], int, int, int, bool, list[float]]
    ] = field(default_factory=list)

    def add(
        self,
        origin: Vector,
        u_axis: Vector,
        v_axis: Vector,
        extent: tuple[float, float, float, float],
        label: Label,
        material: Material,
        colour: Colour,
        second: Colour = (0.0, 0.0, 0.0),
        extra: tuple[float, ...] = (),
        shape: Shape = Shape.RECTANGLE,
        one_sided: bool = False,
    ) -> None:
        """Append one face; see FaceTable for the meaning of the arguments."""
        parameters = [*colour, *second, *extra]
        parameters += [0.0] * (PARAMETERS - 1 - len(parameters))
        if (
            len(parameters) < PARAMETERS
        ):  # where the grain of plain surfaces begins: by place, not by row number
            parameters.append((origin[0] * 37.0 + origin[2] * 53.0 + origin[1] * 91.0) % 256.0)
        self.rows.append((origin, u_axis, v_axis, extent, label, material, shape, one_sided, parameters))

    def table(self) -> FaceTable:
        """The faces as arrays."""
        columns: list[Any] = list(zip(*self.rows, strict=True)) if self.rows else [()] * 9
        return FaceTable(
            np.array(columns[0], np.float64).reshape(-1, 3),
            np.array(columns[1], np.float64).reshape(-1, 3),
            np.array(columns[2], np.float64).reshape(-1, 3),
            np.array(columns[3], np.float64).reshape(-1, 4),
            np.array(columns[4], np.uint8),
            np.array(columns[5], np.uint8),
            np.array(columns[6], np.uint8),
            np.array(columns[7], np.bool_),
            np.array(columns[8], np.float32).reshape(-1, PARAMETERS),
        )
