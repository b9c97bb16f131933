"""What a layer leaves out of the packages it is made of: files that serving never opens."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

INSTALLER_TRACES: Final = ("bin", ".lock", "**/__pycache__")
"""What installing leaves behind: scripts, uv's lock file, bytecode that would not validate."""

EVERYWHERE: Final = (
    *INSTALLER_TRACES,
    "**/tests",
    "**/*.pyi",
    "**/*.pxd",
    "**/*.pyx",
    "**/*.h",
    "**/*.a",
    "**/py.typed",
    "*.dist-info/RECORD",
    "*.dist-info/INSTALLER",
    "*.dist-info/REQUESTED",
    "*.dist-info/entry_points.txt",
    "*.dist-info/sboms",
)
"""Licences and METADATA stay."""

ONNX_RUNTIME: Final = (
    # a second copy of the runtime that the Python binding does not link (readelf -d: not NEEDED);
    # libonnxruntime_providers_shared.so stays, without it a session warns at start
    "onnxruntime/capi/libonnxruntime.so.*",
    "onnxruntime/backend",
    "onnxruntime/datasets",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
    "numpy/_pyinstaller",
    "numpy/conftest.py",
    "numpy/distutils",
    "numpy/doc",
    "numpy/f2py",
    "aws_lambda_powertools/event_handler",
)

CONTROL: Final = (
    "aws_lambda_powertools/event_handler/openapi/swagger_ui",
    "boto3/examples",
)

BOTOCORE_SERVICES: Final = frozenset(
    {"dynamodb", "ecs", "lambda", "s3", "secretsmanager", "sqs", "ssm"}
)
"""Service models that functions use; the other four hundred go."""


def prune(folder: Path, patterns: tuple[str, ...]) -> None:
    """Remove what matches, folders whole."""
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            _remove(path)


def prune_botocore(folder: Path) -> None:
    """Keep botocore's common files and the models of the services that we call."""
    data = folder / "botocore" / "data"
    for path in data.iterdir():
        if path.is_dir() and path.name not in BOTOCORE_SERVICES:
            shutil.rmtree(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
