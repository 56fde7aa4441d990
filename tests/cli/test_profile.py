"""`bireme profile` on small models: what it counts, what it says, and the forms it says it in."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import bireme as bm
from bireme import _profile
from bireme.codegen.container import pack, unpack
from bireme.codegen.limits import Level, Limits
from tests.cli.support import call, model

LIMITS = Limits(
    "Test", "x86-64-v2", 1, 1e-3,
    (Level("L1", 1 << 15, 9.0, 9.0), Level("memory", None, 1.0, 1.0)), 1e6, 50.0,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured; every step is bound by the launch, whose limit is a millisecond."""
    monkeypatch.setattr(_profile, "machine_limits", lambda *_, **__: LIMITS)


def compiled(proto: onnx.ModelProto, path: Path) -> Path:
    onnx.save(proto, path.with_suffix(".onnx"))
    result = call("compile", path.with_suffix(".onnx"), "-o", path, "--jobs", 0)
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Softmax of x [batch, 8] times w [8, 4]."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"], name="product"),
        helper.make_node("Softmax", ["y"], ["z"], name="soft"),
    ]
    weight = np.ones((8, 4), np.float32)
    return compiled(model(nodes, w=weight), tmp_path_factory.mktemp("profile") / "m.bireme")


def profiled(path: Path, *arguments: object) -> dict[str, object]:
    result = call("profile", path, "--runs", 3, "--threads", 1, "--json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_operations_and_bytes_are_those_of_the_sizes(artefact):
    found = profiled(artefact, "--dim", "batch=5")
    product, soft = found["steps"]
    assert (product["nodes"], product["kind"]) == (["product"], "matmul")
    assert product["form"] == "5×8×4"
    assert product["operations"] == 2 * 5 * 8 * 4
    assert (soft["nodes"], soft["kind"]) == (["soft"], "normalisation")
    assert soft["bytes"] == 2 * 5 * 4 * 4
    assert (soft["reads"], product["readers"]) == ([0], [1])
    assert soft["limit"] == "launch"
    assert soft["limit_seconds"] == 1e-3
    assert found["sizes"] == {"batch": 5}
    assert found["runs"] == 3
    assert found["missing"] == []
    assert sum(step["share"] for step in found["steps"]) == pytest.approx(1)
    assert {c["name"] for c in found["classes"]} == {"matmul", "normalisation"}


def test_what_binds_is_the_slowest_part(artefact, monkeypatch):
    monkeypatch.setattr(_profile, "machine_limits", lambda *_, **__: replace_step(0.0))
    product, soft = profiled(artefact, "--dim", "batch=5")["steps"]
    assert product["limit"] == "compute"
    assert product["parts"]["compute"] == pytest.approx(product["operations"] / 1e-3 / 1e9)
    assert soft["limit"] in ("compute", "L1")


def replace_step(step_ns: float) -> Limits:
    return Limits(LIMITS.cpu, LIMITS.isa, 1, LIMITS.gflops, LIMITS.levels, step_ns, 50.0)


def test_steps_of_a_loop_count_for_each_turn(tmp_path):
    """A running sum over the rows of x [t, 4], by a Scan."""
    row = helper.make_tensor_value_info("row", TensorProto.FLOAT, [4])
    body = helper.make_graph(
        [
            helper.make_node("Tanh", ["row"], ["t"], name="tanh"),
            helper.make_node("Add", ["sum", "t"], ["next"], name="add"),
        ],
        "body",
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, [4]), row],
        [helper.make_tensor_value_info("next", TensorProto.FLOAT, [4])],
    )
    scan = helper.make_node(
        "Scan", ["zero", "x"], ["last"], name="scan", body=body, num_scan_inputs=1
    )
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["t", 4])
    last = helper.make_tensor_value_info("last", TensorProto.FLOAT, [4])
    zero = numpy_helper.from_array(np.zeros(4, np.float32), "zero")
    graph = helper.make_graph([scan], "loop", [x], [last], [zero])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = compiled(proto, tmp_path / "loop.bireme")
    steps = profiled(path, "--dim", "t=6")["steps"]
    (added,) = [s for s in steps if "add" in s["ops"]]
    assert added["calls"] == 6
    assert added["operations"] == 6 * 4 * len(added["ops"])
    assert {s["kind"] for s in steps if not s["kernel"]} == {"control flow"}
    assert len(json.loads(trace_text(path, tmp_path))["traceEvents"]) > 6 * 2


def trace_text(path: Path, folder: Path) -> str:
    result = call("profile", path, "--runs", 1, "--dim", "t=6", "--trace", folder / "t.json")
    assert result.exit_code == 0, result.output
    return (folder / "t.json").read_text()


def test_the_table_names_nodes_and_limits(artefact):
    result = call("profile", artefact, "--runs", 2, "--threads", 1, "--top", 1)
    assert result.exit_code == 0, result.output
    assert re.search(r"#\d .*(matmul|normalisation) .*launch", result.stdout)
    assert "1 more with" in result.stdout
    assert "measuring adds: 50 ns a step" in result.stdout
    by_class = call("profile", artefact, "--runs", 2, "--by", "class").stdout
    assert re.search(r"^matmul +1 +1 ", by_class, re.MULTILINE)
    by_kernel = call("profile", artefact, "--runs", 2, "--by", "kernel").stdout
    assert "matmul_0 1×8×4" in by_kernel


def test_the_page_needs_nothing_else(artefact, tmp_path):
    page = tmp_path / "p.html"
    assert call("profile", artefact, "--runs", 2, "--html", page).exit_code == 0
    text = page.read_text()
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href)=|url\(|@import|https?://(?!www\.w3\.org/2000/svg)""", text)
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert [step["short"] for step in data["steps"]] == ["product", "soft"]
    assert data["arena"]["bytes"] >= data["arena"]["bound"] > 0
    assert {tensor["first"] for tensor in data["arena"]["tensors"]} == {0}


def test_the_trace_has_events_of_each_thread(artefact, tmp_path):
    trace = tmp_path / "t.json"
    assert call("profile", artefact, "--runs", 2, "--trace", trace).exit_code == 0
    events = json.loads(trace.read_text())["traceEvents"]
    spans = [e for e in events if e["ph"] == "X"]
    assert [e["args"]["nodes"] for e in spans] == ["product", "soft"]
    assert all(e["dur"] >= 0 and e["ts"] >= 0 for e in spans)
    assert {e["args"]["bytes"] > 0 for e in events if e["ph"] == "C"} == {True}
    assert {e["args"]["name"] for e in events if e["ph"] == "M"} >= {"small", "thread 0"}


def test_what_an_artefact_does_not_tell_is_said(artefact, tmp_path):
    plan, code, weights = unpack(artefact.read_bytes())
    for instruction in plan.instructions:
        instruction.operations = instruction.moved = -1
    for source in plan.sources:
        source.kind = source.form = None
    old = tmp_path / "old.bireme"
    old.write_bytes(pack(plan, code, weights))
    found = profiled(old)
    assert found["missing"] == ["operations and bytes", "classes"]
    assert [(s["operations"], s["limit_seconds"]) for s in found["steps"]] == [(None, None)] * 2
    text = call("profile", old, "--runs", 1).stdout
    assert "does not tell: operations and bytes and classes: compile the model again" in text
    assert call("profile", old, "--runs", 1, "--html", tmp_path / "p.html").exit_code == 0


def test_bad_options_are_refused(artefact, tmp_path):
    assert "BM6002" in call("profile", artefact, "--by", "colour", "--json").stdout
    assert "BM4001" in call("profile", tmp_path / "none.bireme", "--json").stdout
    wrong = tmp_path / "x.npz"
    np.savez(wrong, x=np.ones((2, 9), np.float32))
    assert "BM5007" in call("profile", artefact, "--input", wrong, "--json").stdout


def test_from_python(artefact):
    x = np.ones((3, 8), np.float32)
    found = bm.profile(artefact.read_bytes(), {"x": x}, threads=1, runs=2, busy=True)
    assert isinstance(found, bm.Profile)
    assert found.sizes == {"batch": 3}
    assert found.seconds == pytest.approx(sum(step.seconds for step in found.steps))
    assert [e.instruction for e in found.events] == [0, 1]
    assert found.arena_bytes == found.plan.arena_bytes
