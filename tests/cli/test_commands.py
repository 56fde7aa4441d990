"""The command line on a small model: what it prints, exit codes, and what it says of bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import Result

from tests.cli.support import call


def error_of(result: Result) -> dict[str, str]:
    """The error object of a call with --json that must fail."""
    assert result.exit_code == 1, result.output
    error: dict[str, str] = json.loads(result.stdout)["error"]
    return error


def small_model(op: str = "Relu") -> onnx.ModelProto:
    """One node, y = op(x), x [batch, 3]; and a weight: z = y @ w."""
    weight = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "w")
    nodes = [
        helper.make_node(op, ["x"], ["y"], name="the_node"),
        helper.make_node("MatMul", ["y", "w"], ["z"], name="product"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph(nodes, "small", [x], [z], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `small.onnx` and `small.bireme`."""
    folder = tmp_path_factory.mktemp("cli")
    onnx.save(small_model(), folder / "small.onnx")
    result = call(
        "compile", folder / "small.onnx", "-o", folder / "small.bireme", "--no-cache", "--jobs", 0
    )
    assert result.exit_code == 0, result.output
    assert "arena" in result.output
    return folder


def test_compile_reports_figures_as_json(folder, tmp_path):
    out = tmp_path / "m.bireme"
    cache = tmp_path / "cache"
    arguments = ["compile", folder / "small.onnx", "-o", out, "--cache-dir", cache, "--jobs", 0]
    result = call(*arguments, "--verify", "--dump-ir", tmp_path / "ir", "--json")
    figures = json.loads(result.stdout)
    assert figures["kernels"] == 2
    assert figures["bytes"] == out.stat().st_size
    assert figures["arena_bytes"] >= figures["arena_lower_bound_bytes"]
    assert any(path.name.endswith("fuse.after.mlir") for path in (tmp_path / "ir").iterdir())
    assert sum(path.is_file() for path in cache.rglob("*")) == 6  # one a level
    first = out.read_bytes()
    assert call(*arguments).exit_code == 0
    assert out.read_bytes() == first  # from the cache, the same file


def test_a_damaged_cache_is_not_believed(folder, tmp_path):
    cache = tmp_path / "cache"
    arguments = [
        "compile",
        folder / "small.onnx",
        "-o",
        tmp_path / "m.bireme",
        "--cache-dir",
        cache,
    ]
    assert call(*arguments, "--jobs", 0).exit_code == 0
    good = (tmp_path / "m.bireme").read_bytes()
    for path in cache.rglob("*"):
        if path.is_file():
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
    assert call(*arguments, "--jobs", 0).exit_code == 0
    assert (tmp_path / "m.bireme").read_bytes() == good


def test_a_cache_that_cannot_be_written_is_no_error(folder, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder should be")
    arguments = ["compile", folder / "small.onnx", "-o", tmp_path / "m.bireme", "--jobs", 0]
    assert call(*arguments, "--cache-dir", blocked / "cache").exit_code == 0


def test_run_reads_and_writes_arrays(folder, tmp_path):
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=x)
    out = tmp_path / "out.npz"
    result = call("run", folder / "small.bireme", "--input", tmp_path / "in.npz", "-o", out)
    assert result.exit_code == 0, result.output
    expected = np.maximum(x, 0) @ np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_allclose(np.load(out)["z"], expected, rtol=1e-5)


def test_run_on_random_data_with_a_profile(folder):
    result = call("run", folder / "small.bireme", "--dim", "batch=7", "--profile", "--json")
    printed = json.loads(result.stdout)
    assert printed["outputs"]["z"]["shape"] == [7, 2]
    assert [step["node"] for step in printed["profile"]] == ["the_node", "product"]


def test_inspect_names_inputs_and_outputs(folder):
    assert "batch" in call("inspect", folder / "small.bireme").output
    printed = json.loads(call("inspect", folder / "small.bireme", "--json").stdout)
    assert printed["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 3]}]
    assert printed["outputs"] == [{"name": "z", "dtype": "float32", "shape": ["batch", 2]}]


def test_bench_measures(folder):
    arguments = ["bench", folder / "small.bireme", "--seconds", 0.05, "--threads", 1]
    assert "median" in call(*arguments).output
    printed = json.loads(call(*arguments, "--json").stdout)
    assert printed["runs"] >= 5
    assert 0 < printed["min_ms"] <= printed["median_ms"] <= printed["p95_ms"]


def test_devices_lists_targets():
    printed = json.loads(call("devices", "--json").stdout)
    assert "x86:generic" in [target["target"] for target in printed["targets"]]
    assert "x86:generic" in call("devices").output


def test_check_lists_what_cannot_be_compiled(folder, tmp_path):
    assert call("check", folder / "small.onnx").exit_code == 0
    model = small_model("NoSuchOp")
    model.graph.node[1].op_type = "NorThisOne"
    onnx.save(model, tmp_path / "bad.onnx")
    result = call("check", tmp_path / "bad.onnx")
    assert result.exit_code == 1
    assert "the_node" in result.output
    assert "product" in result.output
    printed = json.loads(call("check", tmp_path / "bad.onnx", "--json").stdout)
    assert printed["compilable"] is False
    assert {node["name"] for node in printed["nodes"] if node["code"]} == {"the_node", "product"}


def test_a_refused_model_leaves_no_file(tmp_path):
    onnx.save(small_model("NoSuchOp"), tmp_path / "bad.onnx")
    out = tmp_path / "bad.bireme"
    error = error_of(call("compile", tmp_path / "bad.onnx", "-o", out, "--json"))
    assert error["code"] == "BM1003"
    assert "the_node" in error["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["bad.onnx"]


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "BM1001"), (b"not a model", "BM1001"), (None, "BM6001")],
    ids=["empty", "text", "missing"],
)
def test_unreadable_models(tmp_path, content, code):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    out = tmp_path / "out.bireme"
    assert error_of(call("compile", path, "-o", out, "--json"))["code"] == code
    assert not out.exists()


def test_a_truncated_model(folder, tmp_path):
    whole = (folder / "small.onnx").read_bytes()
    path = tmp_path / "model.onnx"
    path.write_bytes(whole[: len(whole) // 2])
    error = error_of(call("compile", path, "-o", tmp_path / "out.bireme", "--json"))
    assert error["code"].startswith("BM1")
    assert not (tmp_path / "out.bireme").exists()


def test_a_missing_weight_file(tmp_path):
    model = small_model()
    onnx.save(
        model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    (tmp_path / "w.bin").unlink()
    error = error_of(call("compile", tmp_path / "m.onnx", "-o", tmp_path / "m.bireme", "--json"))
    assert error["code"] == "BM1004"
    assert "w.bin" in error["where"] + error["message"]
    assert not (tmp_path / "m.bireme").exists()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros((2, 4), np.float32)}, ("x", "3", "4")),
        ({"x": np.zeros((2, 3), np.float64)}, ("x", "float64", "float32")),
        ({"x": np.zeros(3, np.float32)}, ("x",)),
        ({}, ("x",)),
        ({"x": np.zeros((2, 3), np.float32), "more": np.zeros(1)}, ("more",)),
    ],
    ids=["shape", "dtype", "rank", "missing", "unexpected"],
)
def test_wrong_inputs(folder, tmp_path, arrays, words):
    np.savez(tmp_path / "in.npz", **arrays)
    out = tmp_path / "out.npz"
    arguments = ["run", folder / "small.bireme", "-i", tmp_path / "in.npz", "-o", out, "--json"]
    error = error_of(call(*arguments))
    assert error["code"].startswith("BM5")
    assert all(word in error["message"] for word in words)
    assert not out.exists()


def test_each_wrong_input_has_its_own_code(folder, tmp_path):
    cases = [
        {"x": np.zeros((2, 4), np.float32)},
        {"x": np.zeros((2, 3), np.float64)},
        {},
        {"x": np.zeros((2, 3), np.float32), "more": np.zeros(1)},
    ]
    codes = []
    for arrays in cases:
        np.savez(tmp_path / "in.npz", **arrays)
        arguments = ["run", folder / "small.bireme", "-i", tmp_path / "in.npz", "--json"]
        codes.append(error_of(call(*arguments))["code"])
    assert len(set(codes)) == len(cases)


@pytest.mark.parametrize("keep", [0, 7, 64, 128, 500, -1])
def test_truncated_artefacts(folder, tmp_path, keep):
    path = tmp_path / "cut.bireme"
    path.write_bytes((folder / "small.bireme").read_bytes()[:keep])
    assert error_of(call("run", path, "--json"))["code"].startswith("BM4")


@pytest.mark.parametrize("place", [0, 9, 20, 100, 300, -5])
def test_flipped_bits(folder, tmp_path, place):
    data = bytearray((folder / "small.bireme").read_bytes())
    data[place] ^= 0x10
    path = tmp_path / "flipped.bireme"
    path.write_bytes(data)
    assert error_of(call("run", path, "--json"))["code"].startswith("BM4")


def test_not_a_npz_file(folder, tmp_path):
    (tmp_path / "in.npz").write_text("no arrays")
    error = error_of(call("run", folder / "small.bireme", "-i", tmp_path / "in.npz", "--json"))
    assert error["code"] == "BM6001"


@pytest.mark.parametrize("option", ["batch", "batch=", "batch=x", "batch=4..y"])
def test_bad_sizes(folder, tmp_path, option):
    arguments = ["compile", folder / "small.onnx", "-o", tmp_path / "m.bireme", "--dim", option]
    assert error_of(call(*arguments, "--json"))["code"] == "BM6002"


def test_unknown_target(folder, tmp_path):
    arguments = ["compile", folder / "small.onnx", "-o", tmp_path / "m.bireme", "-t", "x86:i386"]
    assert error_of(call(*arguments, "--json"))["code"] == "BM3003"


def test_an_output_that_cannot_be_written(folder):
    arguments = [
        "compile",
        folder / "small.onnx",
        "-o",
        folder / "no such folder" / "m.bireme",
        "--jobs",
        0,
    ]
    assert error_of(call(*arguments, "--json"))["code"] == "BM3006"


def test_sizes_outside_the_declared_range(folder, tmp_path):
    out = tmp_path / "ranged.bireme"
    arguments = ["compile", folder / "small.onnx", "-o", out, "--jobs", 0, "--dim", "batch=2..4"]
    assert call(*arguments).exit_code == 0
    assert call("run", out, "--dim", "batch=4").exit_code == 0
    error = error_of(call("run", out, "--dim", "batch=5", "--json"))
    assert "x" in error["message"]
    assert "5" in error["message"]


def test_the_program_itself(folder):
    """Installed as a program: exit codes and text on the right streams."""
    program = Path(sys.executable).with_name("bireme")
    done = subprocess.run([program, "run", folder / "gone.bireme"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: BM4001")
    assert subprocess.run([program, "fly"], capture_output=True).returncode == 2


def test_versions_for_named_sizes(folder, tmp_path):
    out = tmp_path / "m.bireme"
    arguments = ["compile", folder / "small.onnx", "-o", out, "--no-cache", "--jobs", 0, "--json"]
    figures = json.loads(call(*arguments, "--specialize", "batch=4096,5").stdout)
    assert figures["versions"] == 2  # a batch of 5 is too little work
    assert 0 < figures["version_bytes"] < figures["code_bytes"]
    error = error_of(call(*arguments, "--specialize", "batch=1,big"))
    assert error["code"] == "BM6002"
    assert "NAME=SIZE,SIZE" in error["message"]
    unknown = error_of(call(*arguments, "--specialize", "seq=1"))["message"]
    assert "no size is called seq" in unknown
    shown = json.loads(call("inspect", out, "--json").stdout)
    assert shown["versions"] == {"batch=4096": 2}
    assert "batch=4096: 2 of 2 steps" in call("inspect", out).stdout


def test_inspect_says_why_layouts_are_converted(tmp_path):
    weight = numpy_helper.from_array(np.ones((32, 32, 1, 1), np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "mix"),
        helper.make_node("CumSum", ["c", "axis"], ["y"]),
    ]
    axis = numpy_helper.from_array(np.array(1), "axis")
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 32, 7, 5]) for name in ("x", "y")
    )
    graph = helper.make_graph(nodes, "mixed", [x], [y], [weight, axis])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "m.onnx")
    out = tmp_path / "m.bireme"
    call("compile", tmp_path / "m.onnx", "-o", out, "--no-cache", "--jobs", 0)
    found = json.loads(call("inspect", out, "--json").stdout)["conversions"]
    assert [(each["op"], each["plain"]) for each in found] == [
        ("pack_channels", ["input"]),
        ("unpack_channels", ["cumsum"]),
    ]
    assert found[0]["moved"] == 2 * 32 * 7 * 5 * 4
    shown = call("inspect", out).stdout
    assert "2 layout conversions" in shown
    assert "1 unpack_channels for cumsum" in shown


def test_winograd_can_be_switched_off(tmp_path):
    weight = numpy_helper.from_array(np.ones((32, 32, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 32, 28, 28])
        for name in ("x", "y")
    )
    graph = helper.make_graph([node], "conv", [x], [y], [weight])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "c.onnx")
    out = tmp_path / "c.bireme"
    arguments = ["compile", tmp_path / "c.onnx", "-o", out, "--no-cache", "--jobs", 0]
    assert "1 as Winograd F(4×4)" in call(*arguments).stdout
    assert "1 winograd" in call("inspect", out).stdout
    assert json.loads(call("inspect", out, "--json").stdout)["kernels"]["winograd"] == 1
    assert "Winograd" not in call(*arguments, "--no-winograd").stdout
    assert "winograd" not in call("inspect", out).stdout
