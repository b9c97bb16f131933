"""Text to token ids, and token vectors to one normalised sentence embedding.

The tokenizer is BERT's uncased WordPiece in plain Python: it needs the vocabulary beside this file
and no package. `tests/unit/models_cli` holds it to the ids that the original tokenizer gives.
"""

from __future__ import annotations

import unicodedata
from itertools import islice
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
    # Padded as lists: after a run has emptied the processor's caches each numpy call costs 15 us.
    ids = np.array([row + [PAD] * (width - len(row)) for row in rows], np.int64)
    mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows], np.int64)
    shape = (len(rows), width)
    return {
        "input_ids": ids.reshape(shape),
        "attention_mask": mask.reshape(shape),
        "token_type_ids": np.zeros(shape, np.int64),
    }


def postprocess(
    outputs: Mapping[str, NDArray[Any]], graph_inputs: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Mean of the real tokens' vectors, scaled to length one: float32, shape `(batch, 384)`.

    The sum is enough: it has the direction of the mean.
    """
    mask = graph_inputs["attention_mask"][:, np.newaxis].astype(np.float32)
    summed = np.matmul(mask, outputs["last_hidden_state"])[:, 0]
    summed /= np.sqrt(np.vecdot(summed, summed))[:, np.newaxis]
    return {"embedding": summed}


def token_ids(text: str) -> list[int]:
    """[CLS], the text's word pieces, [SEP]; at most MAX_TOKENS."""
    pieces = (piece for word in words(text) for piece in _pieces(word))
    return [FIRST, *islice(pieces, MAX_TOKENS - 2), LAST]


def words(text: str) -> list[str]:
    """Lower-case words without accents; punctuation and CJK characters stand alone."""
    clean = text[:MAX_CHARACTERS].translate(_CLEAN)
    plain = unicodedata.normalize("NFD", clean).translate(_SPLIT)
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
