"""Takes from the process that looks at a model what it has no need of: the network, memory, time, disk.

Called once, in the process itself, before it opens anything that somebody else made. What is taken
cannot be had again, by the process or by any that it starts.

    network   Linux: a filter of system calls (seccomp), which no right is needed for, and a network
              namespace of its own where the system allows one. macOS: `sandbox-exec`, around the process
    others    Linux: no signal reaches another process (the same filter); none is looked into, and nothing is
              written but below the folder for temporary files (Landlock, where the kernel has it: 5.13)
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
import tempfile
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
LANDLOCK_CREATE: Final = 444
LANDLOCK_ADD: Final = 445
LANDLOCK_RESTRICT: Final = 446
"""System calls, of the same number on every architecture."""
CAPABILITY_VERSION: Final = 0x20080522
CAPABILITIES_KEPT: Final = 1 << 1 | 1 << 2
"""To read what belongs to somebody else: root's models may."""
PATH_BENEATH: Final = 1
WRITE_FILE: Final = 1 << 1
CHANGE_FOLDERS: Final = 0x1FF0
"""Remove and make whatever a folder can hold."""
X32: Final = 0x40000000
"""Numbers from here on are a second table of the same calls, on x86_64."""


class IsolationError(RuntimeError):
    """This system takes nothing from the process, so nothing hostile is opened in it."""


class Machine(NamedTuple):
    """What the filter knows of one architecture."""

    audit: int
    tgkill: int
    """A signal to a thread: let through to those of this process, since abort() is one."""
    refused: tuple[int, ...]
    """Calls that reach out of the process: sockets, io_uring, other processes, mounts, the kernel's own tools."""


MACHINES: Final = {
    # socket connect accept sendto sendmsg bind listen socketpair accept4, kill ptrace
    # process_vm_readv process_vm_writev pidfd_send_signal pidfd_open, io_uring_setup, mount setns
    # unshare keyctl bpf perf_event_open userfaultfd, tkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_getfd
    "x86_64": Machine(
        0xC000003E,
        234,
        (41, 42, 43, 44, 46, 49, 50, 53, 288, 62, 101, 310, 311, 424, 434, 425, 165, 308, 272, 250,
         321, 298, 323, 200, 129, 297, 438),
    ),
    "aarch64": Machine(
        0xC00000B7,
        131,
        (198, 203, 202, 206, 211, 200, 201, 199, 242, 129, 117, 270, 271, 424, 434, 425, 40, 268, 97,
         219, 280, 241, 282, 130, 138, 240, 438),
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
    leave_others()
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


def leave_others() -> bool:
    """Write below the temporary folder alone, and look into no other process; whether the kernel can do that.

    Reading stays: a model's files may lie anywhere.
    """
    writing = WRITE_FILE | CHANGE_FOLDERS
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        rules = libc.syscall(LANDLOCK_CREATE, struct.pack("Q", writing), ctypes.c_size_t(8), 0)
        if rules < 0 or libc.prctl(PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))) != 0:
            return False
        for path, access in ((tempfile.gettempdir(), writing), (os.devnull, WRITE_FILE)):
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = struct.pack("=Qi", access, place)
            libc.syscall(LANDLOCK_ADD, rules, PATH_BENEATH, allowed, 0)
            os.close(place)
        restricted = libc.syscall(LANDLOCK_RESTRICT, rules, 0)
        os.close(rules)
        _keep_capabilities(libc, CAPABILITIES_KEPT)  # others let root look past Landlock
    except (OSError, AttributeError):
        return False
    return int(restricted) == 0


def _keep_capabilities(libc: ctypes.CDLL, kept: int) -> None:
    """Of root's rights these alone; an ordinary user has none."""
    header = struct.pack("Ii", CAPABILITY_VERSION, 0)
    sets = ctypes.create_string_buffer(24)
    if libc.capget(header, sets) == 0:
        lower = [rights & kept for rights in struct.unpack("6I", sets.raw)[:3]]
        libc.capset(header, struct.pack("6I", *lower, 0, 0, 0))


def refuse_calls() -> bool:
    """Refuse the calls of `MACHINES` from now on, in every thread to come; whether the system allows it."""
    machine = MACHINES.get(platform.machine())
    if machine is None:
        return False
    program = _program(machine, os.getpid())
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


def _program(machine: Machine, pid: int) -> bytes:
    """The filter: another architecture or table of calls is refused whole, then each number."""
    refused = machine.refused
    steps = [
        (LOAD, 0, 0, 4),  # the architecture
        (JUMP_IF_EQUAL, 1, 0, machine.audit),
        (RETURN, 0, 0, REFUSE),
        (LOAD, 0, 0, 0),  # the call's number
        (JUMP_IF_AT_LEAST, len(refused) + 4, 0, X32),
        *(
            (JUMP_IF_EQUAL, len(refused) - position + 3, 0, number)
            for position, number in enumerate(refused)
        ),
        (JUMP_IF_EQUAL, 0, 2, machine.tgkill),
        (LOAD, 0, 0, 16),  # whose thread: the first argument, its lower half
        (JUMP_IF_EQUAL, 0, 1, pid),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
