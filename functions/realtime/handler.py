"""Entry point of the realtime function: settings, the pool's catalog, the handler.

All that is heavy happens here, while Lambda makes the environment: models are loaded before the
first request. Their files are fetched and hashed meanwhile: that begins before numpy and onnxruntime are imported.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from shared.artifacts.opened import open_files
from shared.catalog import load_catalog
from shared.inference.warm_set import loaded_first
from shared.limits import LAMBDA_MEMORY_MIB_PER_VCPU, MIB
from shared.settings import RealtimeSettings

PACKAGE: Final = Path(__file__).parents[2]
SETTINGS: Final = RealtimeSettings.from_env(os.environ)
CATALOG: Final = load_catalog(PACKAGE / "catalog.json")
FILES: Final = open_files(
    PACKAGE,
    CATALOG,
    bucket=SETTINGS.models_bucket,
    env=os.environ,
    first=loaded_first(CATALOG, budget_bytes=SETTINGS.session_budget_mib * MIB),
)

from functions.realtime.service import make_handler  # noqa: E402  it imports onnxruntime
from shared.inference.memory import hold_below  # noqa: E402  it imports ctypes

# Set by Lambda; absent wherever else the package is tried out.
MEMORY_MIB: Final = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
if MEMORY_MIB:
    hold_below(int(MEMORY_MIB) * MIB)

handler = make_handler(
    SETTINGS,
    catalog=CATALOG,
    package=PACKAGE,
    memory_mib=int(MEMORY_MIB or LAMBDA_MEMORY_MIB_PER_VCPU),
    files=FILES,
)
