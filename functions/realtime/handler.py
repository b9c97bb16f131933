"""Entry point of the realtime function: settings, the pool's catalog, the handler.

All that is heavy happens here, while Lambda makes the environment: models are loaded before the
first request.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from functions.realtime.service import make_handler
from shared.catalog import load_catalog
from shared.inference.memory import hold_below
from shared.limits import LAMBDA_MEMORY_MIB_PER_VCPU, MIB
from shared.settings import RealtimeSettings

PACKAGE: Final = Path(__file__).parents[2]
# Set by Lambda; absent wherever else the package is tried out.
MEMORY_MIB: Final = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
if MEMORY_MIB:
    hold_below(int(MEMORY_MIB) * MIB)

handler = make_handler(
    RealtimeSettings.from_env(os.environ),
    catalog=load_catalog(PACKAGE / "catalog.json"),
    package=PACKAGE,
    memory_mib=int(MEMORY_MIB or LAMBDA_MEMORY_MIB_PER_VCPU),
)
