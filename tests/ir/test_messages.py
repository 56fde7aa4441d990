"""The text of the errors that ops, graphs and module text raise."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from bireme.ir import ERRORS, BiremeError, Builder, DType, Graph, TensorType, symbol
from tools.generate_docs import op_families

N, M = symbol("n"), symbol("m")


def f32(*shape: Any) -> TensorType:
    return TensorType(DType.F32, shape)


def i64(*shape: Any) -> TensorType:
    return TensorType(DType.I64, shape)


def boolean(*shape: Any) -> TensorType:
    return TensorType(DType.BOOL, shape)


WINDOW = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
LSTM = {"activations": ("sigmoid", "tanh", "tanh")}
LSTM_TYPES = [f32(5, 2, 3), f32(1, 16, 3), f32(1, 16, 4), f32(1, 32), f32(1, 2, 4), f32(1, 2, 4)]

# op, operand types, attributes, code, detail
OP_ERRORS: list[tuple[str, list[TensorType], dict[str, Any], str, str]] = [
    ("relu", [], {}, "BM2001", "relu takes 1 operand; found 0"),
    ("add", [f32(2)] * 3, {}, "BM2001", "add takes 2 operands; found 3"),
    ("layer_norm", [f32(2)] * 4, {}, "BM2001", "layer_norm takes 1 to 3 operands; found 4"),
    ("concat", [], {"axis": 0}, "BM2001", "concat takes 1 operand or more; found 0"),
    ("relu", [f32(2)], {"slope": 1}, "BM2002", "relu has no attribute 'slope'"),
    ("transpose", [f32(2)], {}, "BM2002", "transpose needs attribute 'perm'"),
    ("cast", [f32(2)], {"dtype": "float8"}, "BM2003",
     "expected one of bool, int8, uint8, int16, uint16, int32, uint32, int64, uint64, float16, "
     "bfloat16, float32, float64, float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz, "
     "float8_e8m0fnu, float4_e2m1fn, int4, uint4, int2, uint2; found 'float8'"),
    ("transpose", [f32(2)], {"perm": "ab"}, "BM2002", "attribute 'perm' must be ints; found 'ab'"),
    ("softmax", [f32(2)], {"axis": 0.5}, "BM2002", "attribute 'axis' must be int; found 0.5"),
    ("softmax", [f32(2)], {"axis": "0"}, "BM2002", "attribute 'axis' must be int; found '0'"),
    ("softmax", [f32(2)], {"axis": 1 << 63}, "BM2002",
     "attribute 'axis' must be int; found 9223372036854775808"),
    ("gelu", [f32(2)], {"approximate": "tanh"}, "BM2002",
     "attribute 'approximate' must be bool; found 'tanh'"),
    ("gelu", [f32(2)], {"approximate": 2}, "BM2002",
     "attribute 'approximate' must be bool; found 2"),
    ("layer_norm", [f32(2)], {"epsilon": "1e-5"}, "BM2002",
     "attribute 'epsilon' must be float; found '1e-5'"),
    ("reshape", [f32(2)], {"shape": ("n",)}, "BM2002",
     "attribute 'shape' must be dims; found ('n',)"),
    ("reshape", [f32(2)], {"shape": (2.0,)}, "BM2002",
     "attribute 'shape' must be dims; found (2.0,)"),
    ("exp", [i64(2)], {}, "BM2003",
     "exp operand 'x' takes float16, bfloat16, float32, float64; found int64[2]"),
    ("logical_and", [boolean(2), f32(2)], {}, "BM2003",
     "logical_and operand 'y' takes bool; found float32[2]"),
    ("add", [f32(2), i64(2)], {}, "BM2003",
     "operands have different element types: float32[2] and int64[2]"),
    ("where", [boolean(2), f32(2), i64(2)], {}, "BM2003",
     "operands have different element types: float32[2] and int64[2]"),
    ("add", [f32(2, 3), f32(4)], {}, "BM2004", "broadcast of axis 1: 3 and 4 differ"),
    ("add", [f32(N), f32(N + 1)], {}, "BM2004", "broadcast of axis 0: n and n + 1 differ"),
    ("reshape", [f32(2, 3)], {"shape": (4,)}, "BM2004",
     "elements of float32[2, 3] as float32[4]: 6 and 4 differ"),
    ("reshape", [f32(2, 3)], {"shape": (-6, -1)}, "BM1006", "shape must not be below 0; found -6"),
    ("transpose", [f32(2, 3)], {"perm": (0, 0)}, "BM1006",
     "perm (0, 0) is not a permutation of the 2 axes of float32[2, 3]"),
    ("slice", [f32(4)], {"starts": (2,), "sizes": (3,), "steps": (1,)}, "BM2004",
     "axis 0: elements 2 to 4 of float32[4] do not all exist"),
    ("slice", [f32(N)], {"starts": (1,), "sizes": (N,), "steps": (1,)}, "BM2004",
     "axis 0: elements 1 to n of float32[n] do not all exist"),
    ("slice", [f32(4)], {"starts": (0,), "sizes": (4,), "steps": (0,)}, "BM1006",
     "the step of axis 0 is 0"),
    ("slice", [f32(4)], {"starts": (0, 0), "sizes": (4,), "steps": (1,)}, "BM1006",
     "starts must have 1 entry; found 2"),
    ("pad", [f32(3)], {"before": (3,), "after": (0,), "mode": "reflect"}, "BM2004",
     "axis 0 of float32[3] is too short to pad 3 in mode reflect"),
    ("pad", [f32(3)], {"before": (1,), "after": (0,), "mode": "mirror"}, "BM1006",
     "mode must be one of constant, reflect, edge, wrap; found 'mirror'"),
    ("pad", [f32(3), f32(1)], {"before": (1,), "after": (0,)}, "BM2004",
     "the value must have 0 axes; found float32[1]"),
    ("expand", [f32(3)], {"shape": (2, 4)}, "BM2004",
     "operand float32[3] against [2, 4]: 3 and 4 differ"),
    ("expand", [f32(2, 3)], {"shape": (3,)}, "BM2004",
     "operand float32[2, 3] does not broadcast to [3]"),
    ("concat", [f32(2, 3), f32(3, 3)], {"axis": 1}, "BM2004", "operand 1, axis 0: 2 and 3 differ"),
    ("concat", [f32(2, 3), f32(2)], {"axis": 1}, "BM2004",
     "operand 1 must have 2 axes; found float32[2]"),
    ("unpack_channels", [f32(1, 2, 4)], {"channels": 9}, "BM2004",
     "9 channels in blocks of float32[1, 2, 4]: 3 and 2 differ"),
    ("gather", [f32(3), i64(2)], {"axis": 1}, "BM1006", "axis 1 is outside [-1, 1)"),
    ("gather", [f32(), i64(2)], {}, "BM2004", "data must have 1 axis or more; found float32[]"),
    ("gather", [f32(3), f32(2)], {}, "BM2003",
     "gather operand 'indices' takes int32, int64; found float32[2]"),
    ("gather_nd", [f32(3), i64(2, N)], {}, "BM1007",
     "the last size of indices int64[2, n] must be known"),
    ("gather_nd", [f32(3), i64(2, 2)], {}, "BM2004",
     "rows of indices int64[2, 2] name 2 axes; at most 1 are there"),
    ("scatter_nd", [f32(3), i64(2, 1), f32(3)], {}, "BM2004", "updates, axis 0: 3 and 2 differ"),
    ("scatter_elements", [boolean(3), i64(3), boolean(3)], {"axis": 0, "reduction": "add"},
     "BM2003", "reduction 'add' takes numbers; found bool[3]"),
    ("reduce_sum", [f32(2, 3)], {"axes": ()}, "BM1006",
     "axes must be one or more of 0 to 1 in ascending order; found ()"),
    ("reduce_sum", [f32(2, 3)], {"axes": (-1,)}, "BM1006",
     "axes must be one or more of 0 to 1 in ascending order; found (-1,)"),
    ("reduce_sum", [f32(2, 3)], {"axes": (0, 2)}, "BM1006", "axes entry 2 is outside [-2, 2)"),
    ("reduce_sum", [f32(2, 3)], {"axes": (1, -1)}, "BM1006", "axes (1, -1) repeat an axis"),
    ("argmax", [f32(2, 0)], {"axis": 1}, "BM2004", "axis 1 of float32[2, 0] is empty"),
    ("topk", [f32(2, 3)], {"k": (4,)}, "BM2004",
     "k 4 does not lie in 0 to 3, the size of axis 1 of float32[2, 3]"),
    ("prefix", [i64(N), i64()], {"symbol": "n"}, "BM2004", "int64[n] has the size n already"),
    ("prefix", [i64(), i64()], {"symbol": "m"}, "BM2004",
     "x must have 1 axis or more; found int64[]"),
    ("prefix", [i64(3), i64()], {"symbol": "2x"}, "BM2006", "'2x' is not a symbol's name"),
    ("compact", [boolean(2, 3)], {}, "BM2004", "condition must have 1 axis; found bool[2, 3]"),
    ("suppress", [f32(1, 5, 4), f32(1, 2, 6), i64(), f32()], {"kept": (3,)}, "BM2004",
     "boxes and their scores: 5 and 6 differ"),
    ("suppress", [f32(1, 5, 4), f32(1, 2, 5), i64(), f32()], {"kept": (6,)}, "BM1006",
     "6 of 5 boxes cannot be kept"),
    ("layer_norm", [f32(2, 3), f32(4)], {}, "BM2004",
     "scale float32[4] against [3]: 4 and 3 differ"),
    ("batch_norm", [f32(2, 3), f32(3), f32(3), f32(3), f32(2)], {}, "BM2004",
     "variance, axis 0: 2 and 3 differ"),
    ("group_norm", [f32(2, 6), f32(6), f32(6)], {"groups": 4}, "BM2004",
     "channels of float32[2, 6] in groups: 6 is not a multiple of 4"),
    ("matmul", [f32(2, 3), f32(4, 5)], {}, "BM2004",
     "inner sizes of float32[2, 3] and float32[4, 5]: 3 and 4 differ"),
    ("matmul", [f32(3), f32(3, 5)], {}, "BM2004", "a must have 2 axes or more; found float32[3]"),
    ("conv", [f32(1, 3, 8, 8), f32(4, 2, 3, 3)], WINDOW, "BM2004",
     "channels of float32[1, 3, 8, 8] and of filters float32[4, 2, 3, 3]: 3 and 2 differ"),
    ("conv", [f32(1, 3, 8, 2), f32(4, 3, 3, 3)], WINDOW, "BM2004",
     "spatial axis 1: a window of 3 taps with dilation 1 is larger than 2 elements with padding "
     "0 + 0"),
    ("conv", [f32(1, 4, 8, 8), f32(3, 2, 3, 3)], {**WINDOW, "groups": 2}, "BM2004",
     "filters of float32[3, 2, 3, 3] in groups: 3 is not a multiple of 2"),
    ("conv", [f32(1, 3, 8), f32(4, 3, 3, 3)], WINDOW, "BM2004",
     "x must have 4 axes; found float32[1, 3, 8]"),
    ("conv", [f32(1, 3, 8, 8), f32(4, 3, 3, 3)], {**WINDOW, "strides": (1, 0)}, "BM1006",
     "strides must not be below 1; found 0"),
    ("conv", [f32(1, 3, 8, 8), f32(4, 3, 3, 3)], {**WINDOW, "in_block": 4}, "BM1006",
     "in_block needs an out_block above 1"),
    ("conv", [f32(1, 1, 8, 8, 4), f32(1, 1, 3, 3, 4, 4)],
     {**WINDOW, "in_block": 4, "out_block": 4, "spare": 4}, "BM1006",
     "spare must be below in_block, 4; found 4"),
    ("conv", [f32(1, 1, 8, 8, 4), f32(1, 5, 5, 1, 4, 4)],
     {**WINDOW, "in_block": 4, "out_block": 4, "winograd": 3}, "BM1006",
     "winograd is 2 or 4, for blocked 3x3 windows at every place; found 3"),
    ("conv", [f32(1, 1, 8, 8, 4), f32(1, 6, 4, 1, 4, 4)],
     {**WINDOW, "in_block": 4, "out_block": 4, "winograd": 4}, "BM2004",
     "points of float32[1, 6, 4, 1, 4, 4] for tiles of 4 outputs: 4 and 6 differ"),
    ("max_pool", [f32(1, 1, 8, 8)], {"kernel": (3,), **WINDOW}, "BM1006",
     "strides must have 1 entry; found 2"),
    ("resize", [i64(1, 4)], {"shape": (1, 8), "scales": (0.0, 0.0), "mode": "linear"}, "BM2003",
     "mode 'linear' takes floats; found int64[1, 4]"),
    ("resize", [f32(1, 0)], {"shape": (1, 8), "scales": (0.0, 0.0)}, "BM2004",
     "axis 1 of float32[1, 0] is empty and cannot be resized to 8"),
    ("grid_sample", [f32(1, 1, 4, 4), f32(1, 2, 2, 3)], {}, "BM2004",
     "last size of float32[1, 2, 2, 3] against the spatial axes of float32[1, 1, 4, 4]: 3 and 2 "
     "differ"),
    ("lstm", LSTM_TYPES, {"activations": ("tanh",)}, "BM1006",
     "activations must have 3 entries; found 1"),
    ("lstm", [LSTM_TYPES[0], f32(1, 12, 3), *LSTM_TYPES[2:]], LSTM, "BM2004",
     "w, axis 1: 12 and 16 differ"),
    ("lstm", LSTM_TYPES, {**LSTM, "direction": "both"}, "BM1006",
     "direction must be one of forward, reverse, bidirectional; found 'both'"),
    ("quantize", [f32(2, 3), f32(2), TensorType(DType.I8, (2,))], {}, "BM2004",
     "scale, axis 0: 2 and 3 differ"),
    ("iota", [], {"shape": (2,), "axis": 0, "dtype": "bool"}, "BM2003",
     "iota makes numbers, not bool"),
    ("random_key", [], {"stream": -1}, "BM2002", "stream -1 is negative"),
    ("random_normal", [i64(2), TensorType(DType.U64, ())], {"dtype": "int32"}, "BM2003",
     "random numbers are float16, bfloat16, float32, float64, not int32"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("op", "types", "attrs", "code", "detail"),
    OP_ERRORS,
    ids=[f"{i}-{row[0]}" for i, row in enumerate(OP_ERRORS)],
)
def test_op_errors(
    op: str, types: list[TensorType], attrs: dict[str, Any], code: str, detail: str
) -> None:
    graph = Graph()
    operands = [graph.add_input(f"x{i}", t) for i, t in enumerate(types)]
    with pytest.raises(BiremeError) as caught:
        Builder(graph, node="the_node").op(op, operands, **attrs)
    error = caught.value
    assert (error.code, error.detail, error.where) == (code, detail, "the_node")
    kind = ERRORS[code]
    assert str(error) == f"{code} at the_node: {kind.meaning}: {detail} (hint: {kind.hint})"


def test_every_family_is_covered() -> None:
    tried = {row[0] for row in OP_ERRORS}
    for name, family in op_families().items():
        assert name == "control" or tried & {op.name for op in family}, name


MODULE = """
module @m {{
  func.func @main(%x: tensor<?x4xf32, ["n", "4"]>) -> tensor<?x4xf32, ["n", "4"]> {{
    {body}
  }}
}}
"""
SAME = '(tensor<?x4xf32, ["n", "4"]>) -> tensor<?x4xf32, ["n", "4"]>'
RETURN = 'return %y : tensor<?x4xf32, ["n", "4"]>'


def module(op: str) -> str:
    return MODULE.format(body=f"{op}\n    {RETURN}")


TEXT_ERRORS = [
    ("not mlir at all", "BM2008", r'"-":1:1.*expected operation name in quotes|custom op'),
    ("module {", "BM2008", r"expected"),
    ("module { }", "BM2008", r"a module holds one func.func; found nothing"),
    ("module { func.func @a() { return } func.func @b() { return } }", "BM2008",
     r"a module holds one func.func; found func.func, func.func"),
    ("module { func.func private @main() }", "BM2008", r"the function must be one block; found 0"),
    ('module { func.func @main() { "bireme.yield"() : () -> () } }', "BM2008",
     r"the function must end in func.return"),
    ("module { func.func @main() { cf.br ^bb1\n ^bb1: return } }", "BM2008",
     r"the function must be one block; found 2"),
    (MODULE.format(body="return"), "BM2008", r'"-":4:5.*has 0 operands, but enclosing function'),
    (module(f'%y = "bireme.relu"(%z) : {SAME}'), "BM2008", r"use of undeclared SSA value"),
    (module(f'%y = "bireme.frobnicate"(%x) : {SAME}'), "BM2008",
     r"bireme.frobnicate is not an op of the dialect"),
    (module(f'%y = "other.relu"(%x) : {SAME}'), "BM2008",
     r"other.relu is not an op of the dialect"),
    (module(f'%y = "bireme.relu"(%x) {{slope = 1.0 : f64}} : {SAME}'), "BM2002",
     r"relu has no attribute 'slope'"),
    (module(f'%y = "bireme.gelu"(%x) {{approximate = 1 : i64}} : {SAME}'), "BM2002",
     r"attribute 'approximate' must be bool; found 1 : i64"),
    (module(f'%y = "bireme.reshape"(%x) {{shape = ["n", "4 +"]}} : {SAME}'), "BM2006",
     r"'4 \+': invalid syntax"),
    (module(f'%y = "bireme.reshape"(%x) {{shape = ["k", "4"]}} : {SAME}'), "BM2007",
     r"attribute 'shape' uses k; symbols of the inputs: n"),
    (module('%y = "bireme.relu"(%x) : (tensor<?x4xf32, ["n", "4"]>) -> tensor<?x4xf64, ["n", "4"]>')
     .replace(RETURN, 'return %x : tensor<?x4xf32, ["n", "4"]>'), "BM2005",
     r"relu: expected float32\[n, 4\]; declared float64\[n, 4\]"),
    (module(f'%y, %z = "bireme.relu"(%x) : {SAME.replace("-> ", "-> (")}, tensor<4xf32>)'),
     "BM2005", r"relu: expected float32\[n, 4\]; declared float32\[n, 4\], float32\[4\]"),
    (module(f'%y = "bireme.relu"(%x) ({{}}) : {SAME}'), "BM2001",
     r"relu has 0 regions; found 1"),
    (module(f'%y = "bireme.kernel"(%x) ({{ ^bb0(%a: tensor<?x4xf32, ["n", "4"]>): '
            f'%b = "bireme.relu"(%a) : {SAME} }}) {{kind = "k"}} : {SAME}'),
     "BM2005", r"region 0 must be one block that ends in bireme.yield"),
    (module('%y = "bireme.kernel"() ({ "bireme.yield"(%x) : (tensor<?x4xf32, ["n", "4"]>) -> () })'
            ' {kind = "k"} : () -> tensor<?x4xf32, ["n", "4"]>'),
     "BM2005", r"the kernel reads input0, which is not one of its arguments"),
    ("module { func.func @main(%x: tensor<f32> {bireme.name = 3 : i64}) { return } }", "BM2008",
     r"bireme.name in arg_attrs must be a string"),
    ('module attributes {bireme.symbols = {n = array<i64: 1, 2>}} { func.func @main() { return } }',
     "BM2008", r"bireme.symbols must give each symbol its least size, most \(-1: none\) and hint"),
    ("module { func.func @main(%x: i32) { return } }", "BM2008",
     r"i32 is not a tensor of this dialect"),
    ("module { func.func @main(%x: tensor<?xf32>) { return } }", "BM2008",
     r"a dynamic size has no name"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "pattern"), TEXT_ERRORS, ids=[str(i) for i in range(len(TEXT_ERRORS))]
)
def test_text_errors(text: str, code: str, pattern: str) -> None:
    with pytest.raises(BiremeError) as caught:
        Graph.parse(text)
    assert re.search(pattern, caught.value.detail), caught.value.detail
    assert caught.value.code == code


def test_several_faults_are_told_together() -> None:
    body = "\n".join(
        f'%y{i} = "bireme.relu"(%x) {{slope = 1 : i64}} : {SAME} loc("Relu_{i}")' for i in range(3)
    )
    text = MODULE.format(body=f"{body}\n{RETURN.replace('%y', '%y2')}")
    with pytest.raises(BiremeError) as caught:
        Graph.parse(text)
    assert caught.value.code == "BM2005"
    lines = caught.value.detail.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"BM2002 at Relu_{i}" for i in range(3)]


def test_faults_in_regions_are_found() -> None:
    graph = Graph()
    x = graph.add_input("x", f32(4))
    b = Builder(graph)
    block = b.block([f32(4)])
    inner = Builder(graph, block=block, node="inside")
    inner.yield_([inner.relu(block.arguments[0])])
    graph.set_outputs({"y": b.op("kernel", [x], regions=[block], kind="k").result})
    text = graph.text(locations=True).replace('"bireme.relu"', '"bireme.gone"')
    with pytest.raises(BiremeError) as caught:
        Graph.parse(text)
    assert caught.value.where == "inside"


def test_hints_can_be_set() -> None:
    error = BiremeError("BM6001", "gone", hint="look elsewhere").at("file.npy")
    assert str(error) == "BM6001 at file.npy: a file could not be read: gone (hint: look elsewhere)"
    assert error.at("other").where == "file.npy"


def test_codes_are_well_formed() -> None:
    for code, kind in ERRORS.items():
        assert re.fullmatch(r"BM[1236]\d{3}", code)
        assert kind.code == code
        assert kind.meaning[0].islower()
        assert not kind.meaning.endswith(".")
        assert kind.hint
    with pytest.raises(KeyError):
        BiremeError("BM9999", "no such code")


def test_unknown_ops_of_the_builder_are_attribute_errors() -> None:
    with pytest.raises(AttributeError):
        Builder(Graph()).frobnicate()
    with pytest.raises(KeyError):
        Builder(Graph()).op("frobnicate", [])


def test_numpy_numbers_are_taken_as_attributes() -> None:
    graph = Graph()
    x = graph.add_input("x", f32(2, 3))
    y = Builder(graph).reduce_sum(x, axes=np.array([0, 1]), keepdims=np.bool_(False))
    assert y.owner.attrs == {"axes": (0, 1), "keepdims": False}
    z = Builder(graph).reshape(x, shape=np.array([3, 2]))
    assert z.type == f32(3, 2)
