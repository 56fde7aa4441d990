"""Models that draw random numbers: `run --seed`, `Program.seed`, and `compare` on the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import bireme as bm
from bireme.codegen.compiler import Options
from tests.cli.support import call, model

X = np.ones((4, 8), np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`noisy.onnx` adds noise to its input and scales it; `noisy.bireme` is it compiled."""
    node = helper.make_node
    nodes = [
        node("RandomNormalLike", ["x"], ["noise"], name="draw"),
        node("Add", ["x", "noise"], ["y"], name="disturb"),
        node("Bernoulli", ["half"], ["mask"], name="choose"),
        node("Mul", ["y", "mask"], ["z"], name="drop"),
    ]
    place = tmp_path_factory.mktemp("noisy")
    onnx.save(model(nodes, half=np.full(8, 0.5, np.float32)), place / "noisy.onnx")
    program = bm.compile(place / "noisy.onnx", options=Options(cache=None, jobs=0))
    program.save(place / "noisy.bireme")
    np.savez(place / "x.npz", x=X)
    return place


def test_a_program_repeats_itself_after_its_seed(folder):
    program = bm.load(folder / "noisy.bireme", seed=3)
    assert program.seed == 3
    first, second = program(X)["z"], program(X)["z"]
    assert not np.array_equal(first, second)
    program.seed = 3
    np.testing.assert_array_equal(program(X)["z"], first)
    np.testing.assert_array_equal(program(X)["z"], second)
    other = bm.load(folder / "noisy.bireme")
    assert not np.array_equal(other(X)["z"], first)


def test_run_takes_a_seed(folder, tmp_path):
    found = []
    for number, seed in enumerate([["--seed", 5], ["--seed", 5], ["--seed", 6], []]):
        out = tmp_path / f"{number}.npz"
        arguments = ["--input", folder / "x.npz", "--output", out, *seed]
        result = call("run", folder / "noisy.bireme", *arguments)
        assert result.exit_code == 0, result.output
        found.append(np.load(out)["z"].tobytes())
    assert found[0] == found[1]
    assert len(set(found)) == 3
    assert call("run", folder / "noisy.bireme", "--seed", "-1").exit_code == 2


@pytest.mark.parametrize("against", ["reference", "onnxruntime"])
def test_compare_draws_the_same_numbers_on_both_sides(folder, against):
    found = bm.compare(folder / "noisy.onnx", folder / "noisy.bireme", {"x": X}, against=against)
    assert found.agrees, found.fault
    assert all(difference.agrees for difference in found.imported.values())
    assert {name for step in found.steps for name in step.nodes} >= {"draw", "disturb", "drop"}
