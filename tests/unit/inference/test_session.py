"""One session: its files are the locked ones, and it survives the runs that it stops."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

from shared.catalog import SessionSpec, TensorSpec
from shared.errors import (
    DeadlineExceededError,
    ModelDigestError,
    ModelLimitError,
    ModelRunError,
    ModelUnavailableError,
    SignatureError,
    TooLargeError,
)
from shared.inference import providers
from shared.inference.deadline import FOREVER, OVERDUE_S, WATCHDOG, Watchdog
from shared.inference.providers import (
    CPU,
    CPU_PROVIDER,
    CUDA_PROVIDER,
    TENSORRT_PROVIDER,
    Device,
    DeviceError,
    open_device,
)
from shared.inference.session import load_session, open_session, session_options
from shared.inference.warming import warm_up
from tests.unit.inference import onnx_graphs as graphs
from tests.unit.inference.serving import declare

SPEC = SessionSpec(None, 1, "all", memory_arena=True)
SIGNATURE = (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "m" / "1"
    path.mkdir(parents=True)
    graphs.save_with_external_data(path / "model.onnx")
    return path


@pytest.fixture
def version(folder):
    return declare(folder.parents[1], "m", graph=SIGNATURE, files=("model.onnx", "weights.bin"))[1]


def wait_until(condition, *, timeout_s=10.0):
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "waited too long"
        time.sleep(0.005)


def test_external_data_is_read_from_beside_the_model(folder, version):
    session = load_session(folder, version, SPEC)

    [y] = session.run({"x": np.ones((1, 2), np.float32)}, ["y"], deadline_s=1e12)

    assert y.tolist() == [[2, 3]]


@pytest.mark.parametrize("file", ["model.onnx", "weights.bin"])
def test_a_file_that_changed_after_locking_is_not_loaded(folder, version, file):
    data = bytearray((folder / file).read_bytes())
    data[-1] ^= 1
    (folder / file).write_bytes(data)

    with pytest.raises(
        ModelDigestError, match=f"file '{file}' of model 'm' version '1' has SHA-256"
    ):
        load_session(folder, version, SPEC)


def test_a_file_of_another_size_is_not_even_hashed(folder, version):
    with (folder / "weights.bin").open("ab") as stream:
        stream.write(b"more")

    with pytest.raises(ModelDigestError, match=r"has 12 bytes; 8 were locked"):
        load_session(folder, version, SPEC)


def test_a_missing_file_is_unavailable(folder, version):
    (folder / "weights.bin").unlink()

    with pytest.raises(ModelUnavailableError, match=r"'weights\.bin' .* is missing") as refused:
        load_session(folder, version, SPEC)
    assert str(folder) not in refused.value.message


def test_a_symbolic_link_is_not_followed(folder, version):
    (folder / "weights.bin").rename(folder / "elsewhere")
    (folder / "weights.bin").symlink_to(folder / "elsewhere")

    with pytest.raises(ModelDigestError, match="not a plain file"):
        load_session(folder, version, SPEC)


def test_a_file_that_is_no_model_is_unavailable_without_a_path_in_the_message(tmp_path):
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"no model")
    _, version = declare(tmp_path, "m", graph=SIGNATURE)

    with pytest.raises(ModelUnavailableError, match="cannot load model 'm'") as refused:
        load_session(folder, version, SPEC)
    assert str(tmp_path) not in refused.value.message


def test_the_declaration_becomes_session_options():
    declared = session_options(SessionSpec(3, 2, "basic", memory_arena=False), threads=8)
    default = session_options(SPEC, threads=8)

    assert (declared.intra_op_num_threads, declared.inter_op_num_threads) == (3, 2)
    assert declared.enable_cpu_mem_arena is False
    assert declared.graph_optimization_level.name == "ORT_ENABLE_BASIC"
    assert default.intra_op_num_threads == 8


@pytest.fixture
def endless(serve):
    """A model that never ends when asked for enough rounds."""
    session = serve(graphs.endless()).session

    def run(count, *, allowed_s):
        feeds = {"count": np.array(count), "x": np.zeros(1, np.float32)}
        return session.run(feeds, ["y"], deadline_s=time.monotonic() + allowed_s)

    return run


def test_an_endless_run_is_stopped_at_its_deadline_and_the_session_lives_on(endless):
    started_s = time.monotonic()

    with pytest.raises(DeadlineExceededError, match=r"stopped after \d+ ms; it had 200 ms"):
        endless(10**12, allowed_s=0.2)

    assert 0.2 <= time.monotonic() - started_s < 5
    assert endless(3, allowed_s=30)[0].tolist() == [3]


def test_a_stopped_run_does_not_stop_another_one(endless):
    outcomes = {}

    def run(name, allowed_s):
        try:
            endless(10**12, allowed_s=allowed_s)
        except DeadlineExceededError:
            outcomes[name] = time.monotonic()

    threads = [
        threading.Thread(target=run, args=("short", 0.1)),
        threading.Thread(target=run, args=("long", 0.6)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert outcomes["long"] - outcomes["short"] > 0.3


def test_a_run_that_is_aborted_ends_and_none_begins_until_it_may(endless):
    entered, ended = threading.Event(), threading.Event()
    told = {}

    def run():
        told["watch"] = WATCHDOG.watch()
        entered.set()
        with pytest.raises(DeadlineExceededError):
            endless(10**12, allowed_s=60)
        with pytest.raises(DeadlineExceededError):
            endless(10**12, allowed_s=60)
        told["watch"].allow()
        told["after"] = endless(3, allowed_s=60)[0].tolist()
        ended.set()

    threading.Thread(target=run, daemon=True).start()
    assert entered.wait(20)
    told["watch"].abort()

    assert ended.wait(20)
    assert told["after"] == [3]


def test_a_device_that_this_runtime_lacks_is_refused_with_what_it_has():
    with pytest.raises(DeviceError, match=r"CUDAExecutionProvider; this onnxruntime has .*CPU"):
        open_device("cuda:0")
    with pytest.raises(DeviceError, match="cpu, cuda:N or tensorrt:N"):
        open_device("gpu")
    assert open_device("cpu") is CPU


def test_tensorrt_without_its_library_is_refused_though_the_runtime_lists_it(monkeypatch):
    listed = ["TensorrtExecutionProvider", CUDA_PROVIDER, CPU_PROVIDER]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: listed)
    with pytest.raises(DeviceError, match="libnvinfer"):
        open_device("tensorrt:0")
    assert open_device("cuda:1").providers == ((CUDA_PROVIDER, {"device_id": 1}), CPU_PROVIDER)
    limited = {"device_id": 1, "gpu_mem_limit": 1 << 30}
    assert open_device("cuda:1", memory_bytes=1 << 30).providers[0] == (CUDA_PROVIDER, limited)


def test_with_its_library_tensorrt_comes_first_and_keeps_its_engines(monkeypatch, tmp_path):
    listed = [TENSORRT_PROVIDER, CUDA_PROVIDER, CPU_PROVIDER]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: listed)
    monkeypatch.setattr(
        providers, "TENSORRT_LIBRARY", None
    )  # the process itself, which can be loaded
    cache = tmp_path / "engines"

    device = open_device("tensorrt:1", engine_cache=str(cache))

    (first, options), *others = device.providers
    assert (first, device.required) == (TENSORRT_PROVIDER, TENSORRT_PROVIDER)
    assert others == [(CUDA_PROVIDER, {"device_id": 1}), CPU_PROVIDER]
    assert options["device_id"] == 1
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == str(cache)
    assert cache.is_dir()


def test_a_session_that_fell_back_from_its_device_is_no_session(serve):
    session = serve(graphs.lookup()).session
    cuda = Device("cuda:0", (CUDA_PROVIDER, CPU_PROVIDER), CUDA_PROVIDER)
    with pytest.raises(ModelUnavailableError, match="left CUDAExecutionProvider out"):
        cuda.check(session._session, "model 'm'")


def test_a_model_is_warmed_up_with_inputs_that_it_takes(serve):
    assert warm_up(serve(graphs.lookup()).session, (1, 4))


def test_a_deadline_that_has_passed_stops_the_run_too(endless):
    with pytest.raises(DeadlineExceededError, match="it had 0 ms"):
        endless(10**12, allowed_s=-1)


def test_a_failed_run_writes_no_values_to_the_log(serve, capfd):
    session = serve(graphs.lookup()).session

    with pytest.raises(Exception, match="out of data bounds"):
        session.run({"i": np.array([987654])}, ["y"], deadline_s=1e12)

    assert "987654" not in "".join(capfd.readouterr())


def node(kind, inputs, *, shapes, output_type="FP32", constants=(), **attributes):
    """A graph of one node; `shapes`: datatype and shape of each input that is fed."""
    return graphs.model(
        [graphs.helper.make_node(kind, inputs, ["y"], **attributes)],
        [graphs.value(name, *shape) for name, shape in shapes.items()],
        [graphs.value("y", output_type, None)],
        initializers=constants,
    )


TABLE = graphs.numpy_helper.from_array(np.ones((3, 2), np.float32), "t")
INDICES = {"i": ("INT64", ["n", 2])}
TWO = {"a": ("FP32", ["n", "k"]), "b": ("FP32", ["m", "l"])}
RESHAPED = {"a": ("FP32", ["n"]), "s": ("INT64", ["k"])}
WRONG_VALUES = {
    "Gather": (node("Gather", ["t", "i"], shapes=INDICES, constants=[TABLE]), {"i": [[7, 0]]}),
    "GatherElements": (
        node("GatherElements", ["t", "i"], shapes=INDICES, constants=[TABLE]),
        {"i": [[7, 0]]},
    ),
    "Add": (node("Add", ["a", "b"], shapes=TWO), {"a": [[1.0] * 3], "b": [[1.0] * 2]}),
    "MatMul": (node("MatMul", ["a", "b"], shapes=TWO), {"a": [[1.0] * 3], "b": [[1.0] * 2]}),
    "Concat": (
        node("Concat", ["a", "b"], shapes=TWO, axis=1),
        {"a": [[1.0]], "b": [[1.0], [2.0]]},
    ),
    "Reshape": (node("Reshape", ["a", "s"], shapes=RESHAPED), {"a": [1.0] * 6, "s": [4, 2]}),
}


@pytest.mark.parametrize("kind", WRONG_VALUES)
def test_values_that_the_graph_cannot_use_are_the_callers_fault(serve, kind):
    graph, values = WRONG_VALUES[kind]
    session = serve(graph).session
    feeds = {
        name: np.array(value, np.int64 if name in "is" else np.float32)
        for name, value in values.items()
    }

    with pytest.raises(SignatureError, match="cannot compute with these values") as refused:
        session.run(feeds, ["y"], deadline_s=1e12)

    assert refused.value.field == "inputs"
    assert_no_internals(refused.value.message)


def assert_no_internals(message):
    for word in ("onnxruntime", "::", ".cc", ".h:", "Status", "ONNXRuntimeError"):
        assert word not in message, message


def test_a_failure_of_another_kind_is_ours_and_told_in_the_log_alone(serve):
    shape = {"s": ("INT64", ["k"])}
    session = serve(node("ConstantOfShape", ["s"], shapes=shape)).session

    with pytest.raises(ModelLimitError) as failed:
        session.run({"s": np.array([2**42])}, ["y"], deadline_s=1e12)

    assert "needed more memory at a ConstantOfShape node than it may have" in failed.value.message
    assert_no_internals(failed.value.message)
    assert "allocate memory" in failed.value.detail


TELLING = {
    "TopK": (["d", "i"], ["y", "places"]),
    "CumSum": (["d", "i"], ["y"]),
    "Unsqueeze": (["d", "i"], ["y"]),
}
"""Operators of which onnxruntime says what value of an input was wrong."""


@pytest.mark.parametrize("operator", TELLING)
def test_no_value_of_an_input_is_in_the_words_for_the_log(serve, operator):
    ins, outs = TELLING[operator]
    built = helper.make_graph(
        [helper.make_node(operator, ins, outs)],
        "telling",
        [
            helper.make_tensor_value_info("d", TensorProto.FLOAT, ["n", 2]),
            helper.make_tensor_value_info("i", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    opset = [helper.make_opsetid("", 21)]
    session = serve(helper.make_model(built, opset_imports=opset, ir_version=10)).session
    feeds = {"d": np.ones((1, 2), np.float32), "i": np.array([98765432])}

    with pytest.raises(ModelRunError) as failed:
        session.run(feeds, ["y"], deadline_s=1e12)

    assert len(failed.value.detail) > 20
    assert "98765432" not in failed.value.detail + failed.value.message


def test_who_holds_a_session_is_told_that_it_may_hold_all_memory(serve):
    served = serve(node("ConstantOfShape", ["s"], shapes={"s": ("INT64", ["k"])}))
    told = []
    served.session.on_spent = lambda: told.append(True)

    with pytest.raises(ModelLimitError):
        served.session.run({"s": np.array([2**42])}, ["y"], deadline_s=1e12)
    served.session.rows_meant = 1
    with pytest.raises(TooLargeError, match=r"2 rows at once .* send at most 1 a request"):
        served.session.run({"s": np.array([2**42, 1])}, ["y"], deadline_s=1e12)

    assert told == [True, True]


def test_the_watchdog_sleeps_when_there_is_nothing_to_watch_and_wakes_again():
    watchdog = Watchdog(tick_s=0.001)
    watch = watchdog.arm(time.monotonic() + 60)
    watch.deadline_s = FOREVER
    wait_until(lambda: watchdog.parked)

    watchdog.arm(time.monotonic() - 1)

    wait_until(lambda: watch.options.terminate)
    watch.deadline_s = FOREVER
    wait_until(lambda: watchdog.parked)


def test_a_run_that_goes_on_long_after_its_deadline_is_told_of():
    told = []
    watchdog = Watchdog(tick_s=0.001)
    watchdog.overdue = lambda: told.append(True)

    watch = watchdog.arm(time.monotonic() - 1)
    wait_until(lambda: watch.options.terminate)
    assert not told

    watchdog.arm(time.monotonic() - OVERDUE_S)
    wait_until(lambda: told)
    watch.deadline_s = FOREVER


def watching_threads():
    return [thread for thread in threading.enumerate() if thread.name == "laneway-deadlines"]


def test_one_thread_watches_the_runs_of_all_threads():
    before = len(watching_threads())
    watchdog = Watchdog(tick_s=0.001)

    def run_until_stopped(_):
        watch = watchdog.arm(time.monotonic() - 1)
        wait_until(lambda: watch.options.terminate)
        watch.deadline_s = FOREVER
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(run_until_stopped, range(8)))
    assert len(watching_threads()) == before + 1


def test_a_run_that_is_stopped_for_an_earlier_one_is_run_again(endless):
    watch = WATCHDOG.arm(time.monotonic() + 60)
    watch.deadline_s = FOREVER
    watch.options.terminate = True

    assert endless(3, allowed_s=30)[0].tolist() == [3]
    assert endless(4, allowed_s=30)[0].tolist() == [4]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_a_watchdog_of_its_own():
    WATCHDOG.arm(time.monotonic() + 60).deadline_s = FOREVER

    child = os.fork()
    if child == 0:
        watch = WATCHDOG.arm(time.monotonic() - 1)
        end_s = time.monotonic() + 10
        while not watch.options.terminate and time.monotonic() < end_s:
            time.sleep(0.005)
        os._exit(0 if watch.options.terminate else 1)

    assert os.waitpid(child, 0)[1] == 0


def test_a_changed_digest_in_the_lock_is_noticed(folder, version):
    first, second = version.files
    other = replace(version, files=(replace(first, sha256="0" * 64), second))

    with pytest.raises(ModelDigestError, match=r"000000000000\.\.\. was locked"):
        load_session(folder, other, SPEC)


# --- rewrites of the graph


def add_and_normalise(path):
    """A graph as transformers have it: what came before is added, and the sum normalised."""
    ones = numpy_helper.from_array(np.ones(8, np.float32), "scale")
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "tokens", 8])
        for name in ("hidden", "before", "out")
    ]
    nodes = [
        helper.make_node("Add", ["hidden", "before"], ["sum"]),
        helper.make_node("LayerNormalization", ["sum", "scale", "scale"], ["out"], axis=-1),
    ]
    graph = helper.make_graph(nodes, "block", tensors[:2], tensors[2:], [ones])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)


def test_an_addition_and_a_normalisation_stay_two_nodes_on_the_cpu(tmp_path):
    """As one node they take four to six times as long there, and onnxruntime would make them one."""
    model = tmp_path / "model.onnx"
    add_and_normalise(model)

    def rewritten(name, make):
        options = session_options(SPEC, threads=1)
        options.optimized_model_filepath = str(tmp_path / name)
        make(options)
        return [node.op_type for node in onnx.load(tmp_path / name).graph.node]

    ours = rewritten("ours.onnx", lambda options: open_session(model, options))
    theirs = rewritten(
        "theirs.onnx",
        lambda options: InferenceSession(str(model), options, providers=[CPU_PROVIDER]),
    )

    assert ours == ["Add", "LayerNormalization"]
    assert theirs == ["SkipLayerNormalization"]
