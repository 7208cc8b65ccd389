"""How a player turns the pictures of a file, applied to pixels and to motion alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vssbench.errors import CapabilityError
from vssbench.records import MotionField

_LARGEST_VECTOR = 2**15 - 1


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to lay a picture down: rows and columns exchanged first, then mirrored."""

    transposed: bool = False
    mirrored_x: bool = False
    mirrored_y: bool = False

    @staticmethod
    def of(picture: av.VideoFrame, name: str) -> Orientation:
        """Orientation that the picture's display matrix asks for; none means as stored.

        Raises CapabilityError for a matrix that does not turn by quarters.
        """
        data: Any = picture.side_data.get("DISPLAYMATRIX")
        if data is None:
            return Orientation()
        a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
        straight, across = bool(a and d), bool(b and c)
        if straight == across or (a or d if across else b or c):
            raise CapabilityError(
                f"{name}: its display matrix ({a / 65536:g} {b / 65536:g} {c / 65536:g} {d / 65536:g}) does not turn by quarters; "
                "expected 0, 90, 180 or 270 degrees, mirrored or not; read it as stored with orientation: stored"
            )
        to_x, to_y = (c, b) if across else (a, d)
        return Orientation(across, to_x < 0, to_y < 0)

    def __bool__(self) -> bool:
        """Whether anything is to be turned."""
        return self.transposed or self.mirrored_x or self.mirrored_y

    def __str__(self) -> str:
        """'turned by 90 degrees clockwise', 'mirrored left to right', ..."""
        turns = {
            (False, True, True): "turned by 180 degrees",
            (True, True, False): "turned by 90 degrees clockwise",
            (True, False, True): "turned by 90 degrees counterclockwise",
            (False, True, False): "mirrored left to right",
            (False, False, True): "mirrored top to bottom",
            (True, False, False): "mirrored and turned by 90 degrees counterclockwise",
            (True, True, True): "mirrored and turned by 90 degrees clockwise",
        }
        return turns.get((self.transposed, self.mirrored_x, self.mirrored_y), "as stored")

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(H, W) after turning."""
        return (width, height) if self.transposed else (height, width)

    def turn(self, array: NDArray[Any]) -> NDArray[Any]:
        """[H, W, ...] turned; contiguous."""
        if self.transposed:
            array = array.swapaxes(0, 1)
        return np.ascontiguousarray(array[:: -1 if self.mirrored_y else 1, :: -1 if self.mirrored_x else 1])

    def turn_motion(self, field: MotionField) -> MotionField:
        """The field of the turned picture: grid, vectors and window follow the pixels exactly.

        Raises CapabilityError for macroblocks of fields, whose lines have no place in a turned grid.
        """
        if not self:
            return field
        if field.field_macroblocks is not None:
            raise CapabilityError(
                f"picture {field.poc} has motion of interlaced fields, which cannot be {self}; read it as stored with "
                "orientation: stored"
            )
        vectors = self.turn(field.vectors_qpel)
        if self.transposed:
            vectors = vectors[..., ::-1]
        signs = np.array([-1 if self.mirrored_x else 1, -1 if self.mirrored_y else 1])
        vectors = np.minimum(vectors * signs, _LARGEST_VECTOR).astype(np.int16)  # -(-2**15) has no int16
        return replace(
            field,
            size=self.size(*field.size),
            vectors_qpel=np.ascontiguousarray(vectors),
            reference_poc=self.turn(field.reference_poc),
            mode=self.turn(field.mode),
            crop_left_top=self._window(field),
            lost=None if field.lost is None else self.turn(field.lost),
            reference_parity=None if field.reference_parity is None else self.turn(field.reference_parity),
        )

    def _window(self, field: MotionField) -> tuple[int, int]:
        (left, top), (height, width) = field.crop_left_top, field.size
        rows, columns = field.mode.shape
        right, bottom = columns * 4 - left - width, rows * 4 - top - height
        if self.transposed:
            left, top, right, bottom = top, left, bottom, right
        return (right if self.mirrored_x else left, bottom if self.mirrored_y else top)
