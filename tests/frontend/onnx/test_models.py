"""Real networks: imported once with symbolic sizes, compared with ONNX Runtime at several sizes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from bireme.frontend.onnx import export, load
from tests.frontend.onnx.support import onnxruntime_run, random, run

RAPIDOCR = find_spec("rapidocr_onnxruntime")
FOLDER = Path(RAPIDOCR.origin).parent / "models" if RAPIDOCR and RAPIDOCR.origin else Path()
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

PADDLE = {
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": [(2, 3, 48, 192), (1, 3, 48, 100)],
    "ch_PP-OCRv4_rec_infer.onnx": [(2, 3, 48, 160), (1, 3, 48, 320)],
    "ch_PP-OCRv4_det_infer.onnx": [(2, 3, 64, 96), (1, 3, 96, 32)],
}


def assert_agree(found: np.ndarray, expected: np.ndarray) -> None:
    """Within 1e-4 of ONNX Runtime, relative; values around zero to float32 steps of the largest."""
    around_zero = max(1e-5, 1e-6 * float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=around_zero)


@pytest.mark.parametrize("name", PADDLE)
def test_paddle_ocr(name: str) -> None:
    graph = load(FOLDER / name)
    for seed, shape in enumerate(PADDLE[name]):
        x = random(*shape, seed=seed)
        expected = onnxruntime_run(str(FOLDER / name), {"x": x})
        found = run(graph, {"x": x})
        assert list(found) == list(expected)
        for key in found:
            assert_agree(found[key], expected[key])


def with_random_weights(path: Path) -> onnx.ModelProto:
    """A light model with small random weights in place of its constant ones."""
    model = onnx.load(path)
    shapes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    random_state = np.random.default_rng(0)
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = [int(d) for d in shapes[node.input[0]]]
        fan_in = max(int(np.prod(shape[1:])), 1)
        values = random_state.standard_normal(shape) / np.sqrt(fan_in)
        if len(shape) == 1:  # scales and variances must be positive
            values = np.abs(values) + 0.5
        tensor = numpy_helper.from_array(values.astype(np.float32), node.output[0])
        model.graph.initializer.append(tensor)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


@pytest.mark.parametrize("name", ["resnet50", "squeezenet", "shufflenet", "densenet121"])
def test_light_model(name: str) -> None:
    model = with_random_weights(LIGHT / f"light_{name}.onnx")
    graph = load(model)
    inputs = {
        n: random(*v.type.static_shape)
        for n, v in zip(graph.input_names, graph.inputs, strict=True)
    }
    expected = onnxruntime_run(model, inputs)
    for key, value in run(graph, inputs).items():
        assert value.std() > 0, "the output must depend on the input"
        assert_agree(value, expected[key])


def test_export_of_an_import_gives_the_same_numbers() -> None:
    name = "ch_PP-OCRv4_rec_infer.onnx"
    exported = export(load(FOLDER / name))
    x = random(1, 3, 48, 96)
    expected = onnxruntime_run(str(FOLDER / name), {"x": x})
    found = onnxruntime_run(exported, {"x": x})
    for key in expected:
        assert_agree(found[key], expected[key])


def test_nodes_keep_their_names() -> None:
    path = FOLDER / "ch_ppocr_mobile_v2.0_cls_infer.onnx"
    names = {n.name for n in onnx.load(path).graph.node if n.op_type == "Conv"}
    convolutions = {op.node for op in load(path).walk() if op.name == "conv"}
    assert convolutions == {n or "Conv_0" for n in names}
