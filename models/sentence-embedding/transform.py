"""Text to token ids; the graph pools the tokens' vectors itself.

The tokenizer is BERT's uncased WordPiece in plain Python: it needs the vocabulary beside this file
and no package. `tests/unit/models_cli` holds it to the ids that the original tokenizer gives.
"""

from __future__ import annotations

import unicodedata
from array import array
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

MAX_TOKENS = 256
"""The length that the model was trained for, with [CLS] and [SEP]; longer texts are cut."""
MAX_TEXTS = 64
"""Per request: 64 texts of 256 tokens hold about 300 MB of activations."""
MAX_CHARACTERS = 20_000
"""What is read of one text; 254 tokens of any language lie well before it."""
MAX_WORD_CHARACTERS = 100
KEPT_MAX = 20_000
"""Characters whose replacement is kept: a caller who sends all of Unicode fills no memory."""
CJK = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
       (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))  # fmt: skip
"""Blocks whose characters are words of their own; the sixth starts where the original's does."""
_ASCII_SYMBOLS = "$+<=>^`|~"
"""Punctuation to BERT, though not to Unicode."""

_TOKENS = (
    (Path(__file__).parent / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
)
VOCABULARY = dict(zip(_TOKENS, range(len(_TOKENS)), strict=True))
PAD, UNKNOWN, FIRST, LAST = (VOCABULARY[token] for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]"))


def preprocess(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """`text`: bytes, shape `(batch,)`, to int64 ids, mask and types, shape `(batch, tokens)`."""
    texts = inputs["text"]
    if len(texts) > MAX_TEXTS:
        raise ValueError(f"{len(texts)} texts in one request; send at most {MAX_TEXTS}")
    rows = [token_ids(_decode(text, index)) for index, text in enumerate(texts)]
    width = max(map(len, rows), default=2)
    shape = (len(rows), width)
    mask: bytes | array[int] = _ONES
    if any(len(row) < width for row in rows):
        mask = _flat([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        rows = [row + [PAD] * (width - len(row)) for row in rows]
    # Arrays over what is there: a run empties the processor's caches, and then each function of
    # numpy that is called for the first time costs 15 us.
    return {
        "input_ids": np.ndarray(shape, np.int64, _flat(rows)),
        "attention_mask": np.ndarray(shape, np.int64, mask),
        "token_type_ids": np.ndarray(shape, np.int64, _ZEROS),
    }


def token_ids(text: str) -> list[int]:
    """[CLS], the text's word pieces, [SEP]; at most MAX_TOKENS."""
    ids = [FIRST]
    for word in words(text):
        known = VOCABULARY.get(word)
        if known is None:
            ids += _pieces(word)
        else:
            ids.append(known)
        if len(ids) >= MAX_TOKENS:
            break
    return [*ids[: MAX_TOKENS - 1], LAST]


def words(text: str) -> list[str]:
    """Lower-case words without accents; punctuation and CJK characters stand alone."""
    read = text[:MAX_CHARACTERS]
    if read.isascii():
        return read.translate(_ASCII).split()
    plain = unicodedata.normalize("NFD", read.translate(_CLEAN)).translate(_SPLIT)
    return plain.replace("\u03a3", "\u03c3").lower().split()  # no final sigma, as the original


def _pieces(word: str) -> Iterator[int]:
    """Longest pieces first; one [UNK] for a word that cannot be built from the vocabulary."""
    if len(word) > MAX_WORD_CHARACTERS:
        yield UNKNOWN
        return
    found: list[int] = []
    start = 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = range(len(word), start, -1)
        end = next((end for end in ends if prefix + word[start:end] in VOCABULARY), None)
        if end is None:
            yield UNKNOWN
            return
        found.append(VOCABULARY[prefix + word[start:end]])
        start = end
    yield from found


def _flat(rows: list[list[int]]) -> array[int]:
    """The rows' numbers as int64, one row after the other."""
    return array("q", rows[0] if len(rows) == 1 else chain.from_iterable(rows))


def _decode(text: Any, index: int) -> str:
    if isinstance(text, str):
        return text
    try:
        return bytes(text).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"text[{index}] is not UTF-8: {error.reason} at byte {error.start}"
        ) from error


class _Clean(dict[int, str]):
    """Code point to what replaces it: controls vanish, white space is a blank, CJK is set apart."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if character in "\t\n\r" or (character.isspace() and not _is_control(character)):
            replaced = " "
        elif character in "\0\ufffd" or _is_control(character):
            replaced = ""
        elif any(low <= code <= high for low, high in CJK):
            replaced = f" {character} "
        else:
            replaced = character
        if len(self) < KEPT_MAX:
            self[code] = replaced
        return replaced


class _Split(dict[int, str]):
    """Code point to what replaces it, after decomposition: no accents, punctuation set apart."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Mn":
            replaced = ""
        elif category[0] == "P" or character in _ASCII_SYMBOLS:
            replaced = f" {character} "
        else:
            replaced = character
        if len(self) < KEPT_MAX:
            self[code] = replaced
        return replaced


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Co", "Cs"}


_CLEAN = _Clean()
_SPLIT = _Split()
_ASCII = {code: chr(code).translate(_CLEAN).translate(_SPLIT).lower() for code in range(128)}
"""What both make of a character that no other one changes."""
_ONES = np.ones(MAX_TEXTS * MAX_TOKENS, np.int64).tobytes()
_ZEROS = bytes(len(_ONES))
"""What masks without padding, and all types, lie over: not to be written to."""
