"""Writes golden.json and characters.txt for text-recognition with the rapidocr package itself.

The lines are drawn here, in Pillow's built-in font.
``uv run --no-project --python 3.11 models/text-recognition/make_golden.py``
"""

# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["numpy==2.4.6", "onnxruntime==1.31.1", "opencv-python-headless==5.0.0.93", "pillow==13.0.0", "rapidocr==3.10.0"]
# ///

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rapidocr import RapidOCR
from rapidocr.ch_ppocr_rec.typings import TextRecInput

FOLDER = Path(__file__).resolve().parent
HEIGHT = 48
SAME_PIXELS = {
    "text": {"measure": "equal"},
    "confidence": {
        "measure": "absolute",
        "limit": 1e-4,
        "reason": "the lines are 48 pixels high and 320 wide, so neither side scales or pads; "
        "the package rounds to five digits",
    },
}
SCALED = {
    "text": {"measure": "equal"},
    "confidence": {
        "measure": "absolute",
        "limit": 0.01,
        "reason": "the package scales with OpenCV and without anti-aliasing, the transform with "
        "Pillow's; the package pads to the widest line, the transform to a step of 64",
    },
}
RECEIPT = [
    "Total due: 12.50 EUR",
    "Invoice 4471-B / 2026",
    "R. Lindqvist, Customer",
    "ISBN 978-0-13-468599-1",
]
LETTER = [
    "We have looked into the matter and found that parcel",
    "4471 left our depot on time, yet was held at the border.",
]


def line(text: str, *, width: int, height: int = HEIGHT) -> Image.Image:
    """One line of black text on white; the font's size follows the height."""
    image = Image.new("L", (width, height), 255)
    font = ImageFont.load_default(height * 0.56)
    ImageDraw.Draw(image).text((height // 6, height // 8), text, fill=0, font=font)
    return image


def encoded(image: Image.Image, kind: str) -> bytes:
    """The image as a file: a PNG of four greys, of colours, or a JPEG."""
    file = io.BytesIO()
    if kind == "jpeg":
        image.convert("RGB").save(file, "JPEG", quality=80)
    elif kind == "grey":
        image.quantize(4).save(file, "PNG", optimize=True)
    else:
        tinted = Image.merge("RGB", (image, image.point(lambda v: v * 240 // 255), image))
        tinted.quantize(8).save(file, "PNG", optimize=True)
    return file.getvalue()


def case(recognizer: Any, name: str, files: list[bytes], tolerance: Any) -> dict[str, Any]:
    """A request of some files in base64, and the package's text and score for each."""
    pixels = [cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR) for file in files]
    found = recognizer(TextRecInput(img=pixels, return_word_box=False))
    for text, score in zip(found.txts, found.scores, strict=True):
        print(f"{score:.5f} {text}")
    batch = len(files)
    texts = [base64.b64encode(file).decode() for file in files]
    image = {"name": "image", "shape": [batch], "datatype": "BYTES", "data": texts}
    return {
        "name": name,
        "version": "1",
        "request": {"inputs": [image]},
        "expected": {
            "outputs": [
                {"name": "text", "shape": [batch], "datatype": "BYTES", "data": list(found.txts)},
                {
                    "name": "confidence",
                    "shape": [batch],
                    "datatype": "FP32",
                    "data": [float(score) for score in found.scores],
                },
            ]
        },
        "tolerance": tolerance,
    }


def main() -> None:
    """Lines that nobody scales, then a receipt, long lines, colour, JPEG and an empty one."""
    engine = RapidOCR()
    engine(np.full((HEIGHT, 320, 3), 255, np.uint8), use_det=False, use_cls=False)  # loads it
    recognizer = engine.text_rec
    characters = recognizer.session.get_character_list()
    assert not any("\n" in character for character in characters)
    (FOLDER / "characters.txt").write_bytes("\n".join(characters).encode())
    one = [encoded(line("Parcel 4471 is held.", width=320), "grey")]
    receipt = [encoded(line(text, width=320), "grey") for text in RECEIPT]
    letter = [encoded(line(text, width=640, height=40), "grey") for text in LETTER]
    other = [
        encoded(line("Colour and JPEG", width=500, height=72), kind) for kind in ("colour", "jpeg")
    ]
    empty = [encoded(line("", width=320), "grey")]
    golden = {
        "made_by": "rapidocr 3.10.0: TextRecognizer with PP-OCRv6_rec_small.onnx",
        **case(recognizer, "one line", one, SAME_PIXELS),
        "cases": [
            case(recognizer, "four lines of a receipt", receipt, SAME_PIXELS),
            case(recognizer, "two long lines", letter, SCALED),
            case(recognizer, "colour and JPEG", other, SCALED),
            case(recognizer, "a line without text", empty, SAME_PIXELS),
        ],
    }
    (FOLDER / "golden.json").write_text(json.dumps(golden) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
