"""Writes the model.toml of a model that was just added: sensible values, with the reason beside them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.schema.spec import Manifest

TARGET_FLOOR_MS = 100
TARGET_OVER_RUN = 10
"""The p99 promised for each measured run of one row: room for a busy neighbour, a gzip body, a big batch."""
UNSTACKED_BATCH = 1
STACKED_BATCH = 64


def model_toml(manifest: Manifest, *, description: str, pool: str, run_ms: float | None) -> str:
    """The declaration; `run_ms`: time of one row on this machine, None when it was not measured."""
    target_ms, why = _target(run_ms)
    batch, why_batch = _batch(manifest)
    return "\n".join(
        (
            f"description = {json.dumps(description, ensure_ascii=False)}",
            f"pool = {json.dumps(pool)}",
            'latency_classes = ["realtime", "async", "batch"]',
            'compute = "cpu"',
            f"default_version = {json.dumps(manifest.version)}",
            f"target_p99_ms = {target_ms}{why}",
            "",
            "[batching]",
            f"max_batch_size = {batch}{why_batch}",
            "",
            "[lineage]                         # carried into the manifest by `laneway models lock`",
            '# training_data = ""',
            '# code = ""',
            "# metrics = { accuracy = 0.0 }",
            "",
        )
    )


def _target(run_ms: float | None) -> tuple[int, str]:
    """Ten times the measured run, in steps of 50 ms, at least the floor."""
    if run_ms is None:
        return TARGET_FLOOR_MS, ""
    target_ms = max(TARGET_FLOOR_MS, math.ceil(run_ms * TARGET_OVER_RUN / 50) * 50)
    return target_ms, f"               # one row took {run_ms:.2g} ms here"


def _batch(manifest: Manifest) -> tuple[int, str]:
    if manifest.stacking.row_independent:
        return STACKED_BATCH, ""
    return UNSTACKED_BATCH, "                # never stacked; the manifest has the reason"
