"""One drive along a procedural street, rendered frame by frame on demand."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vssbench.dataset import VideoSequence
from vssbench.datasets.synthetic.geometry import Camera, product
from vssbench.datasets.synthetic.noise import Draws, hash_grid, wobble
from vssbench.datasets.synthetic.shading import Scene, shade
from vssbench.datasets.synthetic.street import VIEW_M, StreetBuilder, draw_layout, shadow_reach
from vssbench.datasets.synthetic.traffic import populate
from vssbench.datasets.synthetic.visibility import CentreLine, View, render_view
from vssbench.errors import InputError
from vssbench.records import FlowField

GENERATOR_VERSION = 3
"""Raise with every change that alters a pixel: it keys the caches."""

_BEHIND_M = 24.0
_DISTRICT_M = 400.0
_TABLE_STEP_M = 0.5
_NOISE_SIDE = 512
_BLOCK_PX = 12000
"""Pixels worked on at a time, see visibility.py."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Drive:
    """How the camera moves, drawn once per sequence."""

    speed: float
    lateral: float
    height: float
    shake: float
    seed: int
    exposure: float


class _Recent:
    """The last few computed values; safe under threads."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._values: OrderedDict[int, object] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, index: int, compute: Callable[[int], Value]) -> Value:
        """The kept value, or the computed one, which is then kept in place of the oldest."""
        with self._lock:
            if index not in self._values:
                self._values[index] = compute(index)
            self._values.move_to_end(index)
            while len(self._values) > self._capacity:
                self._values.popitem(last=False)
            return self._values[index]  # type: ignore[return-value]


class StreetSequence(VideoSequence):
    """Frames, labels and motion of one procedural drive; any frame can be asked for without those before it.

    size (H, W) in pixels, `motion` scales everything the camera does (0 stands still), `noise` is the standard
    deviation of the sensor noise in grey levels. Rendering happens once per index while it stays among the last few.
    """

    def __init__(
        self,
        name: str,
        seed: int,
        frames: int,
        size: tuple[int, int],
        frame_rate_hz: float,
        noise: float,
        motion: float,
        traffic: bool,
    ) -> None:
        self.name, self.frame_rate_hz, self.size = name, frame_rate_hz, size
        self._seed, self._frames, self._noise, self._motion, self._with_traffic = (
            seed,
            frames,
            noise,
            motion,
            traffic,
        )
        self._scene: Scene | None = None
        self._views = _Recent(3)
        self._images = _Recent(2)
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return self._frames

    @property
    def labelled(self) -> Sequence[int]:
        """All frames."""
        return range(self._frames)

    @property
    def identity(self) -> str:
        """Generator version, seed and everything that changes a pixel."""
        return (
            f"synthetic-street v{GENERATOR_VERSION} seed={self._seed} frames={self._frames} size={self.size[0]}x"
            f"{self.size[1]} rate={self.frame_rate_hz:g} noise={self._noise:g} motion={self._motion:g} "
            f"traffic={int(self._with_traffic)}"
        )

    def label_files(self) -> Sequence[Path]:
        """None: labels come from the generator too."""
        return ()

    def image(self, index: int) -> NDArray[np.uint8]:
        """RGB frame uint8 [H, W, 3]. Raises InputError outside 0..len-1."""
        return self._images.get(self._checked(index), self._render)

    def label(self, index: int) -> NDArray[np.uint8]:
        """Class index of every pixel, uint8 [H, W]; nothing is ignored."""
        view = self._view(self._checked(index))
        return view.faces.label.take(view.surface, mode="clip")

    def flow_to_previous(self, index: int) -> FlowField | None:
        """Exact motion of what each pixel shows towards frame index-1; None for frame 0.

        Valid where the same surface covers the pixel nearest to the place it came from.
        """
        if self._checked(index) == 0:
            return None
        return flow_between(self._view(index), self._view(index - 1))

    def _checked(self, index: int) -> int:
        if not 0 <= index < self._frames:
            raise InputError(f"sequence {self.name} has frames 0..{self._frames - 1}, asked for {index}")
        return index

    def _time(self, index: int) -> float:
        return index / self.frame_rate_hz

    def _view(self, index: int) -> View:
        return self._views.get(index, self._compute_view)

    def _compute_view(self, index: int) -> View:
        scene = self._open()
        time_s = self._time(index)
        faces = self._standing.joined(scene.traffic.table(time_s))
        return render_view(faces, self._camera(time_s), scene.line, scene.layout.road_half_width)

    def _open(self) -> Scene:
        with self._lock:
            if self._scene is None:
                self._scene = self._build()
            return self._scene

    def _build(self) -> Scene:
        draws = Draws(self._seed)
        layout = draw_layout(draws.child(1))
        motion = draws.child(2)
        self._drive = Drive(
            speed=motion.between(2.4, 5.0) * self._motion,
            lateral=-layout.road_half_width * motion.between(0.34, 0.44),
            height=motion.between(1.3, 1.6),
            shake=motion.between(0.6, 1.4) * self._motion,
            seed=motion.index(1 << 30),
            exposure=motion.between(0.78, 1.12),
        )
        duration = self._frames / self.frame_rate_hz
        # whole districts, so that a longer drive of the same seed begins with the same frames
        districts = (self._drive.speed * duration + VIEW_M) // _DISTRICT_M + 1
        stop = districts * _DISTRICT_M
        builder = StreetBuilder(layout, draws.child(3), -_BEHIND_M, stop)
        self._standing = builder.build().table()
        traffic = populate(
            layout, draws.child(4), self._drive.speed, duration, VIEW_M * 0.75, self._with_traffic
        )
        positions = np.arange(-_BEHIND_M - 10.0, stop + 300.0, _TABLE_STEP_M)
        frames = np.array([layout.course.frame(z)[:2] for z in positions.tolist()])
        line = CentreLine(
            float(positions[0]),
            _TABLE_STEP_M,
            frames[:, 0].astype(np.float32),
            frames[:, 1].astype(np.float32),
            shadow_reach(builder, positions),
        )
        self._noise_tile = _noise_tile(self._seed) * np.float32(self._noise / 255)
        return Scene(layout, line, traffic)

    def _camera(self, time_s: float) -> Camera:
        drive, course = self._drive, self._open().layout.course
        along = drive.speed * time_s
        swerve = 0.15 * drive.shake * wobble(drive.seed + 1, time_s, 0.5)
        x, z = course.place(along, drive.lateral + swerve)
        bounce = 0.012 * drive.shake * wobble(drive.seed + 2, time_s, 4.0)
        slope = course.slope(along)
        square = slope * slope
        heading = slope * (1 - square * (1 / 3 - square / 5))  # arc tangent of a small slope
        radians = 0.01745329252 * drive.shake
        yaw = heading + radians * (
            1.2 * wobble(drive.seed + 3, time_s, 0.6) + 0.10 * wobble(drive.seed + 4, time_s, 6.0)
        )
        pitch = radians * (
            0.30 * wobble(drive.seed + 5, time_s, 1.1) + 0.14 * wobble(drive.seed + 6, time_s, 7.0)
        )
        roll = radians * 0.25 * wobble(drive.seed + 7, time_s, 1.5)
        focal = 0.95 * max(self.size[1], self.size[0] * 4 / 3)
        return Camera.looking((x, -drive.height + bounce, z), yaw, pitch, roll, self.size, focal)

    def _render(self, index: int) -> NDArray[np.uint8]:
        view = self._view(index)
        scene = self._open()
        time_s = self._time(index)
        light = shade(view, scene, time_s)
        gain = 255.0 * self._drive.exposure * (1.0 + 0.05 * wobble(self._drive.seed + 8, time_s, 0.8))
        height, width = self.size
        result = np.empty((height, width, 3), np.uint8)
        noise = self._noise_at(index)
        for channel in range(3):
            plane = light[channel]
            plane *= np.float32(gain * scene.layout.tint[channel])
            plane += np.float32(0.5)
            if noise is not None:
                plane += noise
            np.clip(plane, 0, 255, out=plane)
            result[:, :, channel] = plane
        result.setflags(write=False)
        return result

    def _noise_at(self, index: int) -> NDArray[np.float32] | None:
        if self._noise == 0:
            return None
        height, width = self.size
        shift = Draws(self._seed, 77, index)
        rows = (np.arange(height) + shift.index(_NOISE_SIDE)) % _NOISE_SIDE
        columns = (np.arange(width) + shift.index(_NOISE_SIDE)) % _NOISE_SIDE
        return self._noise_tile[rows[:, None], columns[None, :]]


def _noise_tile(seed: int) -> NDArray[np.float32]:
    """[512, 512] noise of unit variance: the sum of four uniform draws."""
    total = np.zeros((_NOISE_SIDE, _NOISE_SIDE), np.float32)
    for part in range(4):
        total += hash_grid(seed * 8 + part, _NOISE_SIDE, _NOISE_SIDE)
    result: NDArray[np.float32] = (total - np.float32(2.0)) * np.float32(1.7320508075688772 * 255)
    return result


def flow_between(now: View, before: View) -> FlowField:
    """Motion of every pixel of `now` towards `before`, with where the same surface is seen there.

    A pixel shows the point (u, v) of its face; that point is projected with the earlier pose of the face into the
    earlier camera. The two maps multiply to one homography per face.
    """
    height, width = now.surface.shape
    seen = np.zeros(len(now.faces), np.bool_)
    seen[now.surface.ravel()] = True
    rows = np.flatnonzero(seen)
    moved = product(before.to_pixel[rows], now.from_pixel[rows])
    same = (before.to_pixel[rows] == now.to_pixel[rows]).all(axis=(1, 2))
    moved -= np.eye(3)
    moved[same] = 0.0
    table = np.zeros((9, len(seen)), np.float32)
    table[:, rows] = moved.reshape(-1, 9).T
    flow = np.empty((2, height, width), np.float32)
    valid = np.empty((height, width), np.bool_)
    lines = max(1, _BLOCK_PX // width)
    for top in range(0, height, lines):
        part = slice(top, min(top + lines, height))
        _flow_lines(table, now.surface, before.surface, part, flow, valid)
    return FlowField(flow, valid)


def _flow_lines(
    table: NDArray[np.float32],
    surface: NDArray[np.intp],
    surface_before: NDArray[np.intp],
    part: slice,
    flow: NDArray[np.float32],
    valid: NDArray[np.bool_],
) -> None:
    """Fill some lines of `flow` and `valid`; table [9, N] holds each face's homography less the identity."""
    height, width = surface.shape
    here = surface[part]
    x = np.arange(width, dtype=np.float32)[None, :]
    y = np.arange(part.start, part.stop, dtype=np.float32)[:, None]

    def affine(first: int) -> NDArray[np.float32]:
        total = table[first].take(here, mode="clip")
        total *= x
        other = table[first + 1].take(here, mode="clip")
        other *= y
        total += other
        total += table[first + 2].take(here, mode="clip")
        return total

    stretch = affine(6)
    depth = stretch + np.float32(1)
    ahead = depth > 1e-3
    np.copyto(depth, 1, where=~ahead)
    across, down = flow[0, part], flow[1, part]
    np.divide(affine(0) - x * stretch, depth, out=across)
    np.divide(affine(3) - y * stretch, depth, out=down)
    column, line = np.rint(x + across), np.rint(y + down)
    inside = ahead & (column >= 0) & (column < width) & (line >= 0) & (line < height)
    line *= inside
    column *= inside
    number = line.astype(np.intp) * width + column.astype(np.intp)
    np.logical_and(inside, surface_before.ravel().take(number, mode="clip") == here, out=valid[part])
