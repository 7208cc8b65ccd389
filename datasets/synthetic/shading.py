"""Colours of the visible surfaces: textures anchored to the world, paint, windows, light, shadow and haze."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vssbench.datasets.synthetic.faces import Material
from vssbench.datasets.synthetic.noise import LAYERS, textures
from vssbench.datasets.synthetic.silhouettes import unit
from vssbench.datasets.synthetic.street import PAVEMENT_ROW, Layout
from vssbench.datasets.synthetic.traffic import Traffic
from vssbench.datasets.synthetic.visibility import CentreLine, View

Row = NDArray[np.float32]

_BLOCK = 8192
"""Pixels coloured at a time: their temporary arrays stay in the processor's cache (twice as fast as all at once)."""

_FBM, _BRICK, _SLABS, _FOLIAGE, _ASPHALT, _PLANKS, _STONE = range(len(LAYERS))


@dataclass
class Patch:
    """Pixels of one material: surface coordinates and everything needed to colour them."""

    u: Row
    """Metres in the face."""
    v: Row
    inverse_depth: Row
    pixel: NDArray[np.intp]
    """Flat pixel number."""
    face: NDArray[np.intp]
    area: Row
    """Ground area of a pixel on the surface, square metres."""
    parameters: NDArray[np.float32]
    """[12, N] of all faces."""
    focal_px: float

    def value(self, column: int) -> Row:
        """Parameter of each pixel's face."""
        return self.parameters[column].take(self.face, mode="clip")

    def colour(self, first: int = 0) -> list[Row]:
        """Three parameters in a row as red, green, blue."""
        return [self.value(first + i) for i in range(3)]

    def texture(
        self,
        layer: int | NDArray[np.intp],
        density: float | Row,
        du: Row | float = 0.0,
        dv: Row | float = 0.0,
    ) -> Row:
        """Band-limited texture minus one half; `density` in texels per metre."""
        d = density if isinstance(density, np.ndarray) else np.float32(density)
        value = textures().sample(layer, self.u * d + du, self.v * d + dv, self.area * (d * d))
        value -= np.float32(0.5)
        return value

    def pixel_metres(self) -> Row:
        """Width of a pixel across the line of sight, metres."""
        return np.divide(np.float32(1), self.inverse_depth * np.float32(self.focal_px))


@dataclass(frozen=True)
class Scene:
    """What shading needs to know beyond the view."""

    layout: Layout
    line: CentreLine
    traffic: Traffic


def shade(view: View, scene: Scene, time_s: float) -> NDArray[np.float32]:
    """[3, H, W] light in 0..1 before exposure and sensor noise."""
    height, width = view.camera.size
    count = height * width
    pixel = np.concatenate([np.arange(count), view.mixed])
    face = np.concatenate([view.surface.ravel(), view.second])
    colours = np.empty((3, len(pixel)), np.float32)
    ground_light = _ground_light(view, scene, time_s)
    tables = _Tables(view)
    material = view.faces.material.take(face, mode="clip")
    for kind in Material:
        chosen = np.flatnonzero(material == kind)
        unbounded = kind in (Material.SKY, Material.GROUND)
        for start in range(0, len(chosen), _BLOCK):
            block = chosen[start : start + _BLOCK]
            patch = tables.patch(pixel.take(block, mode="clip"), face.take(block, mode="clip"), unbounded)
            if kind is Material.GROUND:
                rows = _ground(patch, view, scene, ground_light)
            else:
                rows = _PAINTERS[kind](patch)
            if kind is not Material.SKY:
                _haze(rows, patch, scene.layout)
            for channel in range(3):
                colours[channel][block] = rows[channel]
    own = colours[:, view.mixed]
    result = colours[:, :count]
    result[:, view.mixed] = own + (colours[:, count:] - own) * view.second_share
    return result.reshape(3, height, width)


@lru_cache(maxsize=4)
def _coordinates(size: tuple[int, int]) -> tuple[Row, Row]:
    """Column and line of every flat pixel number."""
    height, width = size
    columns, lines = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    return np.tile(columns, height), np.repeat(lines, width)


class _Tables:
    """Per-face numbers as contiguous columns, for quick lookups."""

    def __init__(self, view: View) -> None:
        self.x, self.y = _coordinates(view.camera.size)
        self.focal_px = view.camera.focal_px
        self.planes = np.ascontiguousarray(view.from_pixel.reshape(-1, 9).T.astype(np.float32))
        self.parameters = np.ascontiguousarray(view.faces.parameters.T)
        self.distance = view.plane_distance

    def patch(self, pixel: NDArray[np.intp], face: NDArray[np.intp], one_plane: bool) -> Patch:
        """Surface coordinates of the given pixels on the given faces, which all lie in one plane if so told."""
        x = self.x.take(pixel, mode="clip")
        y = self.y.take(pixel, mode="clip")

        def affine(first: int) -> Row:
            if one_plane:
                a, b, c = self.planes[first : first + 3, face[0]]
                return a * x + b * y + c
            total = self.planes[first].take(face, mode="clip")
            total *= x
            part = self.planes[first + 1].take(face, mode="clip")
            part *= y
            total += part
            total += self.planes[first + 2].take(face, mode="clip")
            return total

        inverse_depth = np.maximum(affine(6), np.float32(1e-5))
        depth: Row = np.divide(np.float32(1), inverse_depth)
        u = affine(0)
        u *= depth
        v = affine(3)
        v *= depth
        # geometric mean of the footprint across and along the line of sight, squared, slightly widened
        area: Row = depth * depth
        area *= depth
        area *= np.float32(1.6 / self.focal_px**2)
        area /= self.distance.take(face, mode="clip")
        return Patch(u, v, inverse_depth, pixel, face, area, self.parameters, self.focal_px)


def _haze(rows: list[Row], patch: Patch, layout: Layout) -> None:
    amount = 1 / (1 + patch.inverse_depth * np.float32(420.0))
    for channel in range(3):
        rows[channel] += (np.float32(layout.sky[0][channel] * 0.92) - rows[channel]) * amount


def _soft(signed: Row, width: Row) -> Row:
    """0 outside, 1 inside, linear over one pixel width around signed = 0."""
    return unit(signed / width + np.float32(0.5))


def _blend(rows: list[Row], colour: tuple[float, float, float], amount: Row) -> None:
    for channel in range(3):
        rows[channel] += (np.float32(colour[channel]) - rows[channel]) * amount


def _sky(patch: Patch) -> list[Row]:
    rise = np.clip(patch.inverse_depth * np.float32(1.5), 0, 1)
    far = np.clip(patch.inverse_depth * np.float32(6.0) - np.float32(0.15), 0, 1)
    d = np.float32(26.0)
    u, v = np.clip(patch.u, -30, 30) * d, np.clip(patch.v, -30, 30) * d
    cloud = textures().sample(_FBM, u, v, patch.area * (d * d))
    cloud = (
        np.clip((cloud - np.float32(0.5)) * np.float32(3.0) + np.float32(0.2), 0, 1) * far * patch.value(6)
    )
    low, high = patch.colour(), patch.colour(3)
    rows = [a + (b - a) * rise for a, b in zip(low, high, strict=True)]
    _blend(rows, (0.93, 0.94, 0.95), cloud)
    return rows


def _ground(patch: Patch, view: View, scene: Scene, light: Row) -> list[Row]:
    """Asphalt and slabs with markings, in the shadow of houses and movers."""
    layout = scene.layout
    lateral = view.lateral.ravel().take(patch.pixel, mode="clip")
    away = np.abs(lateral)
    metres = patch.pixel_metres()
    pavement = patch.face == PAVEMENT_ROW
    coarse = patch.texture(_FBM, 7.0)
    fine = patch.texture(
        _ASPHALT + (_SLABS - _ASPHALT) * pavement, np.float32(70.0) + np.float32(40.0) * pavement
    )
    tone = 1 + np.float32(0.65) * fine + np.float32(0.24) * coarse
    on_pavement = _soft(away - np.float32(layout.road_half_width), metres)
    rows = [
        (np.float32(a) + np.float32(b - a) * on_pavement) * tone
        for a, b in zip((0.31, 0.31, 0.32), (0.45, 0.43, 0.41), strict=True)
    ]
    _markings(rows, away, patch, metres, fine, np.float32(layout.road_half_width))
    factor = light.ravel().take(patch.pixel, mode="clip")
    if layout.sun_side:
        place, share = scene.line.rows(patch.v)
        reach = scene.line.shadow.take(place, mode="clip")
        reach = reach + (scene.line.shadow.take(place + 1, mode="clip") - reach) * share
        shaded = unit((reach + np.float32(layout.sun_side) * lateral) * np.float32(1.2) + np.float32(0.5))
        factor = factor * (np.float32(1.12) - np.float32(0.55) * shaded)
    for row in rows:
        row *= factor
    return rows


def _markings(rows: list[Row], away: Row, patch: Patch, metres: Row, fine: Row, half: np.float32) -> None:
    """Centre line, yellow lines, kerb stones and gutter, painted where they are."""
    near = np.flatnonzero(
        (away < np.float32(0.1) + metres) | (np.abs(away - half) < np.float32(0.4) + metres)
    )
    if len(near) == 0:
        return
    part = [row.take(near, mode="clip") for row in rows]
    away, metres, fine, along, area = (
        values.take(near, mode="clip") for values in (away, metres, fine, patch.v, patch.area)
    )
    worn = unit(np.float32(0.8) + np.float32(1.2) * fine)
    phase = along - np.floor(along * np.float32(1 / 6)) * 6 - 3
    dash = _soft(np.float32(1.0) - np.abs(phase), np.sqrt(area))
    for colour, place, width, strength in (
        ((0.78, 0.78, 0.76), away, 0.07, dash * worn),
        ((0.66, 0.56, 0.28), away - half + np.float32(0.28), 0.05, worn),
        ((0.56, 0.55, 0.53), away - half - np.float32(0.09), 0.08, np.float32(0.8)),
        ((0.10, 0.10, 0.10), away - half + np.float32(0.03), 0.04, np.float32(0.7)),
    ):
        _blend(part, colour, _soft(np.float32(width) - np.abs(place), metres) * strength)
    for row, painted in zip(rows, part, strict=True):
        row[near] = painted


def _ground_light(view: View, scene: Scene, time_s: float) -> NDArray[np.float32]:
    """[H, W] factor of the soft shadow below every mover."""
    height, width = view.camera.size
    light = np.ones((height, width), np.float32)
    a = view.from_pixel[PAVEMENT_ROW].astype(np.float32)
    poses = scene.traffic.poses(time_s)
    depth = np.array(view.camera.position)
    for mover, (x, z, c, s) in zip(scene.traffic.movers, poses.tolist(), strict=True):
        ahead = z - float(depth[2])
        if not 1.0 < ahead < 50.0:
            continue
        box = _shadow_box(view, x, z, mover.shadow)
        if box is None:
            continue
        x0, y0, x1, y1 = box
        px = np.arange(x0, x1, dtype=np.float32)[None, :]
        py = np.arange(y0, y1, dtype=np.float32)[:, None]
        q = np.maximum(a[2, 0] * px + a[2, 2] + a[2, 1] * py, np.float32(1e-4))
        right = (a[0, 0] * px + a[0, 2] + a[0, 1] * py) / q - np.float32(x)
        along = (a[1, 0] * px + a[1, 2] + a[1, 1] * py) / q - np.float32(z)
        u = (right * np.float32(c) - along * np.float32(s)) * np.float32(1 / (mover.shadow[0] + 0.25))
        v = (right * np.float32(s) + along * np.float32(c)) * np.float32(1 / (mover.shadow[1] + 0.25))
        depth_of = np.clip((1 - np.maximum(np.abs(u), np.abs(v))) * np.float32(3.5), 0, 1)
        light[y0:y1, x0:x1] *= 1 - np.float32(0.62) * depth_of
    return light


def _shadow_box(
    view: View, x: float, z: float, half: tuple[float, float]
) -> tuple[int, int, int, int] | None:
    """Pixel box around a mover's shadow, or None outside the image."""
    height, width = view.camera.size
    reach = half[0] + half[1] + 0.4
    matrix = view.to_pixel[PAVEMENT_ROW]
    points = []
    for u, v in (
        (x - reach, z - reach),
        (x + reach, z - reach),
        (x - reach, z + reach),
        (x + reach, z + reach),
    ):
        w = matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2]
        w = max(float(w), 0.5)
        points.append(
            (
                (matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2]) / w,
                (matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2]) / w,
            )
        )
    x0, x1 = (min(max(int(f(p[0] for p in points)), 0), width) for f in (min, max))
    y0, y1 = (min(max(int(f(p[1] for p in points)), 0), height) for f in (min, max))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _facade(patch: Patch) -> list[Row]:
    """Parameters: 0-2 wall, 3-5 shop front, 6 bay width m, 7 storey height m, 8 seed, 9 shop, 10 texture, 11 window."""
    u, v = patch.u, patch.v
    seed = patch.value(8)
    fine = patch.texture(patch.value(10).astype(np.intp), 115.0)
    coarse = patch.texture(_FBM, 9.0, seed * 3)
    tone = 1 + np.float32(0.7) * fine + np.float32(0.6) * coarse
    rows = [colour * tone for colour in patch.colour()]
    bay, storey = patch.value(6), patch.value(7)
    metres = np.sqrt(patch.area)
    column, floor = np.floor(u / bay), np.floor(v / storey)
    across = np.abs(u - (column + np.float32(0.5)) * bay)
    up = np.abs(v - (floor + np.float32(0.55)) * storey)
    wide = patch.value(11) * bay * np.float32(0.5)
    tall = storey * np.float32(0.29)
    shop = (patch.value(9) > 0) & (floor < 1)
    wide = np.where(shop, bay * np.float32(0.44), wide)
    up = np.where(shop, np.abs(v - np.float32(1.35)), up)
    tall = np.where(shop, np.float32(1.0), tall)
    signed = np.minimum(wide - across, tall - up)
    room = textures().pick(_FBM, column * 37 + seed * 5, floor * 53 + seed)
    glass = np.clip(
        (room - np.float32(0.42)) * np.float32(1.4) + np.float32(0.10), np.float32(0.04), np.float32(0.6)
    )
    frame = _soft(signed + np.float32(0.09), metres)
    _blend(rows, (0.62, 0.61, 0.58), frame * np.float32(0.7) * ~shop)
    for channel, second in enumerate(patch.colour(3)):
        band = shop * np.float32(0.9)
        rows[channel] += (second * (1 + coarse) - rows[channel]) * band
    inner = _soft(signed, metres)
    for channel, bluish in enumerate((0.95, 1.0, 1.08)):
        rows[channel] += (glass * np.float32(bluish) * (1 + np.float32(0.8) * coarse) - rows[channel]) * inner
    foot = np.float32(0.72) + np.float32(0.28) * np.clip(v * np.float32(0.4), 0, 1)
    for row in rows:
        row *= foot
    return rows


def _plain(patch: Patch) -> list[Row]:
    """Parameters: 0-2 colour, 6 texture layer, 7 texels per metre, 8 contrast, 11 texture offset."""
    grain = patch.texture(patch.value(6).astype(np.intp), patch.value(7), patch.value(11))
    tone = 1 + grain * patch.value(8)
    return [colour * tone for colour in patch.colour()]


def _foliage(patch: Patch) -> list[Row]:
    """Parameters: 0-2 colour, 6-7 texture offset, 8 bareness."""
    fine = patch.texture(_FOLIAGE, 60.0, patch.value(6), patch.value(7))
    clumps = patch.texture(_FOLIAGE, 24.0, patch.value(6), patch.value(7))
    tone = np.clip(np.float32(0.85) + np.float32(1.5) * fine + np.float32(1.1) * clumps, np.float32(0.15), 2)
    return [colour * tone for colour in patch.colour()]


def _fence(patch: Patch) -> list[Row]:
    """Parameters: 0-2 colour, 3-5 hedge, 6 kind (0 planks, 1 railings before a hedge, 2 hedge), 7 offset m, 8 height."""
    kind = patch.value(6)
    offset = patch.value(7)
    u = patch.u + offset
    leaves = patch.texture(_FOLIAGE, 64.0, offset * 64)
    planks = patch.texture(_PLANKS, 120.0, offset * 120)
    rows = [c * (np.float32(0.8) + np.float32(1.5) * leaves) for c in patch.colour(3)]
    rail = np.abs(u * np.float32(7.0) - np.floor(u * np.float32(7.0)) - np.float32(0.5)) * np.float32(1 / 7)
    bar = _soft(np.float32(0.02) - rail, np.sqrt(patch.area))
    top = patch.value(8)
    beam = _soft(
        np.float32(0.03)
        - np.minimum(np.abs(patch.v - top + np.float32(0.1)), np.abs(patch.v - np.float32(0.2))),
        patch.pixel_metres(),
    )
    wood = (kind == 0).astype(np.float32)
    cover = np.maximum(wood, (kind == 1) * np.maximum(bar, beam))
    tone = 1 + np.float32(1.1) * planks * wood
    for channel, colour in enumerate(patch.colour()):
        rows[channel] += (colour * tone - rows[channel]) * cover
    return rows


def _car_side(patch: Patch) -> list[Row]:
    """Parameters: 0-2 paint, 6 half length."""
    u, v, half = patch.u, patch.v, patch.value(6)
    metres = patch.pixel_metres()
    rows = [c * (np.float32(0.72) + np.float32(0.4) * v) for c in patch.colour()]
    _blend(rows, (0.05, 0.05, 0.05), _soft(np.float32(0.26) - v, metres))
    for place in (np.float32(-0.62), np.float32(0.6)):
        radius = np.sqrt((u - place * half) ** 2 + (v - np.float32(0.31)) ** 2)
        _blend(rows, (0.04, 0.04, 0.045), _soft(np.float32(0.33) - radius, metres))
        _blend(rows, (0.42, 0.42, 0.43), _soft(np.float32(0.19) - radius, metres))
    _blend(rows, (0.04, 0.04, 0.04), _soft(np.float32(0.015) - np.abs(u), metres) * np.float32(0.6))
    return rows


def _car_end(patch: Patch) -> list[Row]:
    """Parameters: 0-2 paint, 3-5 lamps, 6 half width, 7 height of the waist."""
    u, v = np.abs(patch.u), patch.v
    metres = patch.pixel_metres()
    half, waist = patch.value(6), patch.value(7)
    rows = [c * (np.float32(0.7) + np.float32(0.45) * v) for c in patch.colour()]
    _blend(rows, (0.06, 0.06, 0.06), _soft(np.float32(0.4) - v, metres) * np.float32(0.8))
    lamp = np.minimum(
        np.float32(0.16) - np.abs(u - half + np.float32(0.2)),
        np.float32(0.08) - np.abs(v - waist + np.float32(0.16)),
    )
    amount = _soft(lamp, metres)
    for channel, colour in enumerate(patch.colour(3)):
        rows[channel] += (colour - rows[channel]) * amount
    plate = np.minimum(np.float32(0.26) - u, np.float32(0.055) - np.abs(v - np.float32(0.52)))
    _blend(rows, (0.78, 0.74, 0.5), _soft(plate, metres))
    return rows


def _car_glass(patch: Patch) -> list[Row]:
    """Parameters: 0-2 glass, 3-5 paint of the frame, 6 half width, 7 height, 8 taper m per m."""
    u, v = np.abs(patch.u), patch.v
    half, top = patch.value(6), patch.value(7)
    rows = [c * np.float32(1.0) for c in patch.colour(3)]
    inside = np.minimum(half - u - patch.value(8) * v, np.minimum(v, top - v)) - np.float32(0.08)
    inside = np.minimum(inside, np.where(patch.value(8) > 0, u - np.float32(0.04), inside))
    amount = _soft(inside, patch.pixel_metres())
    shine = (
        np.float32(0.7)
        + np.float32(1.6) * np.clip(v / top, 0, 1)
        + np.float32(1.5) * patch.texture(_FBM, 40.0)
    )
    for channel, colour in enumerate(patch.colour()):
        rows[channel] += (colour * shine - rows[channel]) * amount
    return rows


def _person(patch: Patch) -> list[Row]:
    """Parameters: 0-2 coat, 3-5 skin, 6 height above the hip, 7 texture offset."""
    metres = patch.pixel_metres()
    top = patch.value(6)
    tone = 1 + np.float32(0.9) * patch.texture(_FBM, 70.0, patch.value(7))
    tone *= 1 - np.float32(0.9) * np.abs(patch.u)
    rows = [c * tone for c in patch.colour()]
    head = _soft(patch.v - top + np.float32(0.24), metres)
    for channel, colour in enumerate(patch.colour(3)):
        rows[channel] += (colour - rows[channel]) * head
    _blend(rows, (0.14, 0.10, 0.08), _soft(patch.v - top + np.float32(0.09), metres))
    return rows


def _cyclist(patch: Patch) -> list[Row]:
    """Parameters: 0-2 coat, 3-5 skin, 6 texture offset."""
    metres = patch.pixel_metres()
    tone = (1 + np.float32(0.9) * patch.texture(_FBM, 70.0, patch.value(6))) * (1 - np.abs(patch.u))
    rows = [c * tone for c in patch.colour()]
    head = _soft(patch.v - np.float32(1.47), metres)
    for channel, colour in enumerate(patch.colour(3)):
        rows[channel] += (colour - rows[channel]) * head
    _blend(rows, (0.12, 0.12, 0.13), _soft(patch.v - np.float32(1.64), metres))
    _blend(rows, (0.06, 0.06, 0.065), _soft(np.float32(0.82) - patch.v, metres))
    _blend(
        rows,
        (0.65, 0.08, 0.06),
        _soft(np.float32(0.05) - np.maximum(np.abs(patch.u), np.abs(patch.v - np.float32(0.76))), metres),
    )
    return rows


def _sign(patch: Patch) -> list[Row]:
    """Parameters: 0-2 border, 3-5 field, 6 shape, 7 half width, 8 half height, 9 seed."""
    metres = patch.pixel_metres()
    u, v = patch.u, patch.v
    wide, tall = patch.value(7), patch.value(8)
    radius = np.where(
        patch.value(6) == 1, np.sqrt(u * u + v * v) / tall, np.maximum(np.abs(u) / wide, np.abs(v) / tall)
    )
    inner = _soft((np.float32(0.76) - radius) * tall, metres)
    rows = patch.colour()
    for channel, colour in enumerate(patch.colour(3)):
        rows[channel] += (colour - rows[channel]) * inner
    glyph = textures().sample(
        _FBM,
        u * np.float32(90) + patch.value(9),
        v * np.float32(90),
        patch.area * np.float32(8100.0),
    )
    _blend(rows, (0.08, 0.08, 0.09), np.clip((glyph - np.float32(0.56)) * 9, 0, 1) * inner * np.float32(0.85))
    return rows


def _lamps(patch: Patch) -> list[Row]:
    """Parameters: 0-2 housing, 6 which lamp is lit (0 red, 1 green)."""
    metres = patch.pixel_metres()
    rows = patch.colour()
    lit = patch.value(6)
    for number, colour in enumerate(((0.95, 0.16, 0.10), (0.9, 0.6, 0.1), (0.15, 0.9, 0.45))):
        height = np.float32(0.85 - 0.32 * number)
        radius = np.sqrt(patch.u**2 + (patch.v - height) ** 2)
        bright = (lit == (0 if number == 0 else 1)) if number != 1 else np.zeros(len(lit), np.bool_)
        amount = _soft(np.float32(0.12) - radius, metres) * np.where(bright, np.float32(1), np.float32(0.2))
        _blend(rows, colour, amount)
    return rows


_PAINTERS = {
    Material.SKY: _sky,
    Material.FACADE: _facade,
    Material.PLAIN: _plain,
    Material.FOLIAGE: _foliage,
    Material.FENCE: _fence,
    Material.CAR_SIDE: _car_side,
    Material.CAR_END: _car_end,
    Material.CAR_GLASS: _car_glass,
    Material.PERSON: _person,
    Material.CYCLIST: _cyclist,
    Material.SIGN: _sign,
    Material.LAMPS: _lamps,
}
