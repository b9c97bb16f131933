"""Encoded images of single lines to the pixels that the network sees, and its classes to text.

Takes JPEG and PNG files as bytes, or as base64 text for callers who send JSON. The size is read
from the header and checked before anything is decoded.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

DECODERS: dict[bytes, type[ImageFile]] = {
    b"\xff\xd8\xff": JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImageFile,
}
"""By a file's first bytes. Image.open would import every format's decoder within a request."""
WHITE = (255, 255, 255, 255)
MAX_PIXELS = 40_000_000
"""Per request, over all images, before they are scaled."""
HEIGHT = 48
MIN_WIDTH = 320
"""The network was trained on lines of this width, padded where they were shorter."""
WIDTH_STEP = 64
"""Every row of a run is as wide; steps let requests share one. A step of 320 costs up to 0.026 of a
line's confidence, this one 0.003 (the lines of golden.json, 2026-11-22)."""
MAX_ROW_WIDTH = 3200
MAX_RUN_WIDTH = 32 * MIN_WIDTH
"""Over all rows of a request, each as wide as the widest: the scores of 8 columns take 75 kB."""
MAX_IMAGES = MAX_RUN_WIDTH // MIN_WIDTH
"""More rows than these are wider than a run, whatever is on them."""
BLANK = 0
_LISTED = (Path(__file__).parent / "characters.txt").read_bytes().decode().split("\n")
CHARACTERS = np.array(["", *_LISTED, " "], dtype=object)
"""By class: the blank that separates, what the network knows by its own metadata, and the space."""


def preprocess(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """`image`: bytes, shape `(batch,)`, to `x`: float32, shape `(batch, 3, 48, width)`.

    The width is that of the widest line at a height of 48, at least 320 and in steps of 64; what
    lies right of a narrower one is zero.
    """
    files = inputs["image"]
    if len(files) > MAX_IMAGES:
        raise ValueError(f"{len(files)} images in one request; send at most {MAX_IMAGES}")
    images = [_open(file, index) for index, file in enumerate(files)]
    _refuse_sizes(images)
    widths = [math.ceil(HEIGHT * image.width / image.height) for image in images]
    width = WIDTH_STEP * math.ceil(max([MIN_WIDTH, *widths]) / WIDTH_STEP)
    _refuse_too_wide(widths, width)
    x = np.zeros((len(images), 3, HEIGHT, width), dtype=np.float32)
    for index, image in enumerate(images):
        line = _decode(image, index).resize((widths[index], HEIGHT), Image.Resampling.BILINEAR)
        x[index, :, :, : widths[index]] = _normalise(line)
    return {"x": x}


def postprocess(
    outputs: Mapping[str, NDArray[Any]], graph_inputs: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """`text`: object of str, shape `(batch,)`; `confidence`: float32, shape `(batch,)`."""
    del graph_inputs
    scores = outputs["fetch_name_0"]
    classes = scores.argmax(axis=2)
    best = np.take_along_axis(scores, classes[:, :, None], axis=2)[:, :, 0]
    text = np.empty(len(scores), dtype=object)
    confidence = np.zeros(len(scores), dtype=np.float32)
    for row, (path, sure) in enumerate(zip(classes, best, strict=True)):
        kept = path != BLANK
        kept[1:] &= path[1:] != path[:-1]
        text[row] = "".join(CHARACTERS[path[kept]])
        if kept.any():
            confidence[row] = sure[kept].mean()
    return {"text": text, "confidence": confidence}


def _refuse_sizes(images: list[Image.Image]) -> None:
    pixels = 0
    for index, image in enumerate(images):
        if not (image.width and image.height):
            raise ValueError(f"image[{index}] has no pixels")
        pixels += image.width * image.height
        if pixels > MAX_PIXELS:
            raise ValueError(
                f"image[{index}] of {image.width} x {image.height} brings the request to {pixels} "
                f"pixels; at most {MAX_PIXELS} are decoded"
            )


def _refuse_too_wide(widths: list[int], width: int) -> None:
    if width > MAX_ROW_WIDTH:
        index = widths.index(max(widths))
        raise ValueError(
            f"image[{index}] is {widths[index]} pixels wide at a height of {HEIGHT}; at most "
            f"{MAX_ROW_WIDTH} are read: cut the line"
        )
    if len(widths) * width > MAX_RUN_WIDTH:
        raise ValueError(
            f"{len(widths)} lines of up to {max(widths)} pixels at a height of {HEIGHT} are more "
            f"than one request may hold; send at most {MAX_RUN_WIDTH // width} of such a width"
        )


def _open(file: Any, index: int) -> Image.Image:
    """The image with its header read and its pixels not yet."""
    data = file.encode() if isinstance(file, str) else bytes(file)
    decoder = _decoder(data)
    if decoder is None:
        data = _from_base64(data, index)
        decoder = _decoder(data)
    if decoder is None:
        raise ValueError(f"image[{index}] is not a JPEG or PNG file")
    try:
        return decoder(io.BytesIO(data))
    except Exception as error:  # hostile bytes make decoders raise anything
        raise ValueError(f"image[{index}] is not a readable JPEG or PNG file") from error


def _decoder(data: bytes) -> type[ImageFile] | None:
    return next((found for start, found in DECODERS.items() if data.startswith(start)), None)


def _from_base64(data: bytes, index: int) -> bytes:
    try:
        return base64.b64decode(data.translate(None, b" \t\r\n"), validate=True)
    except binascii.Error as error:
        raise ValueError(
            f"image[{index}] is neither a JPEG or PNG file nor base64 of one"
        ) from error


def _decode(image: Image.Image, index: int) -> Image.Image:
    """The pixels as RGB, transparent ones on white."""
    try:
        if not image.has_transparency_data:
            return image.convert("RGB")
        layer = image.convert("RGBA")
        page = Image.new("RGBA", layer.size, WHITE)
        return Image.alpha_composite(page, layer).convert("RGB")
    except Exception as error:  # hostile bytes make decoders raise anything
        raise ValueError(f"image[{index}] is damaged: {error}") from error


def _normalise(image: Image.Image) -> NDArray[np.float32]:
    """RGB pixels to float32 `(3, 48, width)` from -1 to 1, blue first, as the network was trained."""
    pixels = np.asarray(image, dtype=np.uint8)[:, :, ::-1].astype(np.float32)
    scaled = (pixels * np.float32(1 / 255) - np.float32(0.5)) / np.float32(0.5)
    return scaled.transpose(2, 0, 1)
