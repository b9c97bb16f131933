"""Where a process runs its models: the CPU, or one GPU through CUDA or TensorRT.

onnxruntime falls back to the CPU without a word where a provider's libraries are missing. Here a
device that was asked for and is not there is an error: a pool that pays for GPUs should not be slow
in silence.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import onnxruntime

from shared.errors import ModelUnavailableError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CPU_PROVIDER: Final = "CPUExecutionProvider"
CUDA_PROVIDER: Final = "CUDAExecutionProvider"
TENSORRT_PROVIDER: Final = "TensorrtExecutionProvider"
TENSORRT_LIBRARY: Final = "libnvinfer.so.10"
"""What onnxruntime 1.31 is built against."""
_DEVICE: Final = re.compile(r"(cpu)|(cuda|tensorrt):(\d+)")
_LISTED: Final = {"cuda": CUDA_PROVIDER, "tensorrt": TENSORRT_PROVIDER}


class DeviceError(ValueError):
    """The device is not one, or this onnxruntime cannot use it."""


@dataclass(frozen=True, slots=True)
class Device:
    """What sessions are made with."""

    name: str
    providers: tuple[str | tuple[str, dict[str, Any]], ...]
    """In the order of preference: a node that one cannot run goes to the next."""
    required: str = field(default=CPU_PROVIDER)
    """The provider that a session must have."""

    def check(self, session: InferenceSession, what: str) -> None:
        """Raise `ModelUnavailableError` where onnxruntime left the device out of the session."""
        if self.required not in session.get_providers():
            raise ModelUnavailableError(
                f"{what} cannot use {self.name}: onnxruntime left {self.required} out; are the "
                "driver and its libraries those that this onnxruntime was built for?"
            )


CPU: Final = Device("cpu", (CPU_PROVIDER,))


def open_device(name: str, *, engine_cache: str = "", memory_bytes: int = 0) -> Device:
    """The device called `cpu`, `cuda:N` or `tensorrt:N`; raises `DeviceError`.

    `engine_cache`: a folder in which TensorRT keeps its engines and timings, made where it is missing.
    `memory_bytes`: what the arena of one session may take of the device; 0: all that there is.
    """
    found = _DEVICE.fullmatch(name)
    if found is None:
        raise DeviceError(f"device {name!r} is none; name cpu, cuda:N or tensorrt:N")
    if found[1]:
        return CPU
    kind, index = found[2], int(found[3])
    required = _LISTED[kind]
    available = onnxruntime.get_available_providers()
    if required not in available:
        raise DeviceError(
            f"device {name!r} needs {required}; this onnxruntime has {', '.join(available)}"
        )
    limit = {"gpu_mem_limit": memory_bytes} if memory_bytes else {}
    cuda = (CUDA_PROVIDER, {"device_id": index, **limit})
    if kind == "cuda":
        return Device(name, (cuda, CPU_PROVIDER), required)
    _check_library(name, TENSORRT_LIBRARY)
    tensorrt = (TENSORRT_PROVIDER, {"device_id": index, **_cached(engine_cache)})
    return Device(name, (tensorrt, cuda, CPU_PROVIDER), required)


def _check_library(device: str, library: str) -> None:
    """The wheel lists TensorRT wherever it is installed, with or without its libraries."""
    try:
        ctypes.CDLL(library)
    except OSError as error:
        raise DeviceError(f"device {device!r} needs {library}, which cannot be loaded") from error


def _cached(folder: str) -> dict[str, Any]:
    if not folder:
        return {}
    Path(folder).mkdir(parents=True, exist_ok=True)
    return {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": folder,
    }
