"""Compiled models give the reference's values, with sizes fixed and with sizes that are symbols."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bireme
from bireme import zoo
from bireme.ir import reference

# Every family and kind of block, small enough to compile in seconds.
TWO_STAGES = zoo.find("mobilenet_v3_small").config.stages[:2]
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "mobilenet_v1": ("mobilenet_v1_025", {"image_size": 64, "num_classes": 10}),
    "mobilenet_v2": ("mobilenet_v2", {"image_size": 64, "num_classes": 10}),
    "mobilenet_v3": ("mobilenet_v3_small", {"image_size": 64, "stages": TWO_STAGES}),
    "efficientnet": ("efficientnet_b0", {"image_size": 64, "num_classes": 10}),
    "vit": ("vit_tiny", {"image_size": 64, "num_layers": 1, "num_classes": 10}),
    "resnet, basic": ("resnet18", {"image_size": 64, "layers": (1, 1), "num_classes": 10}),
    "resnet, bottleneck": ("resnet50", {"image_size": 64, "layers": (1, 1), "num_classes": 10}),
    "bert": ("bert_tiny", {"num_layers": 1, "vocab_size": 100}),
    "lstm": ("lstm_classifier", {"vocab_size": 100, "hidden_size": 20, "embedding_dim": 12}),
    "lstm, two layers": (
        "lstm_classifier",
        {"vocab_size": 100, "hidden_size": 20, "num_layers": 2, "bidirectional": False},
    ),
    "tagger": (
        "bigru_tagger",
        {"vocab_size": 100, "embedding_dim": 24, "hidden_size": 20, "num_layers": 2},
    ),
}


def compare(program: bireme.Program, arrays: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Within float32 rounding of sums in another order, relative to the largest value."""
    found = program(arrays)
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, rtol=0, atol=1e-5 * np.abs(value).max())


@pytest.mark.parametrize(
    "label", ["mobilenet_v1", "mobilenet_v2", "efficientnet", "resnet, bottleneck", "bert", "lstm"]
)
def test_fixed_sizes(label: str) -> None:
    name, options = MODELS[label]
    sizes = {"batch": 1, "seq": 7}
    arrays = zoo.example(name, sizes, **options)
    wanted = reference.run(zoo.trace(name, **options), arrays)
    compare(bireme.compile(zoo.trace(name, sizes=sizes, **options)), arrays, wanted)


@pytest.mark.parametrize(
    "label", ["resnet, basic", "mobilenet_v3", "vit", "bert", "lstm, two layers", "tagger"]
)
def test_one_program_serves_all_sizes(label: str) -> None:
    name, options = MODELS[label]
    graph = zoo.trace(name, **options)
    program = bireme.compile(zoo.trace(name, **options))
    for batch, seq in ((1, 1), (3, 7), (2, 16)):
        arrays = zoo.example(name, {"batch": batch, "seq": seq}, **options)
        compare(program, arrays, reference.run(graph, arrays))
