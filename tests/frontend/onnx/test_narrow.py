"""Element types of 8 bits and fewer: data in every encoding, and operators that move or cast it."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bireme.frontend.onnx.dtypes import TO_ONNX
from bireme.ir import Array, BiremeError, DType
from bireme.ir.dtypes import NARROW
from tests.frontend.onnx.support import run

OPSET = 25


def everything(dtype: DType) -> Array:
    """All elements of a type."""
    return np.arange(1 << dtype.value_bits, dtype=np.uint8).view(dtype.numpy)


def graph(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, DType],
    outputs: dict[str, DType],
    data: list[TensorProto] | None = None,
) -> onnx.ModelProto:
    """A model of nodes; the shapes of its inputs and outputs are `[n]` and open."""
    made = helper.make_graph(
        nodes,
        "narrow",
        [helper.make_tensor_value_info(k, TO_ONNX[t], ["n"]) for k, t in inputs.items()],
        [helper.make_tensor_value_info(k, TO_ONNX[t], None) for k, t in outputs.items()],
        data or [],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(made, opset_imports=opsets, ir_version=13)


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("odd", [True, False])
@pytest.mark.parametrize("dtype", NARROW, ids=lambda d: d.label)
def test_data_is_read(dtype: DType, odd: bool, raw: bool) -> None:
    """Types of 4 and 2 bits are packed in ONNX, also when the last byte is not full."""
    values = everything(dtype)[: -1 if odd else None]
    tensor = numpy_helper.from_array(values, "w")
    if not raw:
        held = list(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.int32_data.extend(held)
    model = graph([helper.make_node("Identity", ["w"], ["y"])], {}, {"y": dtype}, [tensor])
    found = run(model, {})["y"]
    assert found.dtype == dtype.numpy
    np.testing.assert_array_equal(found.view(np.uint8), values.view(np.uint8))


@pytest.mark.parametrize("dtype", NARROW, ids=lambda d: d.label)
def test_data_is_moved(dtype: DType) -> None:
    """No element changes on its way, whatever its bits mean."""
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[1, 0]),
        helper.make_node("Concat", ["b", "b"], ["c"], axis=1),
        helper.make_node("Gather", ["c", "rows"], ["d"], axis=0),
        helper.make_node("Slice", ["d", "zero", "three", "one"], ["e"]),
        helper.make_node("Tile", ["e", "twice"], ["f"]),
        helper.make_node("Where", ["choice", "f", "f"], ["y"]),
    ]
    data = {
        "shape": np.array([2, -1]),
        "rows": np.array([1, 0]),
        "zero": np.array([0]),
        "three": np.array([3]),
        "one": np.array([1]),
        "twice": np.array([1, 2]),
        "choice": np.array([[True, False, True, False, True, False]]),
    }
    model = graph(nodes, {"x": dtype}, {"y": dtype},
                  [numpy_helper.from_array(v, k) for k, v in data.items()])  # fmt: skip
    x = everything(dtype)
    bits = x.view(np.uint8).reshape(2, -1).T
    expected = np.tile(np.concatenate([bits, bits], 1)[[1, 0]][:, :3], (1, 2))
    found = run(model, {"x": x})["y"]
    np.testing.assert_array_equal(found.view(np.uint8), expected)


@pytest.mark.parametrize("op", ["Add", "Mul", "MatMul", "Equal", "Relu", "ReduceMax"])
@pytest.mark.parametrize("dtype", [DType.F8E4M3FN, DType.I4], ids=lambda d: d.label)
def test_nothing_is_calculated(op: str, dtype: DType) -> None:
    unary = op in ("Relu", "ReduceMax")
    node = helper.make_node(op, ["x"] if unary else ["x", "x"], ["y"])
    with pytest.raises(BiremeError) as caught:
        run(graph([node], {"x": dtype}, {"y": dtype}), {"x": everything(dtype)})
    assert dtype.label in caught.value.detail


BLOCK = 4
QUANTISED = [DType.I4, DType.U4, DType.I2, DType.U2, DType.F4E2M1FN, DType.F8E4M3FN, DType.F8E5M2]


@pytest.mark.parametrize("shape", [(), (8,), (6, 2)], ids=["tensor", "axis", "block"])
@pytest.mark.parametrize("dtype", QUANTISED, ids=lambda d: d.label)
def test_quantised_and_back(dtype: DType, shape: tuple[int, ...]) -> None:
    """One scale for all, for each column, for each block of four in a row."""
    random = np.random.default_rng(0)
    x = random.normal(0, 3, (6, 8)).astype(np.float32)
    scale = random.uniform(0.2, 0.9, shape).astype(np.float32)
    zero = np.ones(shape) if dtype.is_integer else np.zeros(shape)
    attrs = {"axis": 1, **({"block_size": BLOCK} if len(shape) == 2 else {})}
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["a"]),
        helper.make_node("QuantizeLinear", ["a", "scale", "zero"], ["q"], **attrs),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], **attrs),
    ]
    data = {"scale": scale, "zero": zero.astype(dtype.numpy), "shape": np.array(x.shape)}
    model = graph(nodes, {"x": DType.F32}, {"q": dtype, "y": DType.F32},
                  [numpy_helper.from_array(np.asarray(v), k) for k, v in data.items()])  # fmt: skip
    found = run(model, {"x": x.ravel()})
    wide = np.repeat(scale, BLOCK, 1) if len(shape) == 2 else scale
    ratio = x / wide
    if dtype.is_integer:
        info = ml_dtypes.iinfo(dtype.numpy)
        steps = np.clip(np.rint(ratio) + 1, info.min, info.max)
        back = (steps - 1).astype(np.float32) * wide
    else:
        largest = float(ml_dtypes.finfo(dtype.numpy).max)
        steps = np.clip(ratio, -largest, largest).astype(dtype.numpy).astype(np.float32)
        back = steps * wide
    np.testing.assert_array_equal(found["q"].astype(np.float32), steps.astype(np.float32))
    np.testing.assert_allclose(found["y"], back, rtol=1e-6)
