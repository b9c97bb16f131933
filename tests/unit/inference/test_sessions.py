"""The models of a process: loaded once, kept within a budget, never taken from under a user."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import onnx
import pytest
from onnx import helper

from shared.catalog import Catalog, TensorSpec
from shared.errors import (
    ModelDigestError,
    ModelLimitError,
    ModelNotFoundError,
    ModelUnavailableError,
)
from shared.inference.loading import open_sessions
from shared.inference.sessions import FAILURE_CACHE_S, Sessions
from tests.unit.inference import onnx_graphs as graphs
from tests.unit.inference.serving import ask, declare, signature_of, tensor


class Loader:
    """Loads small values and remembers what it loaded."""

    def __init__(self, *, size_bytes=10):
        self.size_bytes = size_bytes
        self.loads = []
        self.failure = None
        self.may_load = threading.Event()
        self.may_load.set()

    def __call__(self, name, _version):
        self.loads.append(name)
        assert self.may_load.wait(10)
        if self.failure is not None:
            raise self.failure
        return SimpleNamespace(name=name, size_bytes=self.size_bytes)


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def loader():
    return Loader()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sessions(loader, clock):
    """Room for three models."""
    return Sessions(loader, budget_bytes=30, estimate_bytes=lambda *_: 10, clock=clock)


def use(sessions, name):
    with sessions.use(name, "1") as model:
        return model


def names(sessions):
    return [name for name, _ in sessions.loaded()]


def test_a_model_is_loaded_once(sessions, loader):
    assert use(sessions, "a") is use(sessions, "a")
    assert sessions.get("a", "1") is use(sessions, "a")
    assert loader.loads == ["a"]


def test_the_least_recently_used_model_makes_room(sessions):
    for name in ("a", "b", "c", "a", "d"):
        use(sessions, name)

    assert names(sessions) == ["c", "a", "d"]
    assert sessions.size_bytes == 30


def test_getting_a_model_counts_as_using_it(sessions):
    for name in ("a", "b", "c"):
        use(sessions, name)
    sessions.get("a", "1")
    use(sessions, "d")

    assert names(sessions) == ["c", "a", "d"]


def test_a_model_in_use_is_not_evicted(sessions, loader):
    with sessions.use("a", "1"), sessions.use("a", "1"):
        for name in ("b", "c", "d", "e"):
            use(sessions, name)
        assert "a" in names(sessions)
    for name in ("f", "g", "h"):
        use(sessions, name)

    assert "a" not in names(sessions)
    assert loader.loads.count("a") == 1


def test_models_in_use_are_in_the_way_of_one_that_does_not_fit_beside_them(sessions):
    with sessions.use("a", "1"), sessions.use("b", "1"), sessions.use("c", "1"):
        assert sessions.in_the_way("a", "1") == []
        assert sessions.in_the_way("d", "1") == [("a", "1")]
        sessions.use("a", "1").__exit__()
        assert sessions.in_the_way("d", "1") == [("b", "1")]
    with sessions.use("a", "1"), sessions.use("b", "1"):
        assert sessions.in_the_way("d", "1") == []


def test_a_model_is_given_back_when_its_user_fails(sessions):
    with pytest.raises(RuntimeError), sessions.use("a", "1"):
        raise RuntimeError
    for name in ("b", "c", "d"):
        use(sessions, name)

    assert "a" not in names(sessions)


def test_a_model_larger_than_the_budget_is_served_alone(sessions, loader):
    use(sessions, "a")
    loader.size_bytes = 100

    assert use(sessions, "huge").name == "huge"
    assert names(sessions) == ["huge"]
    loader.size_bytes = 10
    use(sessions, "b")
    assert names(sessions) == ["b"]


def in_threads(sessions, loader, count):
    """`count` threads ask for one model while it loads; their answers or errors."""
    loader.may_load.clear()
    with ThreadPoolExecutor(count) as threads:
        asked = [threads.submit(use, sessions, "a") for _ in range(count)]
        end_s = time.monotonic() + 10
        while not loader.loads and time.monotonic() < end_s:
            time.sleep(0.001)
        loader.may_load.set()
        return [one.exception(20) or one.result() for one in asked]


def test_many_threads_share_one_load(sessions, loader):
    answers = in_threads(sessions, loader, 8)

    assert loader.loads == ["a"]
    assert all(answer is answers[0] for answer in answers)
    for name in ("b", "c", "d"):
        use(sessions, name)
    assert "a" not in names(sessions)


def test_many_threads_share_one_failure(sessions, loader):
    loader.failure = ModelDigestError("not the locked file")

    answers = in_threads(sessions, loader, 8)

    assert loader.loads == ["a"]
    assert {str(answer) for answer in answers} == {"not the locked file"}
    assert {type(answer) for answer in answers} == {ModelDigestError}


def test_a_failure_is_remembered_for_seconds_and_then_tried_again(sessions, loader, clock):
    loader.failure = ModelUnavailableError("not there")
    for _ in range(3):
        with pytest.raises(ModelUnavailableError):
            use(sessions, "a")
    assert loader.loads == ["a"]

    loader.failure = None
    clock.now_s += FAILURE_CACHE_S

    assert use(sessions, "a").name == "a"
    assert FAILURE_CACHE_S <= 30


def test_one_broken_model_leaves_the_others_alone(sessions, loader):
    loader.failure = ModelUnavailableError("not there")
    with pytest.raises(ModelUnavailableError):
        use(sessions, "a")
    loader.failure = None

    assert use(sessions, "b").name == "b"


def test_a_foreign_failure_reaches_its_thread_and_others_as_unavailable(sessions, loader):
    loader.failure = MemoryError()
    with pytest.raises(MemoryError):
        use(sessions, "a")
    with pytest.raises(ModelUnavailableError, match="loading model 'a' version '1' failed"):
        use(sessions, "a")


def test_threads_that_load_and_evict_each_other_all_get_their_model(loader):
    sessions = Sessions(loader, budget_bytes=20, estimate_bytes=lambda *_: 10)

    def work(seed):
        for step in range(300):
            name = "abcdef"[(seed * 7 + step * step) % 6]
            with sessions.use(name, "1") as model:
                assert model.name == name
                assert name in names(sessions)
        return True

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(work, range(6)))
    use(sessions, "a")
    assert len(names(sessions)) <= 2


def test_a_package_is_served_from_its_catalog(tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    onnx.save(graphs.identity(), str(tmp_path / "m" / "1" / "model.onnx"))
    model, _ = declare(tmp_path, "m", graph=signature_of(graphs.identity()))
    sessions = open_sessions(tmp_path, Catalog({"m": model}), budget_bytes=1 << 30)

    with sessions.use("m", "1") as served:
        answer = ask(served, [tensor([1, 2], [1, 2])])

    assert answer.arrays[0].tolist() == [[1, 2]]
    assert sessions.size_bytes >= model.versions["1"].size_bytes
    with pytest.raises(ModelNotFoundError):
        sessions.get("absent", "1")


def test_finding_a_loaded_model_costs_less_than_a_small_fraction_of_a_run(serve):
    served = serve(graphs.identity())
    sessions = Sessions(lambda *_: served, budget_bytes=1 << 30, estimate_bytes=lambda *_: 0)
    inputs = [tensor([1, 2], [1, 2])]

    def best_s(call, rounds=7, times=300):
        best = float("inf")
        for _ in range(rounds):
            started_s = time.perf_counter()
            for _ in range(times):
                call()
            best = min(best, time.perf_counter() - started_s)
        return best

    assert best_s(lambda: use(sessions, "m")) < best_s(lambda: ask(served, inputs)) / 5


def test_a_model_that_is_dropped_goes_with_its_last_user_and_is_loaded_anew(sessions, loader):
    with sessions.use("m", "1") as used:
        sessions.get("other", "1")
        sessions.drop("m", "1")
        with sessions.use("m", "1") as new:
            assert new is not used

    assert loader.loads == ["m", "other", "m"]
    assert sessions.spent
    assert sessions.loaded() == [("other", "1"), ("m", "1")]


def test_a_run_without_memory_drops_its_model_and_no_other(tmp_path):
    greedy = graphs.model(
        [helper.make_node("ConstantOfShape", ["x"], ["y"])],
        [graphs.value("x", "INT64", ["k"])],
        [graphs.value("y", "FP32", None)],
    )
    catalog = {}
    for name, built, signature in (
        ("greedy", greedy, ((TensorSpec("x", "INT64", (-1,)),), (TensorSpec("y", "FP32", (-1,)),))),
        ("plain", graphs.identity(), None),
    ):
        folder = tmp_path / name / "1"
        folder.mkdir(parents=True)
        onnx.save(built, str(folder / "model.onnx"))
        model, _ = declare(tmp_path, name, graph=signature or signature_of(built))
        catalog[name] = model
    sessions = open_sessions(tmp_path, Catalog(models=catalog), budget_bytes=1 << 30)
    sessions.get("plain", "1")

    with pytest.raises(ModelLimitError):
        ask(sessions.get("greedy", "1"), [tensor([2**42], [1], "INT64")])

    assert sessions.loaded() == [("plain", "1")]
    assert sessions.spent
