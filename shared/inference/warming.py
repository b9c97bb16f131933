"""Runs a loaded model before anybody waits for it, so that the first jobs do not pay for first runs.

Memory is allocated, kernels are chosen and TensorRT's engines are built at a first run with a shape.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from shared.errors import LanewayError
from shared.inference.trial import find_recipe, random_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.inference.session import ModelSession


def warm_up(session: ModelSession, rows: Sequence[int], *, allowed_s: float = 300.0) -> bool:
    """Run random inputs of so many rows each; whether all ran.

    A model that takes none of what is tried is simply cold: that is no failure of it.
    """
    until_s = time.monotonic() + allowed_s
    rng = np.random.default_rng(0)
    inputs, symbols = session.version.graph_inputs, session.symbols
    try:
        recipe, _, _ = find_recipe(session, symbols, rng)
        if recipe is None:
            return False
        for count in rows:
            feeds = random_inputs(inputs, symbols, recipe, rows=count, rng=rng)
            session.run(feeds, session.output_names, deadline_s=until_s)
    except LanewayError:
        return False
    return True
