"""`bireme tune`, and what other commands do with records."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper

from bireme.codegen.compiler import prepare
from bireme.codegen.kernel import emit_kernel
from bireme.codegen.records import Database, KernelKey, Record, key_of, read_database
from bireme.codegen.tune.journal import Trial
from bireme.codegen.tune.noise import Ratio
from bireme.codegen.tune.tuner import Outcome, Status
from bireme.codegen.tune.verify import Verified
from bireme.frontend.onnx import load
from bireme.targets.registry import find
from tests.cli.support import call, model

TARGET = find("x86:znver4")
KEY = KernelKey("x86", "x86-64-v4", "ab", (1, 2))
RECORD = Record(KEY, "conv+relu", "convolution", {"rows": 2}, 1.25, 1, "cpu")


@pytest.fixture
def path(tmp_path):
    weights = np.random.default_rng(0).standard_normal((8, 48)).astype(np.float32)
    onnx.save(model([helper.make_node("MatMul", ["x", "w"], ["z"], "product")], w=weights),
              tmp_path / "m.onnx")  # fmt: skip
    return tmp_path / "m.onnx"


def outcome(kept=(RECORD,), dropped=(), trials=(), differs=False) -> Outcome:
    time = Ratio(0.8, 0.01) if kept else Ratio(1.0, 0.0)
    verified = Verified(tuple(kept), tuple(dropped), 2e6, time, differs)
    return Outcome("x86-64-v4", verified, tuple(trials), {3: "conv+relu"}, 61.0, 0)


TRIALS = [
    Trial(3, {"rows": 2}, "ok", 0.8),
    Trial(3, {"rows": 3}, "wrong", 1.0, "12 elements differ beyond the tolerance"),
    Trial(3, {"rows": 4}, "failed", 1.0, "BM3005: the backend compiler failed\nat length"),
]


def test_merging(tmp_path):
    better = replace(RECORD, gain=1.5, parameters={"rows": 3})
    other = replace(RECORD, key=replace(KEY, sizes=(1, 3)))
    Database([RECORD, other]).write(tmp_path / "a")
    Database([better]).write(tmp_path / "b")
    for order in (("a", "b"), ("b", "a")):
        database = tmp_path / "-".join(order)
        files = [option for name in order for option in ("--merge", tmp_path / name)]
        found = call("tune", "--database", database, *files, "--json")
        assert found.exit_code == 0
        assert json.loads(found.stdout) == {
            "database": str(database), "records": 2, "before": 0,
        }  # fmt: skip
        assert list(read_database(database)) == sorted([better, other], key=lambda r: r.key)
    said = call("tune", "--database", tmp_path / "a", "--merge", tmp_path / "b").stdout
    assert said.replace("\n", "").endswith("2 records, 2 before")


def test_a_damaged_database_is_an_error_with_a_code(tmp_path, path):
    (tmp_path / "bad").write_text(f"{RECORD.line}\n{RECORD.line[:40]}\n")
    for arguments in (
        ("tune", path, "--database", tmp_path / "bad", "--json"),
        ("tune", "--merge", tmp_path / "bad", "--database", tmp_path / "new", "--json"),
        ("compile", path, "--records", tmp_path / "bad", "-o", tmp_path / "out", "--json"),
    ):
        found = call(*arguments)
        assert found.exit_code == 1
        error = json.loads(found.stdout)["error"]
        assert error["code"] == "BM6005"
        assert error["where"] == f"{tmp_path / 'bad'}:2"
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments", [(), ("--minutes", "0"), ("--threads", "0"), ("--seed", "-1"), ("a", "b")]
)
def test_a_wrong_command_line(arguments):
    assert call("tune", *arguments).exit_code == 2


def test_what_a_run_found_is_told(monkeypatch, tmp_path, path):
    asked = []
    dropped = [replace(RECORD, key=replace(KEY, sizes=(9, 9)))]

    def tune(*arguments, **options):
        asked.append((arguments, options))
        return outcome(dropped=dropped, trials=TRIALS)

    monkeypatch.setattr("bireme.cli.tune.tune", tune)
    database = ("-d", tmp_path / "r")
    found = call("tune", path, *database, "--minutes", 2, "--seed", 5, "--dim", "batch=4")
    assert found.exit_code == 0
    text = found.stdout
    assert "wrong: conv+relu with rows 3: 12 elements differ" in text
    assert "failed: conv+relu with rows 4: BM3005: the backend compiler failed\n" in text
    assert "3 candidates tried in 61 s, 2 rejected" in text
    assert "1 record left out: no gain inside of the model" in text
    assert "1.600 ms, 2.000 ms untuned: 1.250 times as fast" in text
    assert asked[0][1]["minutes"] == 2
    assert asked[0][1]["seed"] == 5
    assert asked[0][0][0].inputs[0].type.shape == (4, 8)
    figures = json.loads(call("tune", path, *database, "--json").stdout)
    assert figures["gain"] == 1.25
    assert [r["outcome"] for r in figures["rejected"]] == ["wrong", "failed"]
    assert figures["kept"][0]["parameters"] == {"rows": 2}


def test_a_run_that_found_nothing_is_told(monkeypatch, tmp_path, path):
    monkeypatch.setattr(
        "bireme.cli.tune.tune", lambda *a, **o: outcome((), [RECORD], TRIALS, differs=True)
    )
    text = call("tune", path, "-d", tmp_path / "r").stdout
    assert "outputs differ with the records found: none is kept" in text
    assert "1.000 times as fast" in text


def test_progress_says_what_is_won_and_what_may_be():
    from bireme.cli.tune import describe

    assert describe(Status("compiling", 1.0, 60.0)) == ""
    said = describe(Status("conv", 1.0, 60.0, 2e6, 1.5e6, 2.5e5, 12, 1))
    assert said == "1.500 ms of 2.000, perhaps 0.250 to gain; 12 tried, 1 rejected"


def test_compile_uses_records_and_inspect_shows_them(path, tmp_path):
    (spec,) = prepare(load(path), TARGET)[0].specs
    level = TARGET.description.levels[0]
    chosen = emit_kernel(spec, level).chosen
    rows = next(n for n in (1, 2, 3) if n != chosen.values["rows"])
    values = {**chosen.values, "rows": rows, "blocks": 1}
    key = key_of(spec, "x86", level.name)
    Database([Record(key, "matmul", "matmul", values, 1.2, 1, "cpu")]).write(tmp_path / "r")
    options = ("--target", TARGET.name, "--no-cache", "--jobs", 0)
    tuned, plain = tmp_path / "tuned", tmp_path / "plain"
    text = call("compile", path, "-o", tuned, "--records", tmp_path / "r", *options).stdout
    assert "tuned by 1 record" in text
    made = call("compile", path, "-o", plain, "--untuned", *options, "--json")
    assert json.loads(made.stdout)["records"] == 0
    assert tuned.read_bytes() != plain.read_bytes()
    assert "1 tuning record in use" in call("inspect", tuned).stdout
    shown = json.loads(call("inspect", tuned, "--json").stdout)["records"]
    assert shown[0]["parameters"] == values
    assert json.loads(call("inspect", plain, "--json").stdout)["records"] == []
    x = np.random.default_rng(1).standard_normal((5, 8)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    outputs = []
    for artefact in (tuned, plain):
        assert (
            call("run", artefact, "-i", tmp_path / "x.npz", "-o", tmp_path / "z.npz").exit_code == 0
        )
        outputs.append(np.load(tmp_path / "z.npz")["z"])
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-6, atol=1e-6)
