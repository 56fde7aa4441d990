"""`bireme compare`: faults planted in kernels, passes, weights and the peer are named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tvm import tirx

import bireme as bm
from bireme.codegen.compiler import Options
from bireme.codegen.container import pack, unpack
from bireme.codegen.rules import RULES
from bireme.codegen.rules import arithmetic as a
from bireme.codegen.tir import select
from bireme.frontend.onnx import peer
from bireme.ir import Builder
from bireme.passes.simplify import Simplify
from tests.cli.support import call, model

OPTIONS = Options(cache=None, jobs=0)
TARGET = "x86:znver4"
SCALE = np.linspace(0.5, 1.5, 64, dtype=np.float32).reshape(8, 8)


def waves() -> onnx.ModelProto:
    """Two products, each fused with a function of its own."""
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["a"], name="product_1"),
        node("Sin", ["a"], ["b"], name="wave_1"),
        node("MatMul", ["b", "v"], ["c"], name="product_2"),
        node("Cos", ["c"], ["d"], name="wave_2"),
        node("Softmax", ["d"], ["z"], name="the_end"),
    ]
    return model(nodes, w=SCALE, v=SCALE[::-1].copy())


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`waves.onnx` in a folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    onnx.save(waves(), tmp_path / "waves.onnx")
    return tmp_path / "waves.onnx"


@pytest.fixture(scope="module")
def right_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("right")
    onnx.save(waves(), folder / "waves.onnx")
    return compiled(folder / "waves.onnx").read_bytes()


@pytest.fixture
def right(path: Path, right_bytes: bytes) -> Path:
    """The artefact of `path`."""
    artefact = path.with_suffix(".bireme")
    artefact.write_bytes(right_bytes)
    return artefact


def compiled(path: Path, **dims: Any) -> Path:
    target = path.with_suffix(".bireme")
    bm.compile(path, TARGET, dims=dims, options=OPTIONS).save(target)
    return target


def compared(path: Path, artefact: Path, *arguments: object) -> dict[str, Any]:
    result = call("compare", path, artefact, "--json", *arguments)
    found: dict[str, Any] = json.loads(result.stdout)
    assert "error" not in found, found["error"]
    assert result.exit_code == (0 if found["agrees"] else 1), result.stdout
    return found


@pytest.fixture
def wrong_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels calculate cos(x) + 1/64."""
    right = RULES["cos"]
    monkeypatch.setitem(RULES, "cos", lambda *a: right(*a) + tirx.const(1 / 64, "float32"))


def test_a_right_artefact_agrees_at_every_step(path, right):
    artefact = right
    found = compared(path, artefact)
    assert found["fault"] is None
    assert found["own_steps"] is True
    assert found["repro"] is None
    named = [name for step in found["steps"] for name in step["nodes"]]
    assert named == ["product_1", "wave_1", "product_2", "wave_2", "the_end"]
    assert all(step["local"]["agrees"] and step["total"]["agrees"] for step in found["steps"])
    assert not (path.parent / "repro").exists()
    text = call("compare", path, artefact)
    assert text.exit_code == 0
    assert "agrees with reference" in text.stdout


def test_a_wrong_kernel_is_found_and_its_node_alone_reproduces_it(path, wrong_cosine):
    artefact = compiled(path)
    np.savez("x.npz", x=np.random.default_rng(5).standard_normal((3, 8)).astype(np.float32))
    found = compared(path, artefact, "--inputs", "x.npz")
    assert found["fault"]["stage"] == "kernel"
    assert found["fault"]["nodes"] == ["wave_2"]  # of a kernel that does product_2 as well
    assert found["repro"] == {"nodes": ["wave_2"], "reproduces": True, "folder": "repro"}
    local = {tuple(s["nodes"]): s["local"] for s in found["steps"]}
    assert local["product_1", "wave_1"]["agrees"]
    assert not local["product_2", "wave_2"]["agrees"]
    assert local["product_2", "wave_2"]["max_abs"] == pytest.approx(1 / 64, rel=1e-3)
    text = call("compare", path, artefact, "--inputs", "x.npz")
    assert text.exit_code == 1
    assert "DIFFERS at wave_2 (kernel)" in text.stdout


def test_the_repro_is_complete(path, monkeypatch):
    with monkeypatch.context() as patch:
        right = RULES["cos"]
        patch.setitem(RULES, "cos", lambda *a: right(*a) + tirx.const(1 / 64, "float32"))
        compared(path, compiled(path), "--seed", 3)
        small = onnx.load("repro/repro.onnx")
        assert [n.name for n in small.graph.node] == ["wave_2"]
        onnx.checker.check_model(small)
        wrong = bm.compile("repro/repro.onnx", TARGET, options=OPTIONS)
    right_one = bm.compile("repro/repro.onnx", TARGET, options=OPTIONS)
    inputs, expected = dict(np.load("repro/inputs.npz")), dict(np.load("repro/expected.npz"))
    np.testing.assert_allclose(right_one(inputs)["d"], expected["d"], rtol=1e-5, atol=1e-6)
    assert np.abs(wrong(inputs)["d"] - expected["d"]).max() == pytest.approx(1 / 64, rel=1e-3)


def test_an_artefact_that_only_its_compiler_could_make_is_told_from_a_wrong_compiler(
    path, monkeypatch
):
    with monkeypatch.context() as patch:
        right = RULES["cos"]
        patch.setitem(RULES, "cos", lambda *a: right(*a) + tirx.const(1 / 64, "float32"))
        artefact = compiled(path)
    found = compared(path, artefact)
    assert found["fault"]["stage"] == "artefact"
    assert found["fault"]["nodes"] == ["product_2", "wave_2"]
    assert found["repro"]["reproduces"] is False


def test_a_damaged_weight_is_named(path, right):
    artefact = right
    plan, code, weights = unpack(artefact.read_bytes())
    changed = np.frombuffer(weights, np.float32).copy()
    place = np.flatnonzero(changed == SCALE[0, 0])[-1]  # of the second product
    changed[place] += 0.25
    artefact.write_bytes(pack(plan, code, changed.tobytes()))
    found = compared(path, artefact)
    assert found["fault"]["stage"] == "artefact"
    assert "weight 'v" in found["fault"]["what"]
    assert found["fault"]["nodes"] == ["product_2", "wave_2"]


def test_a_wrong_pass_is_named(path, monkeypatch):
    right = Simplify.run

    def wrong(self: Simplify, graph: Any, description: Any) -> Any:
        outcome = right(self, graph, description)
        for op in list(graph.walk()):
            if op.name == "cos":
                op.replace_with([Builder(graph, before=op).sin(op.operands[0])])
        return outcome

    monkeypatch.setattr(Simplify, "run", wrong)
    found = compared(path, compiled(path))
    assert found["fault"]["stage"] == "passes"
    assert "pass simplify" in found["fault"]["what"]
    assert all(step["local"]["agrees"] for step in found["steps"])
    assert not found["outputs"]["z"]["agrees"]


def test_an_artefact_of_another_model_is_told_from_wrong_kernels(path):
    other = waves()
    other.graph.node[3].op_type = "Tanh"
    onnx.save(other, "other.onnx")
    found = compared(path, compiled(Path("other.onnx")))
    assert found["own_steps"] is False
    assert found["fault"]["stage"] == "artefact"
    assert all(step["local"]["agrees"] for step in found["steps"])


def test_another_peer_agrees(path, right):
    found = compared(path, right, "--against", "onnxruntime")
    assert set(found["imported"]) == {"a", "b", "c", "d", "z"}
    assert all(value["agrees"] for value in found["imported"].values())


def test_a_peer_that_differs_is_seen_at_the_node(path, right, monkeypatch):
    """As an importer that misreads a node would look: the reference is not the peer's."""
    honest = peer.run

    def other(traced: Any, inputs: Any) -> dict[str, np.ndarray]:
        values = honest(traced, inputs)
        return {**values, "c": values["c"] + np.float32(0.5)}

    monkeypatch.setattr(peer, "run", other)
    found = compared(path, right, "--against", "onnxruntime")
    assert found["fault"]["stage"] == "import"
    assert found["fault"]["nodes"] == ["product_2"]
    assert [n for n, d in found["imported"].items() if not d["agrees"]] == ["c"]
    np.testing.assert_allclose(
        np.load("repro/expected.npz")["c"],
        np.load("repro/inputs.npz")["b"] @ SCALE[::-1] + 0.5,
        rtol=1e-6,
    )


def test_a_peer_that_is_not_installed(path, right, monkeypatch):
    monkeypatch.setattr(peer, "find_spec", lambda name: None)
    result = call("compare", path, right, "--against", "onnxruntime", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["code"] == "BM6004"


@pytest.mark.parametrize("sizes", [{}, {"batch": 5}, {"batch": range(2, 65)}])
def test_sizes_that_the_artefact_fixes_need_not_be_repeated(path, sizes):
    found = compared(path, compiled(path, **sizes))
    assert found["agrees"]
    assert found["own_steps"]


def test_a_size_given_for_a_symbol_is_that_of_the_data(path, right):
    found = compared(path, right, "--dim", "batch=11")
    assert found["own_steps"]  # though a model compiled for 11 might be another plan
    assert found["outputs"]["z"]["elements"] == 11 * 8
    assert found["steps"][0]["type"] == "float32[batch, 8]"


def test_control_flow_is_seen_from_outside(path):
    """A scan between two kernels, then an If: what they give is a step, what is in them is not."""
    value, node = helper.make_tensor_value_info, helper.make_node
    step = helper.make_graph(
        [node("Add", ["state", "row"], ["next"]), node("Sin", ["next"], ["out"])],
        "step",
        [value("state", TensorProto.FLOAT, [8]), value("row", TensorProto.FLOAT, [8])],
        [value("next", TensorProto.FLOAT, [8]), value("out", TensorProto.FLOAT, [8])],
    )
    branches = {
        name: helper.make_graph(
            [node(op, ["rows"], [f"{name}_z"])], name, [], [value(f"{name}_z", 1, ["n", 8])]
        )
        for name, op in (("then", "Exp"), ("other", "Neg"))
    }
    nodes = [
        node("Cos", ["x"], ["y"], name="before"),
        node("Scan", ["start", "y"], ["last", "rows"], name="loop", body=step, num_scan_inputs=1),
        node("ReduceMax", ["last"], ["most"], name="most", keepdims=0),
        node("Less", ["most", "limit"], ["flag"], name="flag"),
        node(
            "If", ["flag"], ["chosen"], name="choice",
            then_branch=branches["then"], else_branch=branches["other"],
        ),
        node("Mul", ["chosen", "chosen"], ["z"], name="after"),
    ]  # fmt: skip
    weights = {"start": np.zeros(8, np.float32), "limit": np.float32(100)}
    onnx.save(model(nodes, **weights), "control.onnx")
    found = compared(Path("control.onnx"), compiled(Path("control.onnx")), "--dim", "batch=4")
    assert found["agrees"]
    named = [step["nodes"] for step in found["steps"]]
    assert [name[0] for name in named] == ["before", "loop", "loop", "most", "choice", "after"]


def scan(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """A Scan, `loop`, over the rows of x; `nodes` make `next` and `out` of `state` and `row`."""
    value = helper.make_tensor_value_info
    step = helper.make_graph(
        list(nodes),
        "step",
        [value("state", TensorProto.FLOAT, [8]), value("row", TensorProto.FLOAT, [8])],
        [value("next", TensorProto.FLOAT, [8]), value("out", TensorProto.FLOAT, [8])],
    )
    loop = helper.make_node(
        "Scan", ["start", "x"], ["last", "z"], name="loop", body=step, num_scan_inputs=1
    )
    return model([loop], start=np.zeros(8, np.float32))


def test_a_wrong_kernel_in_a_scan_is_named(path, monkeypatch):
    """The sine is wrong above 1: from the third row on."""
    node = helper.make_node
    nodes = [
        node("Add", ["state", "one"], ["next"], name="count"),
        node("Sin", ["next"], ["wave"], name="wave"),
        node("MatMul", ["wave", "eye"], ["out"], name="product"),
    ]
    whole = scan(*nodes)
    for name, array in {"one": np.float32(0.4), "eye": np.eye(8, dtype=np.float32)}.items():
        whole.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    onnx.save(whole, "loop.onnx")
    right = RULES["sin"]

    def wrong(e: Any, op: Any, at: Any, result: int) -> Any:
        x = right(e, op, at, result)
        (argument,) = op.operands
        above = e.at(argument, at) > a.like(1, x)
        return select(above, x + a.like(1 / 16, x), x)

    monkeypatch.setitem(RULES, "sin", wrong)
    arguments = (Path("loop.onnx"), compiled(Path("loop.onnx")), "--dim", "batch=5")
    found = compared(*arguments)
    assert found["fault"]["stage"] == "kernel"
    assert found["fault"]["within"] == "loop, iteration 2"
    assert "loop/wave" in found["fault"]["nodes"]
    assert "loop/product" not in found["fault"]["nodes"]
    assert found["inside"]["node"] == "loop"
    assert found["inside"]["iteration"] == 2
    agrees = [step["local"]["agrees"] for step in found["inside"]["steps"]]
    assert agrees == [True, False, True]
    assert found["repro"]["nodes"] == ["loop"]
    assert found["repro"]["reproduces"] is True
    text = call("compare", *arguments).stdout
    assert "in loop, iteration 2 (kernel)" in text


def test_a_wrong_kernel_in_a_while_is_named(path, monkeypatch):
    """A Loop that ends by its condition; the sine in it is wrong at every turn."""
    value, node = helper.make_tensor_value_info, helper.make_node
    body = helper.make_graph(
        [
            node("Sin", ["state"], ["wave"], name="wave"),
            node("Add", ["wave", "one"], ["next"], name="add"),
            node("ReduceMax", ["next"], ["most"], name="most", keepdims=0),
            node("Less", ["most", "limit"], ["more"], name="more"),
        ],
        "body",
        [
            value("turn", TensorProto.INT64, []),
            value("go", TensorProto.BOOL, []),
            value("state", TensorProto.FLOAT, ["batch", 8]),
        ],
        [value("more", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, ["batch", 8])],
    )
    loop = node("Loop", ["", "yes", "x"], ["z"], name="loop", body=body)
    weights = {"one": np.float32(0.25), "limit": np.float32(0.8), "yes": np.bool_(True)}
    onnx.save(model([loop], **{k: np.asarray(v) for k, v in weights.items()}), "loop.onnx")
    right = RULES["sin"]
    monkeypatch.setitem(RULES, "sin", lambda *a: right(*a) + tirx.const(1 / 64, "float32"))
    arguments = ("--dim", "batch=3", "--range", "0..0")
    found = compared(Path("loop.onnx"), compiled(Path("loop.onnx")), *arguments)
    assert found["fault"]["within"] == "loop, iteration 0"
    assert "loop/wave" in found["fault"]["nodes"]


def test_a_wrong_kernel_in_a_branch_is_named(path, monkeypatch):
    value, node = helper.make_tensor_value_info, helper.make_node
    branches = {
        name: helper.make_graph(
            [
                node(op, ["x"], [f"{name}_a"], name=f"{name}_wave"),
                node("MatMul", [f"{name}_a", "eye"], [f"{name}_z"], name=f"{name}_product"),
            ],
            name,
            [],
            [value(f"{name}_z", TensorProto.FLOAT, ["batch", 8])],
        )
        for name, op in (("then", "Sin"), ("other", "Cos"))
    }
    nodes = [
        node("ReduceMax", ["x"], ["most"], name="most", keepdims=0),
        node("Less", ["most", "limit"], ["flag"], name="flag"),
        node(
            "If", ["flag"], ["z"], name="choice",
            then_branch=branches["then"], else_branch=branches["other"],
        ),
    ]  # fmt: skip
    weights = {"limit": np.asarray(np.float32(-100)), "eye": np.eye(8, dtype=np.float32)}
    onnx.save(model(nodes, **weights), "branch.onnx")
    right = RULES["cos"]
    monkeypatch.setitem(RULES, "cos", lambda *a: right(*a) + tirx.const(1 / 64, "float32"))
    artefact = compiled(Path("branch.onnx"))
    found = compared(Path("branch.onnx"), artefact, "--dim", "batch=3")
    assert found["fault"]["within"] == "choice"
    assert found["fault"]["nodes"] == ["choice/other_wave"]
    assert found["inside"]["iteration"] is None
    right_way = compared(Path("branch.onnx"), artefact, "--dim", "batch=3", "--range", "-200..-150")
    assert right_way["agrees"]


def integers() -> Iterator[onnx.ModelProto]:
    x = helper.make_tensor_value_info("x", TensorProto.INT64, [3])
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    gather = helper.make_node("Gather", ["w", "x"], ["z"], name="rows")
    data = [numpy_helper.from_array(SCALE, "w")]
    graph = helper.make_graph([gather], "indices", [x], [z], data)
    yield helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_made_up_indices_stay_in_the_range_given(path):
    onnx.save(next(integers()), "rows.onnx")
    artefact = compiled(Path("rows.onnx"))
    assert compared(Path("rows.onnx"), artefact, "--range", "0..7")["agrees"]
    result = call("compare", "rows.onnx", artefact, "--range", "8..9", "--json")
    assert result.exit_code == 2  # an index outside of the table: nothing to compare
    assert json.loads(result.stdout)["error"]["code"].startswith("BM")


@pytest.mark.parametrize("option", ["3", "3..", "..", "5..4", "a..b"])
def test_a_bad_range(path, right, option):
    result = call("compare", path, right, "--range", option, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["code"] == "BM6002"


def test_what_keeps_it_from_comparing_is_another_exit_code(path, right):
    artefact = right
    Path("cut.bireme").write_bytes(artefact.read_bytes()[:300])
    np.savez("bad.npz", x=np.zeros((2, 9), np.float32))
    onnx.save(next(integers()), "rows.onnx")
    for arguments, code in (
        (("missing.onnx", artefact), "BM6001"),
        ((path, "missing.bireme"), "BM6001"),
        ((path, "cut.bireme"), "BM4"),
        ((path, artefact, "--inputs", "bad.npz"), "BM"),
        ((path, artefact, "--inputs", "missing.npz"), "BM6001"),
        ((path, artefact, "--against", "hearsay"), "BM6002"),
        (("rows.onnx", artefact), "BM5"),
    ):
        result = call("compare", *arguments, "--json")
        assert result.exit_code == 2, arguments
        assert json.loads(result.stdout)["error"]["code"].startswith(code), arguments


def test_the_page(path, wrong_cosine):
    result = call("compare", path, compiled(path), "--html", "page.html")
    assert result.exit_code == 1
    text = Path("page.html").read_text(encoding="utf-8")
    assert "DIFFERS at wave_2" in text
    assert "product_1" in text
    assert "src=" not in text
