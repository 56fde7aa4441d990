"""`bireme compile --precision`."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import helper

import bireme as bm
from tests.cli.support import call, model


@pytest.fixture
def files(tmp_path):
    """A model of two products, the first far beyond float16, and inputs for it."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["p"], name="first"),
        helper.make_node("Mul", ["p", "p"], ["q"], name="square"),
        helper.make_node("MatMul", ["q", "b"], ["z"], name="second"),
    ]
    weights = {
        "a": rng.standard_normal((8, 16)).astype(np.float32) * 100,
        "b": rng.standard_normal((16, 4)).astype(np.float32),
    }
    onnx.save(model(nodes, **weights), tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=rng.standard_normal((3, 8)).astype(np.float32))
    return tmp_path


def compiled(files, *options):
    arguments = ("compile", files / "m.onnx", "-o", files / "m.bireme", "--jobs", "0", "-t")
    return call(*arguments, "x86:znver4", "--cache-dir", files / "cache", *options)


def test_what_was_decided(files):
    options = (
        "--precision",
        "fp16",
        "--calibration",
        files / "x.npz",
        "--report",
        files / "r.json",
    )
    shown = compiled(files, *options)
    assert shown.exit_code == 0, shown.output
    text = shown.stdout
    assert "float16 in 1 of 2 contractions" in text
    assert "float32, its operands reach " in text
    assert "too near to float16's largest: second" in text
    assert "on 1 set of inputs outputs differ from float32 by " in text
    report = json.loads((files / "r.json").read_text())["precision"]
    assert (report["asked"], report["dtype"], report["reduced"]) == ("fp16", "float16", 1)
    assert [d["nodes"] for d in report["decisions"]] == [["first"], ["second"]]
    assert [d["dtype"] for d in report["decisions"]] == ["float16", "float32"]
    assert report["decisions"][1]["largest"] > 65504
    assert 0 < report["max_relative"] < 1e-2
    with np.load(files / "x.npz") as archive:
        x = archive["x"]
    (found,) = bm.load(files / "m.bireme")({"x": x}).values()
    (wanted,) = bm.compile(files / "m.onnx", "x86:znver4")({"x": x}).values()
    assert np.abs(found - wanted).max() <= 1e-2 * np.abs(wanted).max()


def test_without_inputs(files):
    asked = "not tested on real inputs: give some with --calibration"
    plain, guarded = (compiled(files, "--precision", p).stdout for p in ("bf16", "auto"))
    assert asked in plain
    assert "made-up" not in plain
    assert asked in guarded
    assert "on 1 set of made-up inputs outputs differ from float32 by " in guarded
    unasked = json.loads(compiled(files, "--json").stdout)
    assert unasked["precision"] is None


def test_faults(files):
    unknown = compiled(files, "--precision", "int3")
    assert unknown.exit_code == 1
    assert "precision is float32, bf16, fp16, auto; found 'int3'" in unknown.stderr
    missing = compiled(files, "--precision", "auto", "--calibration", files / "none.npz")
    assert "BM6001" in missing.stderr
    np.savez(files / "y.npz", y=np.zeros((3, 8), np.float32))
    wrong = compiled(files, "--precision", "auto", "--calibration", files / "y.npz")
    assert "BM6003" in wrong.stderr


def test_compare_knows_the_precision(files):
    options = ("--precision", "bf16")
    assert compiled(files, *options).exit_code == 0
    arguments = ("compare", files / "m.onnx", files / "m.bireme", "-i", files / "x.npz")
    repro = ("--repro", files / "repro")
    shown = call(*arguments, *options, *repro)
    assert shown.exit_code == 0, shown.output
    assert "the artefact agrees with reference" in shown.stdout
    assert "steps are those of a fresh artefact" not in shown.stdout
    # In float32 the same results would be wrong.
    plain = call(*arguments, *repro)
    assert plain.exit_code == 1
    assert "steps are those of a fresh artefact" in plain.stdout
