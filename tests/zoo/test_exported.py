"""Zoo models exported to ONNX: ONNX Runtime agrees, and the importer reads them back."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from bireme import zoo
from bireme.frontend.onnx import export, load
from bireme.ir import reference

MODELS: dict[str, dict[str, Any]] = {
    "mobilenet_v1_025": {"image_size": 64},
    "mobilenet_v2": {"image_size": 64},
    "mobilenet_v3_small": {"image_size": 64},
    "efficientnet_b0": {"image_size": 64},
    "vit_tiny": {"image_size": 64, "num_layers": 2},
    "resnet18": {"image_size": 64, "layers": (1, 1), "num_classes": 10},
    "resnet50": {"image_size": 64, "layers": (1, 1), "num_classes": 10},
    "bert_tiny": {"vocab_size": 100},
    "lstm_classifier": {"vocab_size": 100, "num_layers": 2},
    "lstm_stack": {"input_size": 24, "hidden_size": 40},
    "bigru_tagger": {"vocab_size": 100, "embedding_dim": 24, "hidden_size": 40},
}
SIZES = {"batch": 2, "seq": 9}


def assert_close(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> None:
    """Within float32 rounding of sums in another order, relative to the largest value."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=5e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("name", MODELS)
def test_export(name: str) -> None:
    options = MODELS[name]
    graph = zoo.trace(name, **options)
    arrays = zoo.example(name, SIZES, **options)
    wanted = reference.run(graph, arrays)
    proto = export(graph)
    onnx.checker.check_model(proto, full_check=True)

    session = onnxruntime.InferenceSession(proto.SerializeToString())
    outputs = [o.name for o in session.get_outputs()]
    assert outputs == list(wanted)
    for key, value in zip(outputs, session.run(None, arrays), strict=True):
        assert_close(value, wanted[key])

    again = reference.run(load(proto), arrays)
    assert again.keys() == wanted.keys()
    for key, value in again.items():
        assert_close(value, wanted[key])


def test_names_of_nodes_lead_back_to_the_module() -> None:
    proto = export(zoo.trace("resnet18", image_size=64, layers=(1, 1)))
    (first, *_) = [n for n in proto.graph.node if n.op_type == "Conv"]
    assert first.name.startswith("conv1")
    assert "zoo/resnet.py:" in first.name
