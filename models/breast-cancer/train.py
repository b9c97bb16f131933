"""Trains both versions of breast-cancer and writes them as ONNX files beside this script.

Version 1 is one shallow decision tree, version 2 a random forest; both see the same
426 rows and are scored on the 143 rows held out. The same versions of the libraries give
the same bytes: ``uv run --no-project models/breast-cancer/train.py``.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy==2.4.6", "onnx==1.23.2", "scikit-learn==1.9.0", "scipy==1.17.1", "skl2onnx==1.20.0"]
# ///

from __future__ import annotations

from pathlib import Path
from typing import Any

from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

FOLDER = Path(__file__).resolve().parent
SEED = 20261121
OPSET = {"": 21, "ai.onnx.ml": 3}
FEATURES = 30


def split() -> list[Any]:
    """Train and test features ``(rows, 30)`` as float32, then train and test classes ``(rows,)``."""
    features, classes = load_breast_cancer(return_X_y=True)
    return train_test_split(
        features.astype("float32"), classes, test_size=0.25, random_state=SEED, stratify=classes
    )


def fit(version: str) -> Pipeline:
    """The fitted pipeline of one version: "1" or "2"."""
    train, _, classes, _ = split()
    estimator = (
        DecisionTreeClassifier(max_depth=4, random_state=SEED)
        if version == "1"
        else RandomForestClassifier(n_estimators=100, max_depth=8, random_state=SEED)
    )
    return make_pipeline(StandardScaler(), estimator).fit(train, classes)


def export(model: Pipeline) -> bytes:
    """The pipeline as ONNX: ``features`` in; ``label`` and ``probabilities`` (not a map) out."""
    graph = to_onnx(
        model,
        initial_types=[("features", FloatTensorType([None, FEATURES]))],
        options={"zipmap": False},
        target_opset=OPSET,
        name="breast-cancer",
    )
    return graph.SerializeToString(deterministic=True)


def main() -> None:
    """Writes ``<version>/model.onnx`` and prints the held-out scores."""
    _, test, _, classes = split()
    for version in ("1", "2"):
        model = fit(version)
        folder = FOLDER / version
        folder.mkdir(exist_ok=True)
        (folder / "model.onnx").write_bytes(export(model))
        accuracy = accuracy_score(classes, model.predict(test))
        area = roc_auc_score(classes, model.predict_proba(test)[:, 1])
        print(f"version {version}: accuracy {accuracy:.3f}, ROC AUC {area:.4f} on {len(test)} rows")


if __name__ == "__main__":
    main()
