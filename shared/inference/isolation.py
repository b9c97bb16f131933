"""Takes from the process that looks at a model what it has no need of: the network, memory, time, disk.

Called once, in the process itself, before it opens anything that somebody else made. What is taken
cannot be had again, by the process or by any that it starts.

    network   Linux: a filter of system calls (seccomp), which no right is needed for, and a network
              namespace of its own where the system allows one. macOS: `sandbox-exec`, around the process
    memory    RLIMIT_DATA: what the process may write to, whether it is touched or not. macOS takes the
              limit and does not hold it
    time      CPU time by a timer for each step, and by RLIMIT_CPU for all of them
    disk      RLIMIT_FSIZE: no file that is written may grow past a few MiB, or what a model's optimised form may have
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from contextlib import suppress
from typing import Final, NamedTuple

WRITTEN_BYTES_MAX: Final = 16 << 20
FILES_OPEN_MAX: Final = 512

# from linux/prctl.h, linux/seccomp.h, linux/sched.h, linux/audit.h and linux/bpf_common.h
PR_SET_NO_NEW_PRIVS: Final = 38
PR_SET_SECCOMP: Final = 22
SECCOMP_MODE_FILTER: Final = 2
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000
ALLOW: Final = 0x7FFF0000
REFUSE: Final = 0x00050000 | 1
"""SECCOMP_RET_ERRNO with EPERM."""
LOAD: Final = 0x20
JUMP_IF_EQUAL: Final = 0x15
JUMP_IF_AT_LEAST: Final = 0x35
RETURN: Final = 0x06
X32: Final = 0x40000000
"""Numbers from here on are a second table of the same calls, on x86_64."""


class IsolationError(RuntimeError):
    """This system takes nothing from the process, so nothing hostile is opened in it."""


class Machine(NamedTuple):
    """What the filter knows of one architecture."""

    audit: int
    refused: tuple[int, ...]
    """Calls that reach out of the process: sockets, io_uring, other processes, mounts, the kernel's own tools."""


MACHINES: Final = {
    # socket connect accept sendto sendmsg bind listen socketpair accept4, kill ptrace
    # process_vm_readv process_vm_writev pidfd_send_signal pidfd_open, io_uring_setup, mount setns
    # unshare keyctl bpf perf_event_open userfaultfd
    "x86_64": Machine(
        0xC000003E,
        (41, 42, 43, 44, 46, 49, 50, 53, 288, 62, 101, 310, 311, 424, 434, 425, 165, 308, 272, 250,
         321, 298, 323),
    ),
    "aarch64": Machine(
        0xC00000B7,
        (198, 203, 202, 206, 211, 200, 201, 199, 242, 129, 117, 270, 271, 424, 434, 425, 40, 268, 97,
         219, 280, 241, 282),
    ),
}  # fmt: skip


def isolate(*, memory_bytes: int, cpu_s: int, written_bytes: int = WRITTEN_BYTES_MAX) -> None:
    """Take everything; no file may grow past `written_bytes`. Raises IsolationError where the network cannot be taken."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written_bytes, written_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    files = min(FILES_OPEN_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    with suppress(OSError, ValueError):  # macOS
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    if sys.platform == "darwin":
        return  # whoever started this process put it behind sandbox-exec
    alone = leave_network()
    if not refuse_calls() and not alone:
        raise IsolationError(
            "this system lets a process neither filter its system calls (seccomp) nor leave the "
            "network, so no model is opened here; check models on another one"
        )


def leave_network() -> bool:
    """Into a network namespace of one's own, in which there is nothing; whether the system allows it."""
    flags = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
    try:
        return int(ctypes.CDLL(None).unshare(flags)) == 0
    except (OSError, AttributeError):
        return False


def refuse_calls() -> bool:
    """Refuse the calls of `MACHINES` from now on, in every thread to come; whether the system allows it."""
    machine = MACHINES.get(platform.machine())
    if machine is None:
        return False
    program = _program(machine)
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return False
    numbers = [ctypes.c_ulong(number) for number in (1, 0, 0, 0)]
    if prctl(PR_SET_NO_NEW_PRIVS, *numbers) != 0:
        return False
    filtered = prctl(PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), header, *numbers[1:3])
    return int(filtered) == 0


def begin_timer(cpu_s: float) -> None:
    """End the process by SIGPROF after so much CPU time of all its threads; 0: no longer."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, cpu_s)


def _program(machine: Machine) -> bytes:
    """The filter: another architecture or table of calls is refused whole, then each number."""
    refused = machine.refused
    steps = [
        (LOAD, 0, 0, 4),  # the architecture
        (JUMP_IF_EQUAL, 1, 0, machine.audit),
        (RETURN, 0, 0, REFUSE),
        (LOAD, 0, 0, 0),  # the call's number
        (JUMP_IF_AT_LEAST, len(refused) + 1, 0, X32),
        *(
            (JUMP_IF_EQUAL, len(refused) - position, 0, number)
            for position, number in enumerate(refused)
        ),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
