"""`python -m gpu_workers`: one process for one device, told by its environment.

exit code 0   it was told to end, and drained
          1   a defect ended it, after what was in hand was handed back; or its broker was not there
          2   its settings or its package are wrong; standard error says how
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpu_workers.assembly import AssemblyError, open_core
from gpu_workers.health import answering
from gpu_workers.protection import Protection
from gpu_workers.telemetry import WorkerTelemetry
from gpu_workers.watcher import make_watcher
from gpu_workers.worker import GpuWorker
from shared.catalog import load_catalog
from shared.errors import UnavailableError
from shared.inference.deadline import WATCHDOG
from shared.inference.memory import container_bytes, hold_below
from shared.inference.providers import CPU, DeviceError
from shared.settings import SettingError
from shared.settings.jobs import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Callable

DRAINED: Final = 0
BROKEN: Final = 1
MISCONFIGURED: Final = 2
GAUGE_S: Final = 60.0
ECS_AGENT: Final = "ECS_AGENT_URI"
"""Set by ECS in each container; no setting of ours, which would hide it."""
JOIN_S: Final = 5.0


def main() -> int:
    """Work until a signal or the instance's metadata says that it is over."""
    try:
        settings = WorkerSettings.from_env(os.environ)
        catalog = load_catalog(Path(settings.models) / "catalog.json")
    except (SettingError, OSError, ValueError, KeyError) as error:
        return _refuse(error)
    if settings.device == CPU.name:  # what a driver maps is not told apart from what is used
        hold_below(container_bytes(), threads=settings.threads)
    owner = f"{socket.gethostname()}-{os.getpid()}"
    telemetry = WorkerTelemetry(
        stage=settings.stage,
        pool=settings.pool,
        worker=owner,
        log_level=settings.log_level,
        digests=catalog.digests(),
    )
    try:
        with open_core(settings, catalog=catalog, owner=owner, telemetry=telemetry) as core:
            return _serve(GpuWorker(core), settings, telemetry)
    except (AssemblyError, DeviceError) as error:
        return _refuse(error)
    except UnavailableError as error:
        sys.stderr.write(f"gpu_workers ended: {error}\n")
        return BROKEN


def _serve(worker: GpuWorker, settings: WorkerSettings, telemetry: WorkerTelemetry) -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _in_thread(lambda: worker.drain(settings.drain_s)))
    WATCHDOG.overdue = _give_up
    gc.freeze()  # modules and catalog live as long as the process: a full collection looks at the jobs alone
    watcher = make_watcher(settings, drain=worker.drain, report=telemetry.count)
    checks = {"/health/live": worker.live, "/health/ready": worker.ready}
    ended = threading.Event()
    _in_thread(lambda: _gauge(worker, telemetry, ended))
    agent = os.environ.get(ECS_AGENT)
    protecting = None
    if agent:
        protection = Protection(agent, lambda: len(worker.core.hand) > 0)
        protecting = _in_thread(lambda: protection.run(ended))
    with answering(settings.health_port, checks) as port:
        telemetry.logger.info("started", extra={"health_port": port, "device": settings.device})
        if watcher is not None:
            watcher.start()
        worker.run()
        ended.set()
        if protecting is not None:
            protecting.join(JOIN_S)
        telemetry.count("drain_ms", worker.drained_ms())
        if watcher is not None:
            watcher.finish()
    telemetry.logger.info("ended", extra={"worker": worker.core.owner})
    return DRAINED if worker.failure is None else BROKEN


def _gauge(worker: GpuWorker, telemetry: WorkerTelemetry, ended: threading.Event) -> None:
    """How busy the device was, each minute."""
    while not ended.wait(GAUGE_S):
        telemetry.count("device_busy", round(100 * worker.device.busy.fraction(), 1))


def _give_up() -> None:
    """A run does not end: its jobs come again when their leases lapse, each time charged for an attempt."""
    sys.stderr.write("gpu_workers ended: a run went on long after its deadline\n")
    sys.stderr.flush()
    os._exit(BROKEN)


def _in_thread(target: Callable[[], None]) -> threading.Thread:
    """A signal may come while the main thread holds a lock that the work needs."""
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def _refuse(error: Exception) -> int:
    sys.stderr.write(f"gpu_workers cannot start: {error}\n")
    return MISCONFIGURED


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: at the interpreter's end a daemon thread that hangs in a model's native code is
    # unwound through it, which aborts the process (-6) after a drain that went well.
    os._exit(code)
