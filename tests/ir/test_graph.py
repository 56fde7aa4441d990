"""Graphs: building, changing, naming, symbols, weights, copies."""

from __future__ import annotations

import gc
import math
import sys

import numpy as np
import pytest

from bireme.ir import BiremeError, Builder, DType, Graph, SymbolRange, TensorType, symbol

N = symbol("n")
VECTOR = TensorType(DType.F32, (N, 4))


def small() -> Graph:
    """Y = relu(x) + w"""
    graph = Graph("small")
    x = graph.add_input("x", VECTOR)
    b = Builder(graph)
    w = b.at("Weight").constant(np.arange(4, dtype=np.float32), "w")
    y = b.at("Relu_1").relu(x)
    z = b.at("Add_2").add(y, w)
    graph.set_outputs({"y": z})
    return graph


def test_structure() -> None:
    graph = small()
    graph.verify()
    assert graph.name == "small"
    assert graph.input_names == ["x"]
    assert graph.output_names == ["y"]
    constant, relu, add = graph.body.ops
    assert [op.name for op in graph.walk()] == ["constant", "relu", "add"]
    assert add.operands == [relu.result, constant.result]
    assert relu.result.owner == relu
    assert relu.result.uses == [(add, 0)]
    assert graph.inputs[0].owner is None
    assert graph.inputs[0].index == 0
    assert [v.label for v in (*graph.inputs, relu.result)] == ["x", "Relu_1"]
    assert graph.outputs == [add.result]
    assert add.node == "Add_2"
    assert add.parent is None
    assert relu.is_before(add)
    assert graph.body.terminator is not None
    assert graph.body.terminator.name == "return"
    assert graph.body.terminator.is_terminator
    assert "bireme.relu" in str(relu)


def test_text_is_pinned() -> None:
    assert small().text() == (
        "module @small {\n"
        '  func.func @main(%arg0: tensor<?x4xf32, ["n", "4"]> {bireme.name = "x"})'
        ' -> (tensor<?x4xf32, ["n", "4"]> {bireme.name = "y"}) {\n'
        '    %0 = "bireme.constant"() {dtype = f32, name = "w", shape = array<i64: 4>}'
        " : () -> tensor<4xf32>\n"
        '    %1 = "bireme.relu"(%arg0) : (tensor<?x4xf32, ["n", "4"]>)'
        ' -> tensor<?x4xf32, ["n", "4"]>\n'
        '    %2 = "bireme.add"(%1, %0) : (tensor<?x4xf32, ["n", "4"]>, tensor<4xf32>)'
        ' -> tensor<?x4xf32, ["n", "4"]>\n'
        '    return %2 : tensor<?x4xf32, ["n", "4"]>\n'
        "  }\n"
        "}\n"
    )


def test_replacing_and_erasing() -> None:
    graph = small()
    _, relu, add = graph.body.ops
    with pytest.raises(BiremeError) as caught:
        relu.erase()
    assert str(caught.value).startswith("BM2005 at Relu_1: ")
    assert caught.value.detail == "relu is erased but still used"
    new = Builder(graph, before=relu).exp(relu.operands[0])
    assert new.owner is not None
    assert new.owner.node == "Relu_1"
    relu.replace_with([new])
    assert [op.name for op in graph.body.ops] == ["constant", "exp", "add"]
    add.set_operand(1, new)
    assert add.operands == [new, new]
    graph.body.ops[0].move_before(add)
    assert [op.name for op in graph.body.ops] == ["exp", "constant", "add"]
    graph.verify()


def test_locations_name_the_replaced_ops() -> None:
    graph = small()
    constant, relu, add = graph.body.ops
    builder = Builder(graph, before=add).at([relu, add, relu])
    fused = builder.sigmoid(relu.result)
    assert fused.owner is not None
    assert fused.owner.node == "Relu_1, Add_2"
    assert builder.at(constant).neg(relu.result).owner.node == "Weight"
    assert builder.at("").neg(relu.result).owner.node == ""
    assert fused.owner.location is not None


@pytest.mark.parametrize("name", ["größe/✓", 'with "quotes"', "back\\slash", "new\nline", " "])
def test_any_name_survives(name: str) -> None:
    graph = Graph()
    x = graph.add_input(name, VECTOR)
    b = Builder(graph, node=name)
    key = b.constant(np.float32(1), name).owner.attrs["name"]
    graph.set_outputs({name: b.add(x, b.constant(np.float32(2), name))})
    again = graph.clone()
    assert again.input_names == again.output_names == [name]
    assert [op.node for op in again.body.ops] == [name] * 3
    assert key == name
    assert [op.attrs["name"] for op in again.body.ops[:2]] == [name, f"{name}.1"]
    assert [v.label for v in again.inputs] == [name]


@pytest.mark.parametrize(
    "epsilon",
    [1e-5, 0.1 + 0.2, float(np.float32(0.1)), 1e-300, 5e-324, 1.79e308, 0.0],
)
def test_floats_survive_exactly(epsilon: float) -> None:
    graph = Graph()
    x = graph.add_input("x", VECTOR)
    graph.set_outputs({"y": Builder(graph).layer_norm(x, epsilon=epsilon)})
    assert graph.clone().body.ops[0].attrs["epsilon"] == epsilon


def test_infinities_survive() -> None:
    graph = Graph()
    x = graph.add_input("x", VECTOR)
    b = Builder(graph)
    y = b.layer_norm(x, epsilon=math.inf)
    graph.set_outputs({"y": b.layer_norm(y, epsilon=math.nan)})
    first, second = graph.clone().body.ops
    assert first.attrs["epsilon"] == math.inf
    assert math.isnan(second.attrs["epsilon"])


def test_names_must_be_distinct() -> None:
    graph = Graph()
    x = graph.add_input("x", VECTOR)
    with pytest.raises(BiremeError) as caught:
        graph.add_input("x", VECTOR)
    assert caught.value.code == "BM2010"
    graph.set_outputs([("y", x), ("y", x)])
    with pytest.raises(BiremeError) as caught:
        graph.verify()
    assert caught.value.code == "BM2010"
    assert caught.value.detail == "outputs share the name 'y'"


def test_outputs_can_be_set_again() -> None:
    graph = small()
    _, relu, add = graph.body.ops
    graph.set_outputs({"a": relu.result, "b": add.result, "c": graph.inputs[0]})
    graph.verify()
    assert graph.output_names == ["a", "b", "c"]
    assert graph.outputs == [relu.result, add.result, graph.inputs[0]]
    # The builder still adds before the end.
    Builder(graph).neg(relu.result)
    assert graph.body.ops[-1].name == "neg"
    graph.verify()


def test_a_changed_output_type_is_noticed_until_the_signature_is_refreshed() -> None:
    graph = small()
    add = graph.body.ops[-1]
    cast = Builder(graph).cast(add.result, dtype="float16")
    assert graph.body.terminator is not None
    graph.body.terminator.set_operand(0, cast)
    with pytest.raises(BiremeError, match=r"type of return operand 0"):
        graph.verify()
    graph.refresh_signature()
    graph.verify()
    assert graph.output_names == ["y"]


def test_values_of_another_graph_are_refused() -> None:
    graph, other = small(), Graph()
    x = other.add_input("theirs", VECTOR)
    relu = graph.body.ops[1]
    builder = Builder(graph)
    for attempt in (
        lambda: builder.relu(x),
        lambda: builder.yield_([x]),
        lambda: graph.set_outputs({"y": x}),
        lambda: relu.set_operand(0, x),
        lambda: relu.replace_with([x]),
    ):
        with pytest.raises(BiremeError) as caught:
            attempt()
        assert caught.value.code == "BM2005"
        assert caught.value.detail == "value 0, theirs, belongs to another graph"
    graph.verify()


@pytest.mark.parametrize("size", [-1, 1 << 63, 1.5])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(BiremeError) as caught:
        Graph().add_input("x", TensorType(DType.F32, (size,)))
    assert caught.value.detail == f"float32[{size}] has a size that is not in [0, 2**63)"


# --- symbols ------------------------------------------------------------------------------------


def test_symbol_ranges() -> None:
    graph = Graph()
    graph.set_symbol("n", SymbolRange(1, 64, 8))
    graph.set_symbol("m", SymbolRange(2))
    graph.set_symbol("unused", SymbolRange(5, 5))
    x = graph.add_input("x", TensorType(DType.F32, (N, symbol("m") + 1, symbol("k"))))
    graph.set_outputs({"y": x})
    expected = {
        "k": SymbolRange(0, None, 64),
        "m": SymbolRange(2, None, 64),
        "n": SymbolRange(1, 64, 8),
    }
    assert graph.symbols == expected
    assert graph.clone().symbols == expected
    graph.set_symbol("n", SymbolRange(3, 4))
    assert graph.symbols["n"] == SymbolRange(3, 4, 3)  # leads an input: typically 1
    assert graph.symbols["m"] == SymbolRange(2, None, 64)


def test_hints_lie_in_the_range() -> None:
    assert SymbolRange(4, 8).hint is None
    assert SymbolRange(4, 8, 1).hint == 4
    assert SymbolRange(0, 8, 100).hint == 8
    assert SymbolRange(2, None, 100).hint == 100


@pytest.mark.parametrize("sizes", [(-1, None, 1), (5, 4, 1)])
def test_impossible_ranges_are_refused(sizes: tuple[int, int | None, int]) -> None:
    with pytest.raises(BiremeError) as caught:
        SymbolRange(*sizes)
    assert caught.value.code == "BM6002"


# --- weights ------------------------------------------------------------------------------------


def test_weights_are_held_without_copies() -> None:
    array = np.ones((1000, 1000), np.float32)
    graph = Graph()
    value = Builder(graph).constant(array, "w")
    assert graph.weights["w"] is array
    assert value.constant is array
    graph.set_outputs({"y": value})
    copy = graph.clone()
    assert copy.weights["w"] is array
    assert copy.body.ops[0].result.constant is array
    assert len(graph.text()) < 400


def test_a_graph_lets_go_of_its_weights() -> None:
    array = np.ones(3, np.float32)
    before = sys.getrefcount(array)
    graph = Graph()
    graph.set_outputs({"y": Builder(graph).constant(array, "w")})
    graph.clone().verify()
    del graph
    gc.collect()
    assert sys.getrefcount(array) == before


def test_weight_names_are_made_free() -> None:
    graph = Graph()
    first, second = np.zeros(1, np.float32), np.ones(1, np.float32)
    assert graph.add_weight(first, "w") == "w"
    assert graph.add_weight(first, "w") == "w"
    assert graph.add_weight(second, "w") == "w.1"
    assert graph.add_weight(second) == "constant"


def test_missing_and_wrong_weights() -> None:
    graph = small()
    text = graph.text(locations=True)
    with pytest.raises(BiremeError) as caught:
        Graph.parse(text)
    assert (caught.value.code, caught.value.where) == ("BM2009", "w")
    assert caught.value.detail == "the weight table has no such name"
    with pytest.raises(BiremeError) as caught:
        Graph.parse(text, {"w": np.zeros(5, np.float32)})
    assert caught.value.detail == "expected float32[4]; found float32[5]"


def test_constants_of_python_values() -> None:
    b = Builder(Graph())
    assert b.constant(2.5).type == TensorType(DType.F64, ())
    assert b.constant([1, 2]).type == TensorType(DType.I64, (2,))
    assert b.constant(np.bool_(True)).type == TensorType(DType.BOOL, ())
    with pytest.raises(BiremeError) as caught:
        b.constant("text")
    assert caught.value.code == "BM2003"


# --- copies -------------------------------------------------------------------------------------


def test_a_clone_is_equal_and_apart() -> None:
    graph = small()
    graph.set_symbol("n", SymbolRange(1, 9, 3))
    copy = graph.clone()
    assert copy.text(locations=True) == graph.text(locations=True)
    assert copy.context is not graph.context
    assert [op.node for op in copy.walk()] == [op.node for op in graph.walk()]
    x = copy.inputs[0]
    copy.body.ops[-1].replace_with([x])
    copy.verify()
    graph.verify()
    assert len(graph.body.ops) == 3


def test_two_thousand_ops_are_built_in_linear_time() -> None:
    """Finding a block's end does not list its ops: steps are counted, not seconds."""
    graph = Graph()
    x = graph.add_input("x", VECTOR)
    b = Builder(graph)
    for _ in range(2000):
        x = b.relu(x)
    graph.set_outputs({"y": x})
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    b.relu(x)
    sys.setprofile(None)
    assert calls < 200
