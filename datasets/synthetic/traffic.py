"""What moves: cars, pedestrians and bicyclists, as rigid groups of faces with a pose at every time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vssbench.datasets.synthetic.faces import Colour, FaceList, FaceTable, Label, Material, Shape, Vector
from vssbench.datasets.synthetic.noise import LAYERS, Draws, cosine, sine
from vssbench.datasets.synthetic.street import UP, Layout

PAINTS: tuple[Colour, ...] = (
    (0.55, 0.56, 0.58),
    (0.10, 0.10, 0.11),
    (0.45, 0.08, 0.08),
    (0.12, 0.18, 0.38),
    (0.78, 0.78, 0.77),
    (0.30, 0.31, 0.32),
    (0.20, 0.28, 0.22),
    (0.50, 0.45, 0.36),
)
CLOTHES: tuple[Colour, ...] = (
    (0.12, 0.12, 0.14),
    (0.45, 0.10, 0.12),
    (0.16, 0.22, 0.40),
    (0.55, 0.52, 0.46),
    (0.28, 0.30, 0.24),
    (0.70, 0.68, 0.64),
    (0.35, 0.24, 0.18),
    (0.10, 0.28, 0.30),
)
TROUSERS: tuple[Colour, ...] = (
    (0.12, 0.13, 0.18),
    (0.20, 0.24, 0.34),
    (0.30, 0.27, 0.22),
    (0.09, 0.09, 0.09),
)

GLASS: Colour = (0.10, 0.12, 0.14)
REAR_LAMPS: Colour = (0.55, 0.06, 0.05)
HEADLAMPS: Colour = (0.85, 0.84, 0.78)
AHEAD: Vector = (0.0, 0.0, 1.0)
RIGHT: Vector = (1.0, 0.0, 0.0)

_CYCLIST_MPS = 5.5
"""Fastest oncoming bicyclist."""


@dataclass(frozen=True)
class Mover:
    """One moving thing: street coordinates linear in time."""

    along: float
    """z on the street at time 0, metres."""
    speed: float
    """dz/dt, metres per second; 0 for parked."""
    lateral: float
    lateral_speed: float
    backwards: bool
    """True if it faces against the street direction."""
    shadow: tuple[float, float]
    """Half width and half length of its shadow on the ground, metres."""


@dataclass(frozen=True)
class _CarBody:
    """Measures of one car in metres: z of the glass from `back` to `front`, heights above the road."""

    half_width: float
    half_length: float
    waist: float
    roof: float
    paint: Colour
    back: float
    front: float

    @classmethod
    def drawn(cls, draws: Draws) -> _CarBody:
        """A car, or now and then a van."""
        van = draws.chance(0.18)
        half_width = draws.between(0.82, 0.92) + (0.12 if van else 0.0)
        half_length = draws.between(1.9, 2.3) + (0.5 if van else 0.0)
        waist = draws.between(0.82, 0.95) + (0.15 if van else 0.0)
        roof = draws.between(1.38, 1.5) + (0.75 if van else 0.0)
        paint = PAINTS[draws.index(len(PAINTS))]
        back, front = -half_length + (0.15 if van else 0.35), half_length - (0.9 if van else 1.25)
        return cls(half_width, half_length, waist, roof, paint, back, front)

    def tone(self, light: float) -> Colour:
        """The paint under that much light."""
        red, green, blue = self.paint
        return light * red, light * green, light * blue


@dataclass
class Traffic:
    """All movers of a sequence and their faces in local coordinates (x right, y down, z ahead of the mover)."""

    layout: Layout
    movers: list[Mover] = field(default_factory=list)
    faces: FaceList = field(default_factory=FaceList)
    owner: list[int] = field(default_factory=list)
    swing: list[tuple[float, float, float]] = field(default_factory=list)
    """Per face (amplitude rad, angular speed rad/s, phase rad) of its turn in its own plane about (u, v) = (0, 0)."""

    def freeze(self) -> None:
        """Turn the lists into arrays once all movers are in."""
        self._local = self.faces.table()
        self._owner = np.array(self.owner, np.int64)
        self._swing = np.array(self.swing, np.float64).reshape(-1, 3)
        rows = [
            (m.along, m.speed, m.lateral, m.lateral_speed, -1.0 if m.backwards else 1.0) for m in self.movers
        ]
        self._motion = np.array(rows, np.float64).reshape(-1, 5)

    def table(self, time_s: float) -> FaceTable:
        """The faces in the world at `time_s`; rows never change their meaning."""
        pose = self.poses(time_s)[self._owner]
        x, z, c, s = (pose[:, i, None] for i in range(4))
        angle = self._swing[:, 0] * sine(self._swing[:, 1] * time_s + self._swing[:, 2])
        turn_c, turn_s = cosine(angle)[:, None], sine(angle)[:, None]
        local = self._local
        u_axis = local.u_axis * turn_c + local.v_axis * turn_s
        v_axis = local.v_axis * turn_c - local.u_axis * turn_s

        def turned(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
            right, down, ahead = vectors[:, :1], vectors[:, 1:2], vectors[:, 2:]
            return np.concatenate([right * c + ahead * s, down, ahead * c - right * s], axis=1)

        origin = turned(local.origin)
        origin[:, :1] += x
        origin[:, 2:] += z
        return replace(local, origin=origin, u_axis=turned(u_axis), v_axis=turned(v_axis))

    def poses(self, time_s: float) -> NDArray[np.float64]:
        """[movers, 4] world x, z and the cosine and sine of the heading at `time_s`."""
        along = self._motion[:, 0] + self._motion[:, 1] * time_s
        x, z = self.layout.course.place(along, self._motion[:, 2] + self._motion[:, 3] * time_s)
        _, c, s = self.layout.course.frame(along)
        return np.stack([x, z, self._motion[:, 4] * c, self._motion[:, 4] * s], axis=1)

    def _add(self, swing: tuple[float, float, float] = (0.0, 0.0, 0.0), **face: object) -> None:
        self.owner.append(len(self.movers) - 1)
        self.swing.append(swing)
        self.faces.add(**face)  # type: ignore[arg-type]

    def car(self, mover: Mover, draws: Draws) -> None:
        """A box with a smaller, tapered box on top; vans have a long and high one."""
        self.movers.append(mover)
        body = _CarBody.drawn(draws)
        for side in (-1, 1):
            self._car_side(body, side)
        for end in (-1, 1):
            self._car_end(body, end)
        self._car_tops(body)

    def _car_side(self, body: _CarBody, side: int) -> None:
        """Doors and side windows, left (-1) or right (1)."""
        axis = AHEAD if side > 0 else (0.0, 0.0, -1.0)
        tone = body.tone(0.9 if side > 0 else 0.75)
        self._add(
            origin=(side * body.half_width, 0.0, 0.0),
            u_axis=axis,
            v_axis=UP,
            extent=(-body.half_length, body.half_length, 0.0, body.waist),
            label=Label.CAR,
            material=Material.CAR_SIDE,
            colour=tone,
            extra=(body.half_length,),
            shape=Shape.CAR_SIDE,
            one_sided=True,
        )
        middle, half = (body.back + body.front) / 2, (body.front - body.back) / 2
        height = body.roof - body.waist
        self._add(
            origin=(side * body.half_width * 0.94, -body.waist, middle),
            u_axis=axis,
            v_axis=UP,
            extent=(-half, half, 0.0, height),
            label=Label.CAR,
            material=Material.CAR_GLASS,
            colour=GLASS,
            second=tone,
            extra=(half, height, 0.35 / height),
            shape=Shape.TRAPEZIUM,
            one_sided=True,
        )

    def _car_end(self, body: _CarBody, end: int) -> None:
        """Rear (-1) or front (1): the lamps' face, and the leaning window above it."""
        axis = RIGHT if end < 0 else (-1.0, 0.0, 0.0)
        tone = body.tone(0.85 if end < 0 else 0.95)
        self._add(
            origin=(0.0, 0.0, end * body.half_length),
            u_axis=axis,
            v_axis=UP,
            extent=(-body.half_width, body.half_width, 0.22, body.waist),
            label=Label.CAR,
            material=Material.CAR_END,
            colour=tone,
            second=REAR_LAMPS if end < 0 else HEADLAMPS,
            extra=(body.half_width, body.waist),
            one_sided=True,
        )
        foot, height = (body.back if end < 0 else body.front), body.roof - body.waist
        lean = -end * 0.35
        length = math.sqrt(lean * lean + height * height)
        self._add(
            origin=(0.0, -body.waist, foot),
            u_axis=axis,
            v_axis=(0.0, -height / length, lean / length),
            extent=(-body.half_width * 0.94, body.half_width * 0.94, 0.0, length),
            label=Label.CAR,
            material=Material.CAR_GLASS,
            colour=GLASS,
            second=tone,
            extra=(body.half_width * 0.94, length, 0.0),
            one_sided=True,
        )

    def _car_tops(self, body: _CarBody) -> None:
        """Bonnet and roof, seen from above."""
        bright = tuple(min(1.0, 1.25 * p + 0.06) for p in body.paint)
        narrow, half = body.half_width * 0.94, (body.front - body.back) / 2 - 0.35
        for origin, extent in (
            (
                (0.0, -body.waist, 0.0),
                (-body.half_width, body.half_width, -body.half_length, body.half_length),
            ),
            ((0.0, -body.roof, (body.back + body.front) / 2), (-narrow, narrow, -half, half)),
        ):
            self._add(
                origin=origin,
                u_axis=RIGHT,
                v_axis=AHEAD,
                extent=extent,
                label=Label.CAR,
                material=Material.PLAIN,
                colour=bright,
                extra=(float(LAYERS.index("fbm")), 20.0, 0.25),
            )

    def pedestrian(self, mover: Mover, draws: Draws) -> None:
        """A cut-out with two legs that swing."""
        self.movers.append(mover)
        height = draws.between(1.55, 1.9)
        hip = 0.47 * height
        coat = CLOTHES[draws.index(len(CLOTHES))]
        trousers = TROUSERS[draws.index(len(TROUSERS))]
        pace = 5.5 * draws.between(0.85, 1.15)
        phase = draws.between(0.0, 6.28)
        sideways = abs(mover.lateral_speed) > 0.1
        reach = 0.42 if sideways else 0.10
        for leg in (-1, 1):
            self._add(
                (leg * reach, pace, phase),
                origin=(leg * (0.03 if sideways else 0.09), -hip, 0.015 * leg),
                u_axis=(1.0, 0.0, 0.0),
                v_axis=UP,
                extent=(-0.085, 0.085, -hip, 0.05),
                label=Label.PEDESTRIAN,
                material=Material.PLAIN,
                colour=trousers,
                extra=(float(LAYERS.index("fbm")), 90.0, 0.7),
            )
        self._add(
            origin=(0.0, -hip, -0.03),
            u_axis=(1.0, 0.0, 0.0),
            v_axis=UP,
            extent=(-0.32, 0.32, -0.05, height - hip),
            label=Label.PEDESTRIAN,
            material=Material.PERSON,
            colour=coat,
            second=(draws.between(0.3, 0.7), draws.between(0.25, 0.5), 0.3),
            extra=(height - hip, draws.between(0.0, 250.0)),
            shape=Shape.PERSON,
        )

    def bicyclist(self, mover: Mover, draws: Draws) -> None:
        """A rider seen along the street: a narrow wheel, legs that pump, a back and a head."""
        self.movers.append(mover)
        coat = CLOTHES[draws.index(len(CLOTHES))]
        trousers = TROUSERS[draws.index(len(TROUSERS))]
        phase = draws.between(0.0, 6.28)
        for leg in (-1, 1):
            self._add(
                (0.12, 6.0, phase + 1.57 * leg),
                origin=(leg * 0.13, -0.95, -0.02),
                u_axis=(1.0, 0.0, 0.0),
                v_axis=UP,
                extent=(-0.08, 0.08, -0.72, 0.05),
                label=Label.BICYCLIST,
                material=Material.PLAIN,
                colour=trousers,
                extra=(float(LAYERS.index("fbm")), 90.0, 0.7),
            )
        self._add(
            origin=(0.0, 0.0, 0.0),
            u_axis=(1.0, 0.0, 0.0),
            v_axis=UP,
            extent=(-0.36, 0.36, 0.0, 1.75),
            label=Label.BICYCLIST,
            material=Material.CYCLIST,
            colour=coat,
            second=(0.5, 0.4, 0.3),
            extra=(draws.between(0.0, 250.0),),
            shape=Shape.CYCLIST,
        )


def populate(
    layout: Layout, draws: Draws, camera_speed: float, duration_s: float, view_m: float, enabled: bool
) -> Traffic:
    """Cars in both lanes and parked, pedestrians on both pavements and crossing, bicyclists ahead; none if disabled.

    A longer drive adds things beyond the view of a shorter one only, so that its first frames are the same.
    """
    traffic = Traffic(layout)
    reach = camera_speed * duration_s + view_m
    if enabled:
        _drive(traffic, draws.child(1), camera_speed, duration_s, reach)
        _walk(traffic, draws.child(2), reach + 1.5 * duration_s)
        _cross(traffic, draws.child(3), camera_speed, duration_s)
        _cycle(traffic, draws.child(4), camera_speed, duration_s, reach)
    traffic.freeze()
    return traffic


def _drive(traffic: Traffic, draws: Draws, camera_speed: float, duration_s: float, reach: float) -> None:
    half = traffic.layout.road_half_width
    shadow = (1.0, 2.4)
    z = draws.between(14.0, 30.0)
    for _ in range(3):
        traffic.car(
            Mover(z, camera_speed * draws.between(0.95, 1.25), -half * 0.4, 0.0, False, shadow), draws
        )
        z += draws.between(14.0, 35.0)
    draws = draws.child(1)
    oncoming = -draws.between(3.0, 7.5)
    z = draws.between(12.0, 40.0)
    while z < reach - oncoming * duration_s:
        traffic.car(Mover(z, oncoming, half * 0.45, 0.0, True, shadow), draws)
        z += draws.between(14.0, 55.0)
    for side in (-1, 1):
        parking = draws.child(3 + side)
        if traffic.layout.parked[0 if side < 0 else 1]:
            z = parking.between(8.0, 20.0)
            while z < reach:
                lateral = side * (half - (0.95 if side < 0 else 0.75))
                traffic.car(Mover(z, 0.0, lateral, 0.0, side > 0, shadow), parking)
                z += parking.between(5.8, 8.0) if parking.chance(0.6) else parking.between(12.0, 40.0)


def _walk(traffic: Traffic, draws: Draws, reach: float) -> None:
    for side in (-1, 1):
        stream = draws.child(side)
        z = stream.between(5.0, 12.0)
        while z < reach:
            inner = traffic.layout.road_half_width + 0.9
            lateral = side * stream.between(inner, traffic.layout.edge(side) - 0.4)
            speed = stream.between(0.8, 1.5) * (1 if stream.chance(0.5) else -1)
            traffic.pedestrian(Mover(z, speed, lateral, 0.0, False, (0.3, 0.2)), stream)
            z += stream.between(0.8, 2.0) if stream.chance(0.3) else stream.between(4.0, 16.0)


def _cross(traffic: Traffic, draws: Draws, camera_speed: float, duration_s: float) -> None:
    moment = draws.between(0.3, 1.5)
    while moment < duration_s + 30.0:  # later ones stay out of sight behind the houses
        pace = draws.between(1.1, 1.6)
        z = camera_speed * moment + draws.between(9.0, 18.0)
        traffic.pedestrian(Mover(z, 0.0, -pace * moment + 0.3, pace, False, (0.3, 0.2)), draws)
        moment += draws.between(2.5, 7.0)


def _cycle(traffic: Traffic, draws: Draws, camera_speed: float, duration_s: float, reach: float) -> None:
    half = traffic.layout.road_half_width
    kerb = 2.0 if traffic.layout.parked[0] else 0.9
    z = draws.between(9.0, 16.0) if draws.chance(0.75) else draws.between(25.0, 50.0)
    while z < reach:
        speed = camera_speed * draws.between(0.55, 0.95)
        lateral = -half + kerb + draws.between(0.0, 0.5)
        traffic.bicyclist(Mover(z, speed, lateral, 0.0, False, (0.25, 0.7)), draws)
        z += draws.between(1.5, 4.0) if draws.chance(0.4) else draws.between(8.0, 25.0)
    draws = draws.child(1)
    z = draws.between(15.0, 40.0)
    while z < reach + _CYCLIST_MPS * duration_s:
        traffic.bicyclist(
            Mover(
                z, -draws.between(3.5, _CYCLIST_MPS), half - draws.between(0.8, 1.4), 0.0, False, (0.25, 0.7)
            ),
            draws,
        )
        z += draws.between(20.0, 50.0)
