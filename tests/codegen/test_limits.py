"""The limits of a machine: that their kernels do the work that is counted, and what is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bireme.codegen import limit_kernels, limits
from bireme.codegen.limits import Level, Limits, machine_limits
from bireme.codegen.machine import this_machine
from bireme.ir import BiremeError
from bireme.runtime import Model, Session
from bireme.targets.registry import find

GENERIC = find("x86:generic").description
FOUND = Limits(
    "Test", "x86-64-v4", 1, 100.0,
    (Level("L1", 1 << 15, 50.0, 40.0), Level("memory", None, 10.0, 5.0)), 40.0, 50.0,
)  # fmt: skip


def run_kernel(name: str, tasks: int, turns: int, floats: int, data: np.ndarray) -> Session:
    session = Session(Model.load(limit_kernels.limit_artefact(name, GENERIC)), 1, profile=True)
    lengths = {"tasks": tasks, "turns": turns, "floats": floats}
    feed = {key: np.zeros(n, np.bool_) for key, n in lengths.items()}
    (sums,) = session.run(feed | {"data": data}).values()
    session.sums = sums.reshape(tasks, 64)
    return session


def test_the_reading_kernel_reads_every_element_in_every_turn():
    unit = limit_kernels.vector_bytes(GENERIC.levels[0]) // 4
    data = np.arange(2 * 3 * unit, dtype=np.float32)
    found = run_kernel(limit_kernels.READ, 2, 5, 3 * unit, data).sums
    lanes = next(
        n for n in (4, 8, 16) if np.allclose(found[0, :n].sum(), 5 * data[: 3 * unit].sum())
    )
    assert found[1, :lanes].sum() == pytest.approx(5 * data[3 * unit :].sum())


def test_the_multiply_adds_are_all_done():
    turns = 7
    found = run_kernel(limit_kernels.MULTIPLY_ADD, 1, turns, 1, np.ones(64, np.float32)).sums[0]
    chains = {limit_kernels.multiply_adds(x) // x.lanes(32): x.lanes(32) for x in GENERIC.levels}

    def expected(count: int) -> float:
        total = 0.0
        for start in range(count):
            value = float(start)
            for _ in range(turns):
                value = value * 0.999 + 0.001
            total += value
        return total

    assert any(np.allclose(found[:lanes], expected(n)) for n, lanes in chains.items())


@pytest.mark.parametrize("kernel", [limit_kernels.WRITE, limit_kernels.NOTHING])
def test_the_other_kernels_run(kernel):
    session = run_kernel(kernel, 2, 3, 1024, np.ones(64, np.float32))
    assert [entry.calls for entry in session.profile()] == [1]


def test_this_machine_is_told_from_others():
    machine = this_machine()
    assert machine.cpu
    assert machine.identity.count("/") >= 5
    sizes = [size for _, size in machine.caches]
    assert sizes == sorted(sizes)
    assert all(size > 0 for size in sizes)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Thread counts that were measured, with a cache of its own and a pool of four threads."""
    calls: list[int] = []

    def measure(_machine: object, threads: int) -> Limits:
        calls.append(threads)
        return replace(FOUND, threads=threads, gflops=FOUND.gflops * len(calls))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(limits, "measure", measure)
    monkeypatch.setattr(limits, "pool_threads", lambda: 4)
    return calls


def test_limits_are_measured_once(measured, tmp_path):
    first = machine_limits(1)
    assert machine_limits(1) == first
    assert measured == [1]
    (path,) = (tmp_path / "bireme" / "limits").iterdir()
    path.write_text("{}")
    assert machine_limits(1).gflops == 2 * FOUND.gflops
    assert measured == [1, 1]


def test_measuring_again_only_raises_limits(measured):
    assert machine_limits(1).gflops == 100
    assert machine_limits(1, again=True).gflops == 200
    limits_before = machine_limits(1)
    measured.clear()  # the next measurement is as slow as the first
    assert machine_limits(1, again=True) == limits_before


def test_more_threads_reach_at_least_what_one_does(measured):
    assert machine_limits(1, again=True).gflops == 100
    found = machine_limits(9)
    assert found.threads == 4
    assert measured == [1, 4]
    assert found.gflops == 200
    assert machine_limits(None) == found


def test_a_folder_that_cannot_be_written_to_is_no_error(measured, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert machine_limits(1).gflops == 100
    assert machine_limits(1).gflops == 200
    assert measured == [1, 1]


def test_an_unknown_processor_is_refused():
    other = replace(this_machine(), identity="pdp11/")
    with pytest.raises(BiremeError, match="pdp11") as caught:
        limits.measure(other, 1)
    assert caught.value.code == "BM6007"
