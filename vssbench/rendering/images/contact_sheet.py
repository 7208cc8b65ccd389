"""Contact sheets: frames of a sequence beside their labels and motion, in one picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vssbench.records import ClassTable, FlowField

Rgb = NDArray[np.uint8]

_GAP_PX = 4
_LINE_PX = 16


@dataclass(frozen=True, eq=False)
class SheetRow:
    """One frame of a sheet."""

    caption: str
    image: Rgb
    """uint8 [H, W, 3]."""
    label: NDArray[np.uint8] | None = None
    """uint8 [H, W] class indices, None where the frame has no label."""
    flow: FlowField | None = None


def label_overlay(image: Rgb, label: NDArray[np.uint8], classes: ClassTable, opacity: float = 0.6) -> Rgb:
    """Class colours [H, W, 3] over a frame; ignored pixels are hatched black and white."""
    colours = np.zeros((256, 3), np.float32)
    colours[: len(classes)] = classes.palette
    mixed = colours[label] * np.float32(opacity) + image.astype(np.float32) * np.float32(1 - opacity)
    rows, columns = np.indices(label.shape)
    hatch = np.where((rows + columns) // 3 % 2 == 0, 255, 0)
    known = label < len(classes)
    result: Rgb = np.where(known[..., None], np.rint(mixed), hatch[..., None]).astype(np.uint8)
    return result


def flow_picture(flow: FlowField, full_px: float | None = None) -> Rgb:
    """Motion as colours [H, W, 3]: hue is the direction, saturation the length up to `full_px`, black is not valid.

    `full_px` defaults to the length that 95 % of the valid pixels stay below.
    """
    length = np.hypot(flow.flow[0], flow.flow[1])
    if full_px is None:
        full_px = float(np.quantile(length[flow.valid], 0.95)) if flow.valid.any() else 1.0
    hue = (np.arctan2(flow.flow[1], flow.flow[0]) / (2 * np.pi) % 1.0) * 255
    saturation = np.minimum(length / max(full_px, 1e-3), 1.0) * 255
    layers = [hue.astype(np.uint8), saturation.astype(np.uint8), np.full(length.shape, 255, np.uint8)]
    picture = np.array(Image.merge("HSV", [Image.fromarray(layer) for layer in layers]).convert("RGB"))
    picture[~flow.valid] = 0
    return picture


def contact_sheet(rows: list[SheetRow], classes: ClassTable, width_px: int = 480) -> Rgb:
    """All rows below one another: frame, labels over the frame, motion to the previous frame; then the class colours.

    `width_px` is the width of each picture. Columns that no row fills are left out.
    """
    with_label = any(row.label is not None for row in rows)
    with_flow = any(row.flow is not None for row in rows)
    columns = 1 + with_label + with_flow
    lines = [_row(row, classes, width_px, with_label, with_flow) for row in rows]
    total_width = columns * width_px + (columns - 1) * _GAP_PX
    legend = _legend(classes, total_width)
    height = sum(line.height for line in lines) + legend.height
    sheet = Image.new("RGB", (total_width, height), "white")
    top = 0
    for part in [*lines, legend]:
        sheet.paste(part, (0, top))
        top += part.height
    return np.array(sheet)


def _row(row: SheetRow, classes: ClassTable, width_px: int, with_label: bool, with_flow: bool) -> Image.Image:
    pictures: list[Rgb | None] = [row.image]
    if with_label:
        pictures.append(None if row.label is None else label_overlay(row.image, row.label, classes))
    if with_flow:
        pictures.append(None if row.flow is None else flow_picture(row.flow))
    height = max(1, round(row.image.shape[0] * width_px / row.image.shape[1]))
    line = Image.new("RGB", (len(pictures) * (width_px + _GAP_PX), height + _LINE_PX + _GAP_PX), "white")
    ImageDraw.Draw(line).text((2, 2), row.caption, fill="black")
    for column, picture in enumerate(pictures):
        if picture is not None:
            scaled = Image.fromarray(picture).resize((width_px, height), Image.Resampling.BILINEAR)
            line.paste(scaled, (column * (width_px + _GAP_PX), _LINE_PX))
    return line


def _legend(classes: ClassTable, width_px: int) -> Image.Image:
    cell = 130
    per_line = max(1, width_px // cell)
    legend = Image.new("RGB", (width_px, -(-len(classes) // per_line) * _LINE_PX + _GAP_PX), "white")
    draw = ImageDraw.Draw(legend)
    for index, (name, colour) in enumerate(zip(classes.names, classes.palette, strict=True)):
        x, y = index % per_line * cell, index // per_line * _LINE_PX + _GAP_PX
        draw.rectangle((x, y, x + 12, y + 11), fill=colour, outline="black")
        draw.text((x + 17, y), name, fill="black")
    return legend
