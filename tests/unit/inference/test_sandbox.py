"""A model that is looked at cannot harm the process that asks: limits, and nothing to reach out with."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from shared.inference import sandbox
from shared.inference.admission_limits import limits_of, widest_limits
from shared.inference.inspect import ModelRefusedError, inspect_model
from shared.inference.sandbox import inspect_in_sandbox
from shared.schema.spec import PoolSpec
from tests.fixtures import bombs
from tests.unit.inference import onnx_graphs as graphs

PROJECT = Path(__file__).parents[3]
MIB = 1 << 20

MEASURED = """
import json, resource, sys
from pathlib import Path
from shared.inference.findings import ModelRefusedError
from shared.inference.sandbox import inspect_in_sandbox

def spent(who):
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime

for path in map(Path, sys.argv[1:]):
    before_s = spent(resource.RUSAGE_CHILDREN)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        refusal = inspect_in_sandbox(path) and ""
    except ModelRefusedError as error:
        refusal = str(error)
    print(json.dumps({
        "refusal": refusal,
        "took_s": spent(resource.RUSAGE_CHILDREN) - before_s,
        "grown_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib,
    }))
"""


def save(tmp_path, built):
    path = tmp_path / "model.onnx"
    onnx.save(built, str(path))
    return path


def limits(**other):
    return replace(widest_limits(), **other)


def test_the_sandbox_finds_what_a_plain_look_finds(tmp_path):
    path = save(tmp_path, graphs.two_in_two_out())

    inside, outside = inspect_in_sandbox(path), inspect_model(path)

    assert replace(inside, trial=replace(inside.trial, run_ms=None)) == replace(
        outside, trial=replace(outside.trial, run_ms=None)
    )
    assert inside.trial.row_independent


def test_nothing_of_the_folder_that_it_is_called_in_is_imported(tmp_path, monkeypatch):
    path = save(tmp_path, graphs.zipmap())
    (tmp_path / "json.py").write_text("raise SystemExit('somebody else is here')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")

    with pytest.raises(ModelRefusedError, match="zipmap"):
        inspect_in_sandbox(path)


def test_a_refusal_comes_out_of_the_sandbox_with_its_words(tmp_path):
    with pytest.raises(ModelRefusedError, match="zipmap"):
        inspect_in_sandbox(save(tmp_path, graphs.zipmap()))


BOMBS = {
    bombs.constant_of_shape: "needed more memory at a ConstantOfShape node",
    bombs.endless_loop: "running one row took more than 4 s of CPU time",
    bombs.tile: "needed more memory at a Tile node",
    bombs.expand: "needed more memory at a (Expand|Mul) node",
    bombs.pad: "needed more memory at a Pad node",
    bombs.number_range: "needed more memory at a Range node",
    bombs.resize: "needed more memory at a Resize node",
    bombs.texts: "needed more memory at a Expand node",
    bombs.chain: "more than 20000 nodes",
    bombs.nested: "nested deeper than 8",
    bombs.save_huge: "more than the 8192 MiB",
}


def test_a_bomb_is_refused_in_seconds_and_does_not_move_the_memory_of_who_asks(tmp_path):
    paths = [
        bombs.save_huge(tmp_path / "huge.onnx")
        if bomb is bombs.save_huge
        else bombs.save(tmp_path / f"{bomb.__name__}.onnx", bomb)
        for bomb in BOMBS
    ]

    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, paths)],
        cwd=PROJECT, capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip

    found = [json.loads(line) for line in done.stdout.splitlines()]
    for (bomb, words), one in zip(BOMBS.items(), found, strict=True):
        assert re.search(words, one["refusal"]), (bomb.__name__, one)
        assert one["took_s"] < 10, (bomb.__name__, one)
        assert one["grown_kib"] < 4 * 1024, (bomb.__name__, one)


def test_a_bomb_that_begins_with_its_second_row_is_refused(tmp_path):
    path = bombs.save(tmp_path / "model.onnx", bombs.endless_for_two)

    with pytest.raises(
        ModelRefusedError, match=r"running 2 rows took more than 0\.5\d* s of CPU .* raise run_s"
    ):
        inspect_in_sandbox(path, limits=limits(run_s=0.5))


def test_a_bomb_that_wastes_a_little_of_each_step_is_refused_when_all_of_them_took_too_long(
    tmp_path,
):
    path = bombs.save(tmp_path / "model.onnx", bombs.wasteful)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)

    with pytest.raises(
        ModelRefusedError, match=r"more than 2\.5 s of CPU time in all, .* raise run_s"
    ):
        inspect_in_sandbox(path, limits=limits(total_s=2.5))

    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3
    assert widest_limits().total_s + sandbox.STARTING_S < 10


def test_what_takes_its_time_without_a_cpu_is_stopped_by_the_clock(tmp_path, monkeypatch):
    """A child that stands still, as one that waits for its disk does."""
    begun = []
    started = subprocess.Popen

    def stand_still(*arguments, **others):
        begun.append(started(*arguments, **others))
        begun[0].send_signal(signal.SIGSTOP)
        return begun[0]

    monkeypatch.setattr(subprocess, "Popen", stand_still)

    with pytest.raises(ModelRefusedError, match=r"not loaded and run within 0\.[67]\d* s"):
        inspect_in_sandbox(save(tmp_path, graphs.identity()), limits=limits(total_s=0.1))

    assert begun[0].returncode == -signal.SIGKILL


def test_a_model_whose_rows_leave_no_time_is_not_refused_and_not_stacked(tmp_path):
    path = save(tmp_path, graphs.identity())

    trial = inspect_model(path, steps=lambda *_begun, **_size: 0.0).trial

    assert trial.ran
    assert trial.run_ms
    assert not trial.row_independent
    assert "raise run_s" in trial.reason


def test_what_fits_a_large_pool_is_refused_where_its_own_has_less_memory(tmp_path):
    """Twice 300 MB for one row."""
    path = bombs.save(tmp_path / "model.onnx", lambda: bombs.large(75 * 10**6))
    small = limits_of(PoolSpec(memory_mib=256), compute="cpu")

    assert inspect_in_sandbox(path).trial.ran
    with pytest.raises(ModelRefusedError, match="memory"):
        inspect_in_sandbox(path, limits=small)


def test_a_model_that_takes_too_long_by_the_clock_is_stopped(tmp_path):
    with pytest.raises(ModelRefusedError, match=r"not loaded and run within 0\.01 s"):
        inspect_in_sandbox(save(tmp_path, graphs.identity()), limits=limits(wall_s=0.01))


def test_a_process_that_dies_is_a_refusal(tmp_path):
    with pytest.raises(ModelRefusedError, match=r"while|more than 20 MiB of memory"):
        inspect_in_sandbox(save(tmp_path, graphs.identity()), limits=limits(memory_bytes=20 * MIB))


REACHING_OUT = """
import os, socket, sys
from shared.inference import isolation
if os.geteuid() == 0:
    os.setuid(65534)
taken = getattr(isolation, sys.argv[1])()
try:
    socket.socket().connect(("127.0.0.1", int(sys.argv[2])))
    print(taken, "reached")
except OSError as error:
    print(taken, type(error).__name__)
"""


def reach_out(kept_by):
    """What a process says that is kept from the network this way and calls a server of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        reaching = [sys.executable, "-c", REACHING_OUT, kept_by, str(server.getsockname()[1])]
        done = subprocess.run(
            reaching, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True
        )
    return done.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has sandbox-exec, around the process")
def test_without_any_right_a_process_can_be_kept_from_the_network():
    assert reach_out("refuse_calls") == ["True", "PermissionError"]


@pytest.mark.skipif(sys.platform != "linux", reason="as above")
def test_in_a_network_of_its_own_a_process_reaches_nothing():
    left, came = reach_out("leave_network")
    if left == "False":
        pytest.skip("this system gives a process without rights no network of its own")
    assert came == "OSError"


TOUCHING_OTHERS = """
import ctypes, os, platform, sys, tempfile
from pathlib import Path
from shared.inference import isolation

def tried(what):
    try:
        return what() and "done"
    except OSError as error:
        return type(error).__name__

def signal(process):
    machine = isolation.MACHINES[platform.machine()]
    ctypes.set_errno(0)
    libc = ctypes.CDLL(None, use_errno=True)
    sent = libc.syscall(machine.tgkill, process, process, 0)
    if sent:
        raise OSError(ctypes.get_errno(), "not sent")
    return True

taken = getattr(isolation, sys.argv[1])()
parent, outside = os.getppid(), Path(sys.argv[2])
print(taken,
      tried(lambda: signal(parent)),
      tried(lambda: signal(os.getpid())),
      tried(lambda: Path(f"/proc/{parent}/environ").read_bytes()),
      tried(lambda: outside.write_text("mine")),
      tried(lambda: Path(tempfile.mkdtemp(), "a").write_text("mine")))
"""


def touch_others(kept_by, tmp_path):
    """What a process says that is kept from others this way: signal to its parent and to itself, then files."""
    allowed = tmp_path / "temporary"
    allowed.mkdir()
    touching = [sys.executable, "-c", TOUCHING_OTHERS, kept_by, str(tmp_path / "outside")]
    done = subprocess.run(
        touching, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "TMPDIR": str(allowed)},
    )  # fmt: skip
    return done.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has sandbox-exec, around the process")
def test_without_any_right_a_process_can_be_kept_from_signals_to_others(tmp_path):
    taken, to_parent, to_itself, *_ = touch_others("refuse_calls", tmp_path)

    assert (taken, to_parent, to_itself) == ("True", "PermissionError", "done")


@pytest.mark.skipif(sys.platform != "linux", reason="as above")
def test_a_process_writes_below_its_temporary_folder_alone_and_looks_into_no_other(tmp_path):
    taken, _, _, *files = touch_others("leave_others", tmp_path)
    if taken == "False":
        pytest.skip("this kernel has no Landlock")

    assert files == ["PermissionError", "PermissionError", "done"]
    assert not (tmp_path / "outside").exists()
