"""Engines in processes of their own: asked, compared, refused."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks.engines import ENGINES, Feed
from benchmarks.environments import REQUIREMENTS, NotInstalled, interpreter
from benchmarks.measure import (
    Failed,
    Peer,
    Result,
    Rounds,
    _hopeless,
    convert,
    environment,
    measure,
    reference_outputs,
    relative_error,
)
from benchmarks.worker import LEAST_RUNS, time_runs

ROUNDS = Rounds(count=4, seconds=0.001)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that doubles; ONNX Runtime comes from this environment."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "model.onnx")
    np.savez(tmp_path / "feed.npz", x=np.ones((2, 3), np.float32))
    ours = dataclasses.replace(ENGINES["onnxruntime"], requirements="")
    monkeypatch.setitem(ENGINES, "onnxruntime", ours)
    return tmp_path


def test_engines_run_and_agree(folder: Path) -> None:
    wanted = reference_outputs(folder)
    np.testing.assert_array_equal(wanted[0], np.full((2, 3), 2.0))
    convert("bireme", folder)
    engines = {"bireme": "", "onnxruntime": "", "iree": "no"}
    found = measure("m", engines, folder, 1, ROUNDS, wanted, lambda: 50.0)
    ours, theirs, refused = found
    for result in (ours, theirs):
        assert result.reason == ""
        assert len(result.samples) == ROUNDS.count
        assert result.milliseconds is not None
        assert result.milliseconds > 0
        assert result.error == 0
        assert result.first_result is not None
    assert (refused.reason, refused.milliseconds, refused.samples) == ("no", None, [])


def test_programs_of_an_engine_come_first(folder: Path) -> None:
    first, rest = environment("onnxruntime")["PATH"].split(os.pathsep, 1)
    assert (first, rest) == (str(Path(sys.executable).parent), os.environ["PATH"])


def test_an_engine_that_differs_is_not_timed(folder: Path) -> None:
    wanted = [np.full((2, 3), 2.1, np.float32)]
    (result,) = measure("m", {"onnxruntime": ""}, folder, 1, ROUNDS, wanted, lambda: 50.0)
    assert "differ by 4.8e-02 of the largest" in result.reason
    assert result.samples == []


def test_rounds_of_two_threads_know_how_far_the_cores_were(folder: Path) -> None:
    trips = iter([50.0, 50.0, 50.0, 400.0, 50.0, 50.0, 50.0, 50.0])
    wanted = reference_outputs(folder)
    (result,) = measure("m", {"onnxruntime": ""}, folder, 2, ROUNDS, wanted, lambda: next(trips))
    assert result.near == [True, False, True, True]


def test_what_an_engine_says_when_it_cannot_load(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(Failed, match=r"model\.onnx"):
        reference_outputs(folder)


def test_a_process_that_dies(folder: Path) -> None:
    peer = Peer("onnxruntime", folder, 1, folder / "log")
    try:
        peer.ask("load")
        os.kill(peer._process.pid, signal.SIGKILL)
        with pytest.raises(Failed, match="died with status -9"):
            peer.ask("run")
    finally:
        peer.close()


def test_a_conversion_that_fails_gives_its_reason(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(Failed, match="BM"):
        convert("bireme", folder)


def test_errors_are_relative_to_each_output() -> None:
    wanted = [np.array([1.0, -2.0]), np.array([100.0])]
    assert relative_error([np.array([1.0, -2.0]), np.array([[101.0]])], wanted) == 0.01
    assert relative_error([np.array([1.0]), np.array([100.0])], wanted) == float("inf")
    assert relative_error([np.array([1.0, np.nan]), np.array([100.0])], wanted) == float("inf")


def test_the_median_of_near_rounds_counts() -> None:
    result = Result("m", "e", 2, samples=[9.0, 1.0, 3.0, 2.0], near=[False, True, True, True])
    assert (result.milliseconds, result.state) == (2.0, "")
    far = Result("m", "e", 2, samples=[9.0, 1.0, 3.0, 2.0], near=[False, False, True, True])
    assert (far.milliseconds, far.state) == (2.5, "far")
    least = Result("m", "e", 1, cpu_time=True, samples=[3.0, 1.0], near=[True, True])
    assert least.milliseconds == 1.0


def test_long_runs_are_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock moves with every run: by 2 s, or by 1 ms."""
    for step, calls in ((2.0, 1), (0.001, 1 + LEAST_RUNS)):
        now, ran = [0.0], [0]

        def run(_: Feed, step: float = step, now: list[float] = now, ran: list[int] = ran) -> Any:
            now[0] += step
            ran[0] += 1

        monkeypatch.setattr("benchmarks.worker.perf_counter", lambda now=now: now[0])
        assert time_runs(run, {}, 0.0) == pytest.approx(step * 1e3)
        assert ran == [calls]


def test_engines_far_behind_are_timed_in_one_round() -> None:
    fast, slow = Result("m", "a", 1, samples=[1.0]), Result("m", "b", 1, samples=[10.1])
    assert _hopeless(slow, [fast, slow])
    assert not _hopeless(fast, [fast, slow])
    assert not _hopeless(Result("m", "c", 1), [fast, slow])


def test_engines_have_adapters_and_pinned_requirements() -> None:
    for engine in ENGINES.values():
        assert (Path("benchmarks/engines") / f"{engine.module}.py").exists()
        if engine.requirements:
            lines = (REQUIREMENTS / f"{engine.requirements}.txt").read_text().splitlines()
            assert [line for line in lines if "==" not in line] == []
    used = {engine.requirements for engine in ENGINES.values()} - {""}
    assert {path.stem for path in REQUIREMENTS.glob("*.txt")} == used


def test_an_environment_that_changed_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.environments.FOLDER", tmp_path)
    (tmp_path / "mnn").mkdir()
    (tmp_path / "mnn" / "stamp").write_text("another list")
    with pytest.raises(NotInstalled, match="--install mnn"):
        interpreter("mnn")
