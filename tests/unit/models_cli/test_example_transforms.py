"""The transforms of the example models: what they take, what they refuse, and before what cost."""

from __future__ import annotations

import base64
import io
import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.errors import TransformRefusedError
from shared.inference.transform import load_transform

ROOT = Path(__file__).parents[3]
TOKEN_IDS = json.loads((Path(__file__).parent / "token_ids.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def text():
    return load_transform(
        ROOT / "models/sentence-embedding/transform.py", model="sentence-embedding"
    )


@pytest.fixture(scope="module")
def page():
    return load_transform(ROOT / "models/page-orientation/transform.py", model="page-orientation")


def bytes_tensor(*items):
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def encoded(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


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


@pytest.mark.parametrize(("words", "ids"), TOKEN_IDS)
def test_token_ids_are_those_of_the_original_tokenizer(text, words, ids):
    graph = text.preprocess({"text": bytes_tensor(words.encode())})

    assert graph["input_ids"].tolist() == [ids]


def test_ascii_is_read_as_text_in_other_scripts_is(text):
    words = sys.modules[text.preprocess.__module__].words

    for code in range(128):
        plain = f"A{chr(code)}b {chr(code)}"
        assert words(plain) == words(f"{plain} \u00e4")[:-1], hex(code)


def test_texts_are_padded_to_the_longest_of_their_request_and_masked(text):
    graph = text.preprocess({"text": bytes_tensor(b"one", b"one two three")})

    assert graph["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert graph["input_ids"][0, 3:].tolist() == [0, 0]


def test_a_request_without_texts_keeps_its_zero_rows(text):
    graph = text.preprocess({"text": bytes_tensor()})

    assert graph["input_ids"].shape == (0, 2)


def test_a_text_that_is_not_utf8_is_refused_by_its_place(text):
    with pytest.raises(ValueError, match=r"text\[1\] is not UTF-8: .* at byte 1"):
        text.preprocess({"text": bytes_tensor(b"fine", b"a\xff")})


def test_more_texts_than_memory_allows_are_refused(text):
    with pytest.raises(ValueError, match="65 texts in one request; send at most 64"):
        text.preprocess({"text": bytes_tensor(*[b"a"] * 65)})


def test_a_caller_who_sends_all_of_unicode_fills_no_memory(text):
    module = sys.modules[text.preprocess.__module__]
    points = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(points), 8192):
        text.preprocess({"text": bytes_tensor("".join(points[start : start + 8192]).encode())})
    for kept in (module._CLEAN, module._SPLIT):
        assert len(kept) <= module.KEPT_MAX


@pytest.mark.parametrize("unit", ["a", " ", "a ", "\u0301", "\U0001f680"])
def test_an_endless_text_is_cut_to_the_models_length(text, unit):
    graph = text.preprocess({"text": bytes_tensor((unit * 1_000_000).encode())})

    assert graph["input_ids"].shape[1] <= 256


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_of_any_size_becomes_one_row_of_pixels(page, kind):
    file = encoded(Image.new("RGB", (90, 700), "white"), kind)

    x = page.preprocess({"image": bytes_tensor(file)})["x"]

    assert x.shape == (1, 3, 224, 224)
    assert x.dtype == np.float32


def test_base64_text_is_the_same_image_as_its_bytes(page):
    file = encoded(Image.effect_mandelbrot((300, 260), (-2, -1, 1, 1), 40))
    wrapped = base64.encodebytes(file)

    as_file, as_text = page.preprocess({"image": bytes_tensor(file, wrapped)})["x"]

    assert np.array_equal(as_file, as_text)


def test_transparent_pixels_are_seen_as_white(page):
    clear = encoded(Image.new("RGBA", (256, 256), (0, 0, 0, 0)))
    white = encoded(Image.new("RGB", (256, 256), "white"))

    a, b = page.preprocess({"image": bytes_tensor(clear, white)})["x"]

    assert np.array_equal(a, b)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "CMYK"])
def test_every_common_pixel_format_is_read(page, mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    file = encoded(Image.new(mode, (256, 256)), kind)

    assert page.preprocess({"image": bytes_tensor(file)})["x"].shape == (1, 3, 224, 224)


@pytest.mark.parametrize(
    ("width", "height"), [(8000, 8000), (100_000, 100_000), (2_000_000_000, 1), (1, 2**31 - 1)]
)
def test_a_pixel_bomb_is_refused_from_its_header(page, width, height):
    with pytest.raises(ValueError, match=r"image\[0\].*at most 40000000"):
        page.preprocess({"image": bytes_tensor(png_header(width, height))})


def test_the_pixel_limit_is_for_all_images_of_a_request(page):
    files = [encoded(Image.new("1", (5000, 4000)))] * 3

    with pytest.raises(
        ValueError, match=r"image\[2\] of 5000 x 4000 brings the request to 60000000"
    ):
        page.preprocess({"image": bytes_tensor(*files)})


def test_an_extreme_aspect_ratio_is_not_scaled_up_whole(page):
    file = encoded(Image.new("L", (1, 3_000_000)))

    assert page.preprocess({"image": bytes_tensor(file)})["x"].shape == (1, 3, 224, 224)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\x89PNG\r\n\x1a\n",
        b"not an image",
        base64.b64encode(b"not an image"),
        b"RIFF\x04\x00\x00\x00WEBP",
        encoded(Image.new("L", (300, 300)), "WEBP"),
        b"GIF89a\x01\x00\x01\x00\x00\x00\x00;",
        png_header(300, 300),
        png_header(0, 0),
        b"\x00" * 100,
    ],
)
def test_what_is_no_image_is_refused_and_never_an_error_of_ours(page, data):
    with pytest.raises(ValueError, match=r"image\[0\] (is|has)"):
        page.preprocess({"image": bytes_tensor(data)})


def test_a_file_cut_short_is_refused_as_damaged(page):
    whole = encoded(Image.effect_noise((400, 400), 90).convert("RGB"), "JPEG")

    with pytest.raises(ValueError, match=r"image\[0\] is damaged"):
        page.preprocess({"image": bytes_tensor(whole[: len(whole) // 2])})


def test_the_inference_layer_turns_a_refusal_into_the_callers_fault(page):
    with pytest.raises(TransformRefusedError, match=r"image\[0\] is neither"):
        page.before({"image": bytes_tensor(b"?")}, ())
