"""Sources handed to a native parser piece by piece, and its pictures turned into records."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any, Final, Literal

import numpy as np

from vssbench.codec.bits.container import ParsedCodec, is_container, read_units
from vssbench.errors import BitstreamError, InputError
from vssbench.records import BlockDetails, MotionField

__all__ = ["Parser", "Session", "Source"]

Source = bytes | str | PathLike[str]

_CHUNK_BYTES: Final = 1 << 18
_FRAME_TYPES: Final[tuple[Literal["B", "P", "I"], ...]] = ("B", "P", "I")
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parser:
    """One codec's native parser and what its records need."""

    codec: ParsedCodec
    decoder: Callable[..., Any]
    """Native class: (threads, strict, details) -> decoder."""
    nal_names: dict[int, str]
    upper_layers: str
    """What NAL units of layers or views that were passed over belong to."""
    details: Callable[[Any], BlockDetails]
    """Block details of a native picture."""
    extras: Callable[[Any], dict[str, Any]] = lambda picture: {}
    """Further fields of the record."""

    def session(self, name: str, *, strict: bool = True, threads: int = 1, details: bool = False) -> Session:
        """A parser that is fed from outside."""
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        return Session(self, name, self.decoder(threads=threads, strict=strict, details=details), details)

    def read(self, source: Source, strict: bool, threads: int, details: bool) -> Iterator[MotionField]:
        """Records in display order; see the parsers' `read_motion`."""
        name = "<bytes>" if isinstance(source, bytes) else fspath(source)
        session = self.session(name, strict=strict, threads=threads, details=details)
        for _ in self._feed(session.decoder, source, strict):
            yield from session.fields()
        yield from session.finish()

    def _feed(self, decoder: Any, source: Source, strict: bool) -> Iterator[None]:
        """Hand the source to the decoder piece by piece."""
        if isinstance(source, bytes):
            if is_container(source[:512]):
                yield from self._feed_units(decoder, source, strict)
                return
            view = memoryview(source)
            for begin in range(0, len(source), _CHUNK_BYTES):
                decoder.push(bytes(view[begin : begin + _CHUNK_BYTES]))
                yield
            return
        try:
            with open(source, "rb") as file:
                chunk = file.read(512)
                if is_container(chunk):
                    yield from self._feed_units(decoder, source, strict)
                    return
                while chunk:
                    decoder.push(chunk)
                    yield
                    chunk = file.read(_CHUNK_BYTES)
        except OSError as error:
            raise InputError(f"{fspath(source)} cannot be read: {error.strerror or error}") from error

    def _feed_units(self, decoder: Any, source: Source, strict: bool) -> Iterator[None]:
        for unit, offset in read_units(source, self.codec, strict=strict):
            decoder.push_unit(unit, offset)
            yield

    def describe(self, name: str, message: str, offset: int, nal_type: int) -> str:
        """A defect and where it is."""
        unit = "" if nal_type < 0 else f", {self.nal_names.get(nal_type, 'NAL unit')} of type {nal_type}"
        return f"{name}: byte {offset}{unit}: {message}"


@dataclass(frozen=True)
class Session:
    """One stream on its way through a parser."""

    parser: Parser
    name: str
    decoder: Any
    details: bool

    def push(self, units: Iterable[tuple[bytes, int]]) -> None:
        """Take NAL units and their byte offsets in the file."""
        for unit, offset in units:
            self.decoder.push_unit(unit, offset)

    def fields(self) -> Iterator[MotionField]:
        """Records that are ready, in display order. Raises BitstreamError at a defect, if strict."""
        while (picture := self.decoder.next()) is not None:
            yield self._to_field(picture)
        if self.decoder.failure is not None:
            message, offset, nal_type = self.decoder.failure
            raise BitstreamError(
                f"{self.parser.describe(self.name, message, offset, nal_type)}. Repair or re-encode the file, or pass "
                "strict=False to keep what can be read",
                byte_offset=offset,
                nal_type=None if nal_type < 0 else nal_type,
            )

    def finish(self) -> Iterator[MotionField]:
        """No more units will come: the records that are left; what was passed over is logged."""
        self.decoder.finish()
        yield from self.fields()
        for message, offset, nal_type in self.decoder.issues:
            _LOG.warning("%s", self.parser.describe(self.name, message, offset, nal_type))
        if self.decoder.upper_layer_units:
            _LOG.warning(
                "%s: %s: %d NAL units of layers above 0 were passed over; the motion is the base layer's",
                self.name,
                self.parser.upper_layers,
                self.decoder.upper_layer_units,
            )

    def _to_field(self, picture: Any) -> MotionField:
        # Any: the stub cannot tell the element types of the arrays; MotionField checks them
        left, top, width, height = picture.crop
        lost = picture.lost
        return MotionField(
            poc=picture.poc,
            frame_type=_FRAME_TYPES[picture.slice_type],
            size=(height, width),
            vectors_qpel=picture.vectors,
            reference_poc=picture.reference_poc,
            mode=picture.mode,
            crop_left_top=(left, top),
            coded_sequence=picture.coded_sequence,
            decode_order=picture.decode_order,
            decode_index=picture.decode_index,
            coded_bits=8 * picture.coded_bytes,
            details=self.parser.details(picture) if self.details else None,
            lost=None if lost is None else lost.view(np.bool_),
            unreliable=picture.unreliable,
            **self.extras(picture),
        )
