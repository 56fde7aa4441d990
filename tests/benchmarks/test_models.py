"""The networks that are measured."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from benchmarks.models import MODELS, Packaged, fix_shapes, multiply_adds

# Millions of multiply-adds: MobileNetV1 as in the paper's table 4, MobileNetV2 and V3-small as in
# theirs (300 and 56), a stack of two LSTM layers 64 · 2 · 4 · 2 · 256².
MILLIONS = {
    "mobilenet_v1": 569,
    "mobilenet_v2": 301,
    "mobilenet_v3_small": 57,
    "lstm2_h256_s64": 67,
}


@pytest.mark.parametrize("name", MILLIONS)
def test_multiply_adds(name: str) -> None:
    model, _ = MODELS[name].build()
    assert round(multiply_adds(model) / 1e6) == MILLIONS[name]


@pytest.mark.parametrize("name", [n for n, m in MODELS.items() if isinstance(m, Packaged)])
def test_packaged_models_have_fixed_sizes(name: str) -> None:
    model, feed = MODELS[name].build()
    constants = {t.name for t in model.graph.initializer}
    inputs = {i.name: i for i in model.graph.input if i.name not in constants}
    assert inputs.keys() == feed.keys()
    for key, value in inputs.items():
        sizes = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        assert sizes == feed[key].shape
    assert multiply_adds(model) > 0


def test_sizes_are_inferred_again() -> None:
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y]))
    fix_shapes(model, {"x": (2, 3)})
    (output,) = model.graph.output
    assert [d.dim_value for d in output.type.tensor_type.shape.dim] == [2, 3]


def test_a_package_that_is_missing_says_so() -> None:
    with pytest.raises(FileNotFoundError, match="no_such_package"):
        Packaged("no_such_package", "*.onnx", {"x": (1,)}).path()


def test_inputs_do_not_change() -> None:
    for first, second in zip(MODELS["silero_vad"].build()[1].values(),
                             MODELS["silero_vad"].build()[1].values(), strict=True):  # fmt: skip
        np.testing.assert_array_equal(first, second)
