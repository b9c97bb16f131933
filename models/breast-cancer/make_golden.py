"""Writes golden.json for breast-cancer from scikit-learn's own answers; runs no ONNX.

``uv run --no-project models/breast-cancer/make_golden.py``
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy==2.4.6", "onnx==1.23.2", "scikit-learn==1.9.0", "scipy==1.17.1", "skl2onnx==1.20.0"]
# ///

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sklearn
from train import FEATURES, fit, split

FOLDER = Path(__file__).resolve().parent
TOLERANCE = {
    "label": {"measure": "equal"},
    "probabilities": {
        "measure": "absolute",
        "limit": 1e-5,
        "reason": "scikit-learn averages the trees in float64, the graph in float32",
    },
}


def case(name: str, version: str, rows: Any) -> dict[str, Any]:
    """A request of ``rows`` ``(batch, 30)`` and what scikit-learn says to it."""
    model = fit(version)
    labels = model.predict(rows).tolist()
    probabilities = model.predict_proba(rows).ravel().tolist()
    batch = len(rows)
    data = [
        float(str(value)) for value in rows.ravel()
    ]  # the shortest digits that are this float32
    features = {"name": "features", "shape": [batch, FEATURES], "datatype": "FP32", "data": data}
    return {
        "name": name,
        "version": version,
        "request": {"inputs": [features]},
        "expected": {
            "outputs": [
                {"name": "label", "shape": [batch], "datatype": "INT64", "data": labels},
                {
                    "name": "probabilities",
                    "shape": [batch, 2],
                    "datatype": "FP32",
                    "data": probabilities,
                },
            ]
        },
        "tolerance": TOLERANCE,
    }


def main() -> None:
    """Two rows of the default version as the example, the held-out rows of both versions as cases."""
    _, test, _, _ = split()
    golden = {
        "made_by": f"scikit-learn {sklearn.__version__}: predict and predict_proba of the pipelines",
        **case("two held-out rows", "2", test[:2]),
        "cases": [
            case("forty held-out rows, random forest", "2", test[:40]),
            case("forty held-out rows, decision tree", "1", test[:40]),
            case("one row", "1", test[40:41]),
        ],
    }
    (FOLDER / "golden.json").write_text(json.dumps(golden) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
