"""`bireme check`: what it says, that it is what `compile` does, and its page."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import bireme as bm
from bireme.codegen.compiler import Options
from bireme.codegen.rules import RULES
from bireme.ir import BiremeError
from bireme.targets import registry
from bireme.targets.x86 import chips, compiler
from tests.cli.support import call, model

OPTIONS = Options(cache=None, jobs=0)


def checked(path: Path, *arguments: object) -> dict[str, Any]:
    result = call("check", path, "--json", *arguments)
    found: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if found["compilable"] else 1)
    return found


def layers() -> onnx.ModelProto:
    """Two equal layers, a dead end of shape arithmetic, a view, a function's body."""
    node = helper.make_node
    return model(
        [
            node("MatMul", ["x", "w"], ["a"], name="product_1"),
            node("Sin", ["a"], ["b"], name="wave_1"),
            node("MatMul", ["b", "w"], ["c"], name="product_2"),
            node("Sin", ["c"], ["d"], name="wave_2"),
            node("Shape", ["x"], ["shape"], name="the_shape"),
            node("Reshape", ["d", "wide"], ["e"], name="the_view"),
            node("Gelu", ["e"], ["z"], name="the_function"),
        ],
        w=np.eye(8, dtype=np.float32),
        wide=np.array([-1, 2, 4]),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    onnx.save(layers(), tmp_path / "layers.onnx")
    return tmp_path / "layers.onnx"


def by_name(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {node["name"]: node for node in found["nodes"]}


def test_every_node_has_a_place_on_every_target(path):
    found = checked(path)
    targets = [survey["target"] for survey in found["targets"]]
    assert targets == registry.names()
    nodes = by_name(found)
    assert list(nodes) == [n.name for n in layers().graph.node]
    for target, survey in zip(targets, found["targets"], strict=True):
        how = {name: node["targets"][target]["how"] for name, node in nodes.items()}
        assert how["product_1"] == ["matmul"]
        assert how["the_shape"] == ["folded"]
        assert how["the_view"] == ["view"]
        for name, node in nodes.items():
            for launch in node["targets"][target]["launches"]:
                assert name in " ".join(survey["launches"][launch]["nodes"])


def test_figures_are_those_of_the_compiled_model(path):
    found = checked(path, "--target", "x86:znver4", "--dim", "batch=3")
    (survey,) = found["targets"]
    report = bm.compile(path, "x86:znver4", dims={"batch": 3}, options=OPTIONS).report
    assert report is not None
    assert survey["kernels"] == report.kernels
    assert survey["arena_bytes"] == report.arena_bytes
    assert survey["arena_lower_bound_bytes"] == report.arena_lower_bound
    assert survey["weight_bytes"] == report.weight_bytes
    assert survey["peak_bytes"] == report.arena_bytes + report.weight_bytes
    nodes = by_name(found)
    assert nodes["product_1"]["operations"] == 2 * 3 * 8 * 8
    assert nodes["product_1"]["bytes"] == 4 * (3 * 8 + 8 * 8 + 3 * 8)
    assert nodes["wave_1"]["operations"] == 3 * 8
    assert nodes["the_view"]["bytes"] == nodes["the_shape"]["bytes"] == 0
    assert sum(launch["operations"] for launch in survey["launches"]) >= 2 * 2 * 3 * 8 * 8
    assert max(launch["live_bytes"] for launch in survey["launches"]) == report.arena_lower_bound
    assert max(node["live_bytes"] for node in nodes.values()) == report.arena_lower_bound
    assert nodes["the_shape"]["live_bytes"] == 0


def test_sizes_to_specialize_for_add_kernels_as_they_do_when_compiled(path):
    found = checked(path, "--target", "x86:znver4", "--specialize", "batch=4096,5")
    (survey,) = found["targets"]
    options = replace(OPTIONS, specialize=[{"batch": [4096, 5]}])
    report = bm.compile(path, "x86:znver4", options=options).report
    assert report is not None
    (plain,) = checked(path, "--target", "x86:znver4")["targets"]
    assert plain["kernels"] < survey["kernels"] == report.kernels
    versions = [sizes for launch in survey["launches"] for sizes in launch["versions"]]
    assert len(versions) == report.versions > 0
    assert all(sizes == {"batch": 4096} for sizes in versions)
    assert all(launch["versions"] == [] for launch in plain["launches"])
    assert survey["arena_bytes"] == report.arena_bytes
    result = call("check", path, "--specialize", "seq=1", "--json")
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "BM6002"
    assert "known: batch" in error["message"]


def test_estimates_are_made_at_the_hints_or_the_sizes_given(path):
    assert checked(path)["sizes"] == {"batch": 1}
    few, many = (checked(path, "--dim", f"batch={size}") for size in (2, 20))
    assert many["operations"] == 10 * few["operations"]
    assert checked(path, "--dim", "batch=16..64")["sizes"] == {"batch": 16}


def test_loops_count_as_often_as_they_turn(tmp_path):
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Add", ["state", "row"], ["next"], name="step"),
            helper.make_node("Identity", ["next"], ["row_out"], name="copy"),
        ],
        "body",
        [value("state", TensorProto.FLOAT, [8]), value("row", TensorProto.FLOAT, [8])],
        [value("next", TensorProto.FLOAT, [8]), value("row_out", TensorProto.FLOAT, [8])],
    )
    scan = helper.make_node(
        "Scan", ["start", "x"], ["last", "z"], name="loop", body=body, num_scan_inputs=1
    )
    onnx.save(model([scan], start=np.zeros(8, np.float32)), tmp_path / "scan.onnx")
    found = checked(tmp_path / "scan.onnx", "--dim", "batch=5")
    nodes = by_name(found)
    assert nodes["loop/step"]["operations"] == nodes["loop"]["operations"] == 5 * 8
    assert found["operations"] == 5 * 8
    assert "control flow" in nodes["loop"]["targets"]["x86:generic"]["how"]


def test_refused_operators_are_listed_with_all_that_is_known(tmp_path):
    bad = layers()
    for node in bad.graph.node:
        if node.op_type == "Sin":
            node.op_type = "NoSuchOp"
    onnx.save(bad, tmp_path / "bad.onnx")
    found = checked(tmp_path / "bad.onnx")
    refused = {n["name"]: n for n in found["nodes"] if n["refused"]}
    assert set(refused) == {"wave_1", "wave_2"}
    assert refused["wave_1"]["code"] == "BM1003"
    assert refused["wave_1"]["hint"]
    assert refused["wave_1"]["opset"] == 21
    # What stands around them is still placed.
    places = {name: n["targets"]["x86:generic"]["how"] for name, n in by_name(found).items()}
    assert places["product_1"] == ["matmul"]
    assert places["the_view"] == ["?"]  # nobody knows the type of what it reads
    text = call("check", tmp_path / "bad.onnx")
    assert text.exit_code == 1
    assert text.stdout.count("NoSuchOp") >= 4  # in the table and in the list of the refused
    assert "2 of 7 nodes can be compiled, 2 cannot, 3 stand behind those" in text.stdout


@pytest.mark.parametrize("jobs", [0, 1])
def test_check_and_compile_refuse_the_same_kernels_all_at_once(path, monkeypatch, jobs):
    if jobs:  # a process of its own has rules of its own: take away what it is asked to compile
        monkeypatch.setattr("bireme.codegen.build._Worker.compile", _refusing)
        monkeypatch.setattr(compiler, "emit_kernel", _refuse)
    else:
        monkeypatch.delitem(RULES, "sin")
    with pytest.raises(BiremeError) as caught:
        bm.compile(path, "x86:znver4", options=replace(OPTIONS, jobs=jobs))
    parts = caught.value.parts
    assert {p.code for p in parts} == {"BM3004"}
    found = checked(path, "--target", "x86:znver4")
    listed = {
        (error["where"], error["message"])
        for node in found["nodes"]
        for error in node["targets"]["x86:znver4"]["errors"]
    }
    assert listed == {(p.where, p.detail) for p in parts}
    refused = [n["name"] for n in found["nodes"] if n["refused"]]
    assert {"wave_1", "wave_2"} <= set(refused)
    if not jobs:
        assert refused == ["wave_1", "wave_2"]  # not the product that shares their kernel
        assert all(p.where in str(caught.value) for p in parts)


def _refuse(spec: Any, level: Any) -> Any:
    raise BiremeError("BM3004", "not today", where="sin")


def _refusing(self: Any, target: Any, job: Any, seconds: Any) -> Any:
    return BiremeError("BM3004", "not today", where="sin")


def test_another_target_has_a_column_and_a_verdict_of_its_own(path, monkeypatch):
    """A target that is only registered: nothing in the tool knows any target by name."""

    def emit_kernel(spec: Any, level: Any) -> Any:
        if "matmul" in spec.text:
            raise BiremeError("BM3004", "no tensor unit", where="matmul", hint="use a CPU")
        return compiler.emit_kernel(spec, level)

    other = ModuleType("other")
    chip = replace(chips.CHIPS["znver4"], target="toy", chip="one", channel_block=8)
    vars(other).update(CHIPS={"one": chip}, emit_kernel=emit_kernel)
    monkeypatch.setitem(sys.modules, "other", other)
    monkeypatch.setitem(registry._CHIPS, "toy", "other")
    monkeypatch.setitem(registry._COMPILERS, "toy", "other")
    found = checked(path, "--target", "all")
    assert {s["target"]: s["compilable"] for s in found["targets"]} == {
        "x86:generic": True,
        "x86:znver4": True,
        "toy:one": False,
    }
    product = by_name(found)["product_2"]
    assert product["targets"]["x86:generic"]["errors"] == []
    (error,) = product["targets"]["toy:one"]["errors"]
    assert error == {
        "code": "BM3004",
        "where": "product_2",
        "message": "no tensor unit, in matmul(float32[batch, 8], float32[1, 8, 8])"
        " → float32[batch, 8]",
        "hint": "use a CPU",
    }
    text = call("check", path).stdout
    assert "toy:one" in text
    assert "use a CPU" in text
    assert call("check", path, "--target", "x86").exit_code == 0


def test_a_fault_of_the_whole_graph_is_listed(path, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise BiremeError("BM1007", "a size is not known", where="somewhere else")

    monkeypatch.setattr("bireme.codegen.compiler.optimise", broken)
    result = call("check", path)
    assert result.exit_code == 1
    assert "BM1007" in result.stdout
    assert "somewhere else" in result.stdout


class Page(HTMLParser):
    """Text of the cells of a page, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.loads: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [(k, v) for k, v in attrs if k in ("src", "href", "action", "srcset", "data")]
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


def test_the_page_is_self_contained_and_escapes_names(tmp_path):
    name = "</script><img src=http://example.com/x onerror=alert(1)>"
    node = helper.make_node
    nodes = [node("Sin", ["x"], ["y"], name=name), node("Nope", ["y"], ["z"], name="a&b")]
    onnx.save(model(nodes), tmp_path / "evil.onnx")
    result = call("check", tmp_path / "evil.onnx", "--html", tmp_path / "page.html")
    assert result.exit_code == 1
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.loads == []
    assert "url(" not in text
    assert "@import" not in text
    assert "<img" not in text
    assert {name, "a&b", "BM1003"} <= set(page.cells)
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_an_unknown_target(path):
    result = call("check", path, "--target", "abacus", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "BM3003"
