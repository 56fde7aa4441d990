"""The networks that are measured, each as an ONNX file for one size with an example input.

Networks of the zoo have random weights; the others come trained, from Python packages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.idioms import rewrite
from bireme import zoo
from bireme.codegen.cost import CONTRACTIONS, RECURRENT, operations
from bireme.frontend import onnx as frontend
from bireme.ir import Array

Feed = dict[str, Array]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]


@dataclass(frozen=True)
class Zoo:
    """A network of the zoo with its options, at these sizes of its symbols."""

    name: str
    sizes: Mapping[str, int] = field(default_factory=lambda: {"batch": 1})
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> tuple[onnx.ModelProto, Feed]:
        """The network as other exporters write it, and its inputs."""
        graph = zoo.trace(self.name, sizes=self.sizes, **self.options)
        feed = zoo.example(self.name, self.sizes, **self.options)
        return rewrite(frontend.export(graph)), feed


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Standard normal numbers, as of a normalised picture."""
    return rng.standard_normal(shape, np.float32)


def writing(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """White paper (1) with rows of dark strokes (-1), 16 pixels high in 48: [1, 3, H, W]."""
    height, width = shape[2:]
    strokes = rng.random((-(-height // 48), 1, -(-width // 4))) < 0.5
    inked = np.pad(strokes.repeat(16, 1).repeat(4, 2), ((0, 0), (16, 16), (0, 0)))
    row = inked.reshape(-1, inked.shape[2])[:height, :width]
    return np.broadcast_to(np.where(row, np.float32(-1), np.float32(1)), shape).copy()


def quiet(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Sound: noise that stays within ±1."""
    return rng.uniform(-0.5, 0.5, shape).astype(np.float32)


def octets(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """What a file holds."""
    return rng.integers(0, 256, shape).astype(np.int32)


@dataclass(frozen=True)
class Packaged:
    """An ONNX file in a Python package; `shapes` and `draw` give each input's size and values."""

    package: str
    pattern: str
    shapes: Mapping[str, tuple[int, ...]]
    draw: Draw = normal

    def path(self) -> Path:
        """The file. Raises FileNotFoundError without the package, or where it moved the file."""
        spec = find_spec(self.package)
        found = sorted(Path(spec.origin).parent.glob(self.pattern)) if spec and spec.origin else []
        if len(found) != 1:
            raise FileNotFoundError(f"{self.package}: {len(found)} files are {self.pattern}")
        return found[0]

    def build(self) -> tuple[onnx.ModelProto, Feed]:
        """The network with its inputs' sizes fixed, and inputs."""
        model = onnx.load(self.path())
        fix_shapes(model, self.shapes)
        rng = np.random.default_rng(0)
        return model, {name: self.draw(rng, shape) for name, shape in self.shapes.items()}


def fix_shapes(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Sets the sizes of inputs, and forgets those of everything that depends on them."""
    for value in model.graph.input:
        if value.name in shapes:
            kind = value.type.tensor_type
            kind.shape.CopyFrom(onnx.TensorShapeProto())
            for size in shapes[value.name]:
                kind.shape.dim.add(dim_value=size)
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    model.CopyFrom(inferred)


SEQUENCE = {"batch": 1, "seq": 64}
OCR = "rapidocr_onnxruntime"

MODELS: dict[str, Zoo | Packaged] = {
    "mobilenet_v1": Zoo("mobilenet_v1"),
    "mobilenet_v2": Zoo("mobilenet_v2"),
    "mobilenet_v3_small": Zoo("mobilenet_v3_small"),
    "efficientnet_b0": Zoo("efficientnet_b0"),
    "resnet18": Zoo("resnet18"),
    "resnet50": Zoo("resnet50"),
    "bert_base_128": Zoo("bert_base", {"batch": 1, "seq": 128}),
    "vit_tiny": Zoo("vit_tiny"),
    "lstm2_h256_s64": Zoo("lstm_stack", SEQUENCE),
    "bigru_tagger_s64": Zoo("bigru_tagger", SEQUENCE, {"embedding_dim": 128, "num_layers": 2}),
    "bigru1_tagger_s64": Zoo("bigru_tagger", SEQUENCE),
    "ppocrv4_det_640": Packaged(OCR, "models/*det_infer.onnx", {"x": (1, 3, 640, 640)}, writing),
    "ppocrv4_rec_320": Packaged(OCR, "models/*rec_infer.onnx", {"x": (1, 3, 48, 320)}, writing),
    "ppocr_cls": Packaged(OCR, "models/*cls_infer.onnx", {"x": (1, 3, 48, 192)}, writing),
    "silero_vad": Packaged(
        "silero_vad",
        "data/silero_vad_openvino_16k.onnx",
        {"input": (1, 576), "state": (2, 1, 128)},
        quiet,
    ),
    "magika": Packaged("magika", "models/*/model.onnx", {"bytes": (1, 2048)}, octets),
}


def multiply_adds(model: onnx.ModelProto) -> int:
    """Multiply-adds of convolutions, matrix products and recurrent layers.

    Convolutions are counted as direct ones. What control flow leaves open is not counted.
    """
    counted = CONTRACTIONS | RECURRENT
    counts = [operations(op) for op in frontend.load(model).walk() if op.name in counted]
    return sum(c for c in counts if isinstance(c, int)) // 2
