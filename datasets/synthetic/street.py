"""The standing part of a scene: the course of the street, and what is built and planted along it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vssbench.datasets.synthetic.faces import Colour, FaceList, Label, Material, Shape, Vector
from vssbench.datasets.synthetic.noise import LAYERS, Draws, Real, sine

UP: Vector = (0.0, -1.0, 0.0)

SKY_ROW, ROAD_ROW, PAVEMENT_ROW = 0, 1, 2
"""Rows of the faces without bounds."""

VIEW_M = 240.0
"""How far ahead of the last camera position the street is built."""

WALL_COLOURS: tuple[Colour, ...] = (
    (0.52, 0.33, 0.26),
    (0.60, 0.47, 0.36),
    (0.72, 0.68, 0.60),
    (0.45, 0.42, 0.40),
    (0.62, 0.60, 0.57),
    (0.36, 0.30, 0.27),
    (0.70, 0.58, 0.42),
    (0.42, 0.44, 0.47),
    (0.80, 0.77, 0.72),
    (0.47, 0.27, 0.22),
)
SHOP_COLOURS: tuple[Colour, ...] = (
    (0.16, 0.24, 0.20),
    (0.40, 0.12, 0.12),
    (0.12, 0.16, 0.32),
    (0.70, 0.66, 0.55),
    (0.10, 0.10, 0.11),
    (0.62, 0.35, 0.12),
    (0.20, 0.36, 0.44),
)
LEAF_COLOURS: tuple[Colour, ...] = (
    (0.24, 0.30, 0.13),
    (0.33, 0.36, 0.17),
    (0.36, 0.31, 0.20),
    (0.42, 0.34, 0.22),
    (0.20, 0.26, 0.15),
    (0.45, 0.38, 0.18),
)
METAL_COLOURS: tuple[Colour, ...] = (
    (0.20, 0.21, 0.21),
    (0.42, 0.43, 0.43),
    (0.14, 0.20, 0.17),
    (0.55, 0.55, 0.53),
)
SIGN_COLOURS: tuple[Colour, ...] = (
    (0.75, 0.10, 0.10),
    (0.10, 0.22, 0.62),
    (0.85, 0.85, 0.82),
    (0.82, 0.62, 0.10),
)


@dataclass(frozen=True)
class Course:
    """Centre line x(z) of the street: two slow waves."""

    waves: tuple[tuple[float, float, float], ...]
    """(amplitude m, wave length m, phase rad) each."""

    def x(self, z: Real) -> Real:
        """Lateral position of the centre line at z, metres."""
        total = z * 0.0
        for amplitude, length, phase in self.waves:
            total = total + amplitude * sine(z * (6.283185307179586 / length) + phase)
        return total

    def slope(self, z: Real) -> Real:
        """dx/dz at z by a central difference over 2 m."""
        return (self.x(z + 1.0) - self.x(z - 1.0)) / 2.0

    def frame(self, z: Real) -> tuple[Real, Real, Real]:
        """(x, cosine, sine) of the centre line and its heading at z.

        The right of the street is (cosine, -sine) in (x, z).
        """
        slope = self.slope(z)
        cosine = 1.0 / np.sqrt(slope * slope + 1.0)
        return self.x(z), cosine, slope * cosine

    def place(self, z: Real, lateral: Real) -> tuple[Real, Real]:
        """World (x, z) of the point `lateral` metres to the right of the centre line at z."""
        x, cosine, tilt = self.frame(z)
        return x + lateral * cosine, z - lateral * tilt


@dataclass(frozen=True)
class Layout:
    """Measures of one street, drawn once per sequence."""

    course: Course
    road_half_width: float
    pavement_width: tuple[float, float]
    """Left, right."""
    season: float
    """0 dense foliage .. 1 bare branches."""
    sun_side: int
    """-1 the left side's buildings throw shadow on the street, 1 the right side's, 0 overcast."""
    sun_reach: float
    """Metres of shadow per metre of building height."""
    tint: Colour
    sky: tuple[Colour, Colour]
    """Colour at the horizon and at the zenith."""
    clouds: float
    parked: tuple[bool, bool]
    """Whether cars are parked at the left and at the right kerb."""

    def edge(self, side: int) -> float:
        """Distance from the centre line to the outer edge of the pavement."""
        return self.road_half_width + self.pavement_width[0 if side < 0 else 1]


def draw_layout(draws: Draws) -> Layout:
    """Measures and weather of a street."""
    waves = (
        (draws.between(1.0, 5.0), draws.between(180.0, 320.0), draws.between(0.0, 6.28)),
        (draws.between(0.2, 1.2), draws.between(80.0, 140.0), draws.between(0.0, 6.28)),
    )
    warm = draws.between(-0.04, 0.05)
    overcast = draws.chance(0.4)
    if overcast:
        grey = draws.between(0.70, 0.88)
        sky = ((grey, grey, grey), (grey - 0.12, grey - 0.09, grey - 0.04))
    else:
        sky = ((0.80, 0.86, 0.93), (draws.between(0.30, 0.5), draws.between(0.52, 0.66), 0.88))
    half_width = draws.between(3.4, 5.2)
    return Layout(
        course=Course(waves),
        road_half_width=half_width,
        pavement_width=(draws.between(2.2, 4.5), draws.between(2.2, 4.5)),
        season=draws.unit(),
        sun_side=0 if overcast else (-1 if draws.chance(0.5) else 1),
        sun_reach=draws.between(0.5, 1.1),
        tint=(1.0 + warm, 1.0, 1.0 - warm),
        sky=sky,
        clouds=draws.between(0.3, 1.0),
        parked=(half_width > 4.3 and draws.chance(0.7), draws.chance(0.5)),
    )


class StreetBuilder:
    """Fills a FaceList with everything that stands along the street between two z positions."""

    def __init__(self, layout: Layout, draws: Draws, start: float, stop: float) -> None:
        self.layout, self.draws, self.start, self.stop = layout, draws, start, stop
        self.faces = FaceList()
        self.roofline: dict[int, list[tuple[float, float, float]]] = {-1: [], 1: []}
        """Per side the (z0, z1, height) of each building, for the shadow on the ground."""

    def build(self) -> FaceList:
        """All standing faces; the first rows are the sky, the road and the pavement (one plane, two surfaces)."""
        layout = self.layout
        self.faces.add(
            (0.0, -1.0, 0.0),
            (1.0, 0.0, 0.0),
            (0.0, 0.0, 1.0),
            (-1e9, 1e9, -1e9, 1e9),
            Label.SKY,
            Material.SKY,
            layout.sky[0],
            layout.sky[1],
            (layout.clouds,),
        )
        self.faces.add(
            (0.0, 0.0, 0.0),
            (1.0, 0.0, 0.0),
            (0.0, 0.0, 1.0),
            (-1e9, 1e9, -1e9, 1e9),
            Label.ROAD,
            Material.GROUND,
            (0.30, 0.30, 0.31),
        )
        self.faces.add(
            (0.0, 0.0, 0.0),
            (1.0, 0.0, 0.0),
            (0.0, 0.0, 1.0),
            (-1e9, 1e9, -1e9, 1e9),
            Label.PAVEMENT,
            Material.GROUND,
            (0.47, 0.45, 0.43),
        )
        for side in (-1, 1):
            self._houses(side, self.draws.child(1, side))
            self._trees(side, self.draws.child(2, side))
            self._posts(side, self.draws.child(3, side))
        self._skyline(self.draws.child(4))
        return self.faces

    def wall(
        self,
        z0: float,
        lateral0: float,
        z1: float,
        lateral1: float,
        height: tuple[float, float],
        label: Label,
        material: Material,
        colour: Colour,
        second: Colour = (0.0, 0.0, 0.0),
        extra: tuple[float, ...] = (),
        shape: Shape = Shape.RECTANGLE,
    ) -> None:
        """Upright face over the ground line from one street position to another."""
        x0, w0 = self.layout.course.place(z0, lateral0)
        x1, w1 = self.layout.course.place(z1, lateral1)
        length = math.sqrt((x1 - x0) * (x1 - x0) + (w1 - w0) * (w1 - w0))
        axis = ((x1 - x0) / length, 0.0, (w1 - w0) / length)
        self.faces.add(
            (x0, 0.0, w0), axis, UP, (0.0, length, *height), label, material, colour, second, extra, shape
        )

    def board(
        self,
        z: float,
        lateral: float,
        extent: tuple[float, float, float, float],
        label: Label,
        material: Material,
        colour: Colour,
        second: Colour = (0.0, 0.0, 0.0),
        extra: tuple[float, ...] = (),
        shape: Shape = Shape.RECTANGLE,
        base: float = 0.0,
    ) -> None:
        """Upright face across the street, centred at a street position, v counted from `base` metres."""
        x, w = self.layout.course.place(z, lateral)
        _, cosine, tilt = self.layout.course.frame(z)
        self.faces.add(
            (x, -base, w), (cosine, 0.0, -tilt), UP, extent, label, material, colour, second, extra, shape
        )

    def _houses(self, side: int, draws: Draws) -> None:
        z = self.start
        edge = self.layout.edge(side)
        while z < self.stop:
            if draws.chance(0.34):
                width = draws.between(6.0, 22.0)
                self._garden(side, z, z + width, draws)
            else:
                width = draws.between(6.0, 17.0)
                self._house(
                    side, z, z + width, edge + (draws.between(0.5, 3.5) if draws.chance(0.3) else 0.0), draws
                )
            z += width

    def _house(self, side: int, z0: float, z1: float, lateral: float, draws: Draws) -> None:
        storeys = 2 + draws.index(4)
        storey = draws.between(2.7, 3.5)
        height = storeys * storey + draws.between(0.2, 1.4)
        colour = WALL_COLOURS[draws.index(len(WALL_COLOURS))]
        lit = 0.62 if self.layout.sun_side == side else draws.between(0.85, 1.1)
        colour = (colour[0] * lit, colour[1] * lit, colour[2] * lit)
        shop = SHOP_COLOURS[draws.index(len(SHOP_COLOURS))]
        texture = float(LAYERS.index(("brick", "stone", "fbm", "brick")[draws.index(4)]))
        bay = draws.between(1.8, 3.4)
        has_shop = 1.0 if draws.chance(0.5) else 0.0
        extra = (bay, storey, draws.between(0.0, 200.0), has_shop, texture, draws.between(0.35, 0.62))
        self.wall(
            z0,
            side * lateral,
            z1,
            side * lateral,
            (0.0, height),
            Label.BUILDING,
            Material.FACADE,
            colour,
            shop,
            extra,
        )
        depth = draws.between(7.0, 11.0)
        flank = (colour[0] * 0.8, colour[1] * 0.8, colour[2] * 0.82)
        # the flank at the far end always faces away from a camera that drives forwards
        self.wall(
            z0,
            side * lateral,
            z0,
            side * (lateral + depth),
            (0.0, height),
            Label.BUILDING,
            Material.FACADE,
            flank,
            shop,
            (bay * 2.5, storey, extra[2] + 31.0, 0.0, texture, 0.25),
        )
        if draws.chance(0.55):
            self._chimneys(side, z0, z1, lateral, height, draws)
        self.roofline[side].append((z0, z1, height))

    def _chimneys(self, side: int, z0: float, z1: float, lateral: float, height: float, draws: Draws) -> None:
        """Stacks behind the roof edge: small things against the sky."""
        shade = draws.between(0.25, 0.5)
        for _ in range(1 + draws.index(3)):
            half = draws.between(0.3, 0.7)
            z = draws.between(z0 + 1.0, z1 - 1.0)
            across = side * (lateral + draws.between(0.8, 3.0))
            self.board(
                z, across, (-half, half, -0.5, draws.between(0.7, 1.8)), Label.BUILDING, Material.PLAIN,
                (shade * 1.2, shade, shade * 0.9), (0, 0, 0), (float(LAYERS.index("brick")), 90.0, 0.9), base=height,
            )  # fmt: skip

    def _garden(self, side: int, z0: float, z1: float, draws: Draws) -> None:
        edge = self.layout.edge(side)
        height = draws.between(0.9, 2.0)
        kind = float(draws.index(3))
        green = LEAF_COLOURS[draws.index(len(LEAF_COLOURS))]
        tone = draws.between(0.25, 0.6)
        colour = green if kind == 2.0 else (tone * 1.08, tone, tone * 0.9)
        z = z0
        while z < z1 - 0.1:
            end = min(z + 8.0, z1)
            self.wall(
                z,
                side * edge,
                end,
                side * edge,
                (0.0, height),
                Label.FENCE,
                Material.FENCE,
                colour,
                green,
                (kind, z - z0, height),
            )
            z = end
        for _ in range(2 + draws.index(3)):
            self._tree(draws.between(z0, z1), side * (edge + draws.between(2.0, 9.0)), draws)
        depth = edge + draws.between(11.0, 20.0)
        wall = WALL_COLOURS[draws.index(len(WALL_COLOURS))]
        self.wall(
            z0 - 6.0,
            side * depth,
            z1 + 6.0,
            side * depth,
            (0.0, draws.between(5.0, 12.0)),
            Label.BUILDING,
            Material.FACADE,
            (wall[0] * 0.85, wall[1] * 0.85, wall[2] * 0.85),
            (0.3, 0.3, 0.3),
            (2.6, 3.0, draws.between(0.0, 90.0), 0.0, float(LAYERS.index("brick")), 0.5),
        )

    def _trees(self, side: int, draws: Draws) -> None:
        if draws.chance(0.25):
            return
        spacing = draws.between(9.0, 24.0)
        z = self.start + draws.between(0.0, spacing)
        while z < self.stop:
            if draws.chance(0.7):
                self._tree(z, side * (self.layout.road_half_width + draws.between(0.7, 1.3)), draws)
            z += spacing * draws.between(0.7, 1.4)

    def _tree(self, z: float, lateral: float, draws: Draws) -> None:
        trunk = draws.between(2.2, 3.6)
        crown = draws.between(1.5, 3.0)
        radius = draws.between(0.10, 0.24)
        bark = draws.between(0.18, 0.32)
        self.board(
            z,
            lateral,
            (-radius, radius, 0.0, trunk + crown),
            Label.TREE,
            Material.PLAIN,
            (bark * 1.1, bark, bark * 0.85),
            (0, 0, 0),
            (float(LAYERS.index("foliage")), 120.0, 0.9),
        )
        leaf = LEAF_COLOURS[draws.index(len(LEAF_COLOURS))]
        bare = min(1.0, max(0.0, self.layout.season + draws.between(-0.15, 0.15)))
        for blob in range(5):
            spread = crown * (0.9 if blob else 0.0)
            across = draws.between(-spread, spread)
            along = draws.between(-spread, spread)
            up = trunk + crown * draws.between(0.5, 1.5)
            size = crown * draws.between(0.65, 1.0)
            light = 0.75 + 0.35 * (up - trunk) / (1.5 * crown)
            self.board(
                z + along,
                lateral + across,
                (-size, size, -size, size),
                Label.TREE,
                Material.FOLIAGE,
                (leaf[0] * light, leaf[1] * light, leaf[2] * light),
                (0, 0, 0),
                (draws.between(0.0, 256.0), draws.between(0.0, 256.0), bare),
                Shape.FOLIAGE,
                base=up,
            )

    def _posts(self, side: int, draws: Draws) -> None:
        near = self.layout.road_half_width + 0.45
        spacing = draws.between(24.0, 40.0)
        metal = METAL_COLOURS[draws.index(len(METAL_COLOURS))]
        z = self.start + draws.between(0.0, spacing)
        while z < self.stop:
            self._lamp_post(z, side, side * near, metal, draws)
            for _ in range(draws.index(4)):
                self._sign(
                    z + draws.between(2.0, spacing - 2.0), side * (near + draws.between(0.0, 0.5)), draws
                )
            if draws.chance(0.3):
                self._traffic_light(z + 5.0, side * near, draws)
            z += spacing

    def _lamp_post(self, z: float, side: int, lateral: float, metal: Colour, draws: Draws) -> None:
        height = draws.between(5.5, 8.0)
        extra = (float(LAYERS.index("fbm")), 60.0, 0.3)
        self.board(
            z, lateral, (-0.09, 0.09, 0.0, height), Label.POLE, Material.PLAIN, metal, (0, 0, 0), extra
        )
        self.board(
            z - 0.05, lateral, (-0.12, 0.12, 0.0, 1.1), Label.POLE, Material.PLAIN, metal, (0, 0, 0), extra
        )
        low, high = (-1.6, 0.05) if side > 0 else (-0.05, 1.6)
        self.board(
            z,
            lateral,
            (low, high, height - 0.12, height),
            Label.POLE,
            Material.PLAIN,
            metal,
            (0, 0, 0),
            extra,
        )

    def _sign(self, z: float, lateral: float, draws: Draws) -> None:
        height = draws.between(2.1, 3.0)
        size = draws.between(0.3, 0.5)
        self.board(
            z,
            lateral,
            (-0.05, 0.05, 0.0, height + size),
            Label.POLE,
            Material.PLAIN,
            METAL_COLOURS[draws.index(len(METAL_COLOURS))],
            (0, 0, 0),
            (float(LAYERS.index("fbm")), 60.0, 0.3),
        )
        first = SIGN_COLOURS[draws.index(len(SIGN_COLOURS))]
        second = SIGN_COLOURS[draws.index(len(SIGN_COLOURS))]
        shape = (Shape.ELLIPSE, Shape.TRIANGLE, Shape.RECTANGLE, Shape.RECTANGLE)[draws.index(4)]
        wide = size * (draws.between(0.7, 1.8) if shape is Shape.RECTANGLE else 1.0)
        self.board(
            z - 0.08,
            lateral,
            (-wide, wide, -size, size),
            Label.SIGN,
            Material.SIGN,
            first,
            second,
            (float(shape), wide, size, draws.between(0.0, 200.0)),
            shape,
            base=height,
        )

    def _traffic_light(self, z: float, lateral: float, draws: Draws) -> None:
        self.board(
            z,
            lateral,
            (-0.07, 0.07, 0.0, 3.3),
            Label.POLE,
            Material.PLAIN,
            (0.16, 0.16, 0.16),
            (0, 0, 0),
            (float(LAYERS.index("fbm")), 60.0, 0.3),
        )
        self.board(
            z - 0.1,
            lateral,
            (-0.22, 0.22, 0.0, 1.05),
            Label.SIGN,
            Material.LAMPS,
            (0.05, 0.05, 0.055),
            (0, 0, 0),
            (float(draws.index(2)),),
            base=2.3,
        )

    def _skyline(self, draws: Draws) -> None:
        x = self.layout.course.x(self.stop)
        for layer, (distance, height) in enumerate(((40.0, 13.0), (10.0, 9.0))):
            label = Label.TREE if layer else Label.BUILDING
            colour: Colour = (0.30, 0.32, 0.22) if layer else (0.50, 0.47, 0.45)
            self.faces.add(
                (x, 0.0, self.stop + distance),
                (1.0, 0.0, 0.0),
                UP,
                (-220.0, 220.0, 0.0, height),
                label,
                Material.PLAIN,
                colour,
                (0, 0, 0),
                (float(LAYERS.index("foliage")), 14.0, 0.5, draws.between(0.0, 250.0), 14.0 - 9.0 * layer),
                Shape.SKYLINE,
            )


def shadow_reach(builder: StreetBuilder, positions: NDArray[np.float64]) -> NDArray[np.float32]:
    """Lateral position [N] up to which the sun-side buildings shade the ground at each z; -inf or inf where none do."""
    layout = builder.layout
    side = layout.sun_side
    if side == 0:
        return np.full(len(positions), -np.inf, np.float32)
    height = np.zeros(len(positions))
    for z0, z1, top in builder.roofline[side]:
        height = np.where((positions >= z0) & (positions < z1), top, height)
    reach = height * layout.sun_reach - layout.edge(side)
    return reach.astype(np.float32)
