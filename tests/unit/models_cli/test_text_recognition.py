"""The transform of the text-recognition example: what it takes, what it refuses, and what it reads."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.inference.transform import load_transform

ROOT = Path(__file__).parents[3]
BLANK = 0
CLASSES = 18_710


@pytest.fixture(scope="module")
def line():
    return load_transform(ROOT / "models/text-recognition/transform.py", model="text-recognition")


def bytes_tensor(*items):
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def encoded(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def white(width, height, mode="L"):
    return encoded(Image.new(mode, (width, height), "white"))


def png_header(width, height):
    """A PNG file that says how large it is and holds nothing."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    empty = zlib.compress(b"")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", empty) + chunk(b"IEND", b"")
    )


def scores_of(*classes, sure=0.75):
    """The network's answer for one row that sees these classes, one per column."""
    scores = np.zeros((1, len(classes), CLASSES), dtype=np.float32)
    scores[0, range(len(classes)), classes] = sure
    return scores


def read(line, scores):
    answer = line.postprocess({"fetch_name_0": scores}, {})
    return answer["text"][0], float(answer["confidence"][0])


def class_of(character):
    listed = (ROOT / "models/text-recognition/characters.txt").read_bytes().decode().split("\n")
    return 1 + listed.index(character)


@pytest.mark.parametrize(
    ("width", "height", "columns"),
    [
        (320, 48, 320),
        (10, 48, 320),
        (321, 48, 384),
        (640, 96, 320),
        (1600, 48, 1600),
        (1, 500, 320),
    ],
)
def test_a_line_is_scaled_to_a_height_of_48_and_padded_to_a_step(line, width, height, columns):
    x = line.preprocess({"image": bytes_tensor(white(width, height))})["x"]

    assert x.shape == (1, 3, 48, columns)
    assert x.dtype == np.float32


def test_all_lines_of_a_request_are_as_wide_as_the_widest(line):
    x = line.preprocess({"image": bytes_tensor(white(100, 48), white(700, 48))})["x"]

    assert x.shape == (2, 3, 48, 704)
    assert (x[0, :, :, :100] == 1).all()
    assert (x[0, :, :, 100:] == 0).all()


def test_a_request_without_lines_keeps_its_zero_rows(line):
    assert line.preprocess({"image": bytes_tensor()})["x"].shape == (0, 3, 48, 320)


def test_base64_text_is_the_same_image_as_its_bytes(line):
    file = encoded(Image.effect_mandelbrot((300, 48), (-2, -1, 1, 1), 40))

    as_file, as_text = line.preprocess({"image": bytes_tensor(file, base64.encodebytes(file))})["x"]

    assert np.array_equal(as_file, as_text)


def test_transparent_pixels_are_seen_as_white(line):
    clear = encoded(Image.new("RGBA", (320, 48), (0, 0, 0, 0)))

    a, b = line.preprocess({"image": bytes_tensor(clear, white(320, 48))})["x"]

    assert np.array_equal(a, b)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "CMYK"])
def test_every_common_pixel_format_is_read(line, mode):
    file = encoded(Image.new(mode, (320, 48)), "JPEG" if mode == "CMYK" else "PNG")

    assert line.preprocess({"image": bytes_tensor(file)})["x"].shape == (1, 3, 48, 320)


@pytest.mark.parametrize("size", [(8000, 8000), (100_000, 100_000), (1, 2**31 - 1)])
def test_a_pixel_bomb_is_refused_from_its_header(line, size):
    with pytest.raises(ValueError, match=r"image\[0\].*at most 40000000"):
        line.preprocess({"image": bytes_tensor(png_header(*size))})


def test_the_pixel_limit_is_for_all_images_of_a_request(line):
    files = [encoded(Image.new("1", (5000, 4000)))] * 3

    with pytest.raises(ValueError, match=r"image\[2\] .* brings the request to 60000000"):
        line.preprocess({"image": bytes_tensor(*files)})


def test_a_line_too_long_to_read_is_refused_before_it_is_decoded(line):
    with pytest.raises(ValueError, match=r"image\[1\] is 3201 pixels wide .* cut the line"):
        line.preprocess({"image": bytes_tensor(white(320, 48), png_header(3201, 48))})


def test_more_files_than_a_run_holds_are_refused_before_one_is_opened(line):
    with pytest.raises(ValueError, match="33 images in one request; send at most 32"):
        line.preprocess({"image": bytes_tensor(*[b"no image"] * 33)})


def test_more_lines_than_memory_allows_are_refused_with_how_many_fit(line):
    with pytest.raises(ValueError, match=r"17 lines .* send at most 16 of such a width"):
        line.preprocess({"image": bytes_tensor(*[png_header(640, 48)] * 17)})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\x89PNG\r\n\x1a\n",
        b"not an image",
        base64.b64encode(b"not an image"),
        b"RIFF\x04\x00\x00\x00WEBP",
        encoded(Image.new("L", (300, 48)), "WEBP"),
        b"GIF89a\x01\x00\x01\x00\x00\x00\x00;",
        png_header(300, 48),
        png_header(0, 0),
        png_header(0, 48),
        b"\x00" * 100,
    ],
)
def test_what_is_no_image_is_refused_and_never_an_error_of_ours(line, data):
    with pytest.raises(ValueError, match=r"image\[0\] (is|has)"):
        line.preprocess({"image": bytes_tensor(data)})


def test_repeated_classes_are_one_character_and_a_blank_parts_two(line):
    a, b = class_of("a"), class_of("b")

    assert read(line, scores_of(a, a, BLANK, a, b, b, BLANK)) == ("aab", 0.75)


def test_the_last_class_is_the_space(line):
    a = class_of("a")

    assert read(line, scores_of(a, CLASSES - 1, a))[0] == "a a"


def test_every_class_of_the_network_has_a_character(line):
    texts = [
        read(line, scores_of(*range(first, min(first + 500, CLASSES))))[0]
        for first in range(0, CLASSES, 500)
    ]

    assert len("".join(texts)) == CLASSES - 1


def test_confidence_is_the_mean_over_the_characters_alone(line):
    scores = scores_of(class_of("a"), BLANK, class_of("b"))
    scores[0, 2] *= 0.5

    assert read(line, scores) == ("ab", pytest.approx(0.75 * 0.75))


def test_a_line_without_characters_has_no_confidence(line):
    assert read(line, scores_of(BLANK, BLANK)) == ("", 0.0)
