"""Encoded images to the pixels that the network sees, and its scores to degrees.

Takes JPEG and PNG files as bytes, or as base64 text for callers who send JSON. The size is read
from the header and checked before anything is decoded.
"""

from __future__ import annotations

import base64
import binascii
import io
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
MAX_IMAGES = 64
MAX_PIXELS = 40_000_000
"""Per request, over all images: an A4 page at 600 dpi has 35 million."""
SHORT_SIDE = 256
SIDE = 224
DEGREES = np.array([0, 90, 180, 270], dtype=np.int64)
"""How far the page is turned clockwise, in the order of the network's scores."""
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def preprocess(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """`image`: bytes, shape `(batch,)`, to `x`: float32, shape `(batch, 3, 224, 224)`."""
    files = inputs["image"]
    if len(files) > MAX_IMAGES:
        raise ValueError(f"{len(files)} images in one request; send at most {MAX_IMAGES}")
    x = np.empty((len(files), 3, SIDE, SIDE), dtype=np.float32)
    pixels = 0
    for index, file in enumerate(files):
        image = _open(file, index)
        pixels += image.width * image.height
        if pixels > MAX_PIXELS:
            raise ValueError(
                f"image[{index}] of {image.width} x {image.height} brings the request to {pixels} "
                f"pixels; at most {MAX_PIXELS} are decoded"
            )
        x[index] = _normalise(_centre(_decode(image, index)))
    return {"x": x}


def postprocess(
    outputs: Mapping[str, NDArray[Any]], graph_inputs: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """`rotation_degrees`: int64, shape `(batch,)`; `scores`: float32, shape `(batch, 4)`."""
    del graph_inputs
    scores = outputs["fetch_name_0"]
    return {"rotation_degrees": DEGREES[scores.argmax(axis=1)], "scores": scores}


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
    """The pixels as RGB, transparent ones on white; a large JPEG is decoded at a fraction."""
    try:
        image.draft("RGB", (2 * SHORT_SIDE, 2 * SHORT_SIDE))
        if not image.has_transparency_data:
            return image.convert("RGB")
        layer = image.convert("RGBA")
        page = Image.new("RGBA", layer.size, WHITE)
        return Image.alpha_composite(page, layer).convert("RGB")
    except Exception as error:  # hostile bytes make decoders raise anything
        raise ValueError(f"image[{index}] is damaged: {error}") from error


def _centre(image: Image.Image) -> Image.Image:
    """The middle 224 x 224 of the image scaled to a short side of 256, in one step.

    Only what is kept is scaled, so that an extreme aspect ratio costs nothing.
    """
    factor = SHORT_SIDE / min(image.size)
    box = []
    for length in image.size:
        scaled = round(length * factor)
        start = (scaled - SIDE) // 2
        box.append((start * length / scaled, (start + SIDE) * length / scaled))
    (left, right), (top, bottom) = box
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=(left, top, right, bottom))


def _normalise(image: Image.Image) -> NDArray[np.float32]:
    """RGB pixels to float32 `(3, 224, 224)`, blue first, as the network was trained."""
    pixels = np.asarray(image, dtype=np.uint8)[:, :, ::-1].astype(np.float32)
    scaled = (pixels * np.float32(1 / 255) - MEAN) / DEVIATION
    return scaled.transpose(2, 0, 1)
