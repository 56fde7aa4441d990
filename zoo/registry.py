"""The table of models: name → family, configuration, inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from bireme.frontend import nn
from bireme.ir import Array, BiremeError, Graph, SymbolRange, evaluate
from bireme.zoo import (
    bert,
    inverted_residual,
    mobilenet_v1,
    resnet,
    tagger,
    text_classifier,
    vit,
)
from bireme.zoo.initial import spread_constants


@dataclass(frozen=True)
class Entry:
    """A model of the zoo.

    `build` makes a module from a configuration; `inputs` gives a spec for each argument of its
    forward; `limits` says below which number the values of an integer input must be;
    `ranges` gives sizes that symbols may have, where not any size from 1 on will do.
    """

    build: Callable[[Any], nn.Module]
    config: Any
    inputs: Callable[[Any], Mapping[str, nn.Spec]]
    doc: str
    limits: Callable[[Any], Mapping[str, int]] = lambda _: {}
    ranges: Callable[[Any], Mapping[str, SymbolRange]] = lambda _: {}


def _image_classifier(build: Callable[[Any], nn.Module], config: Any, doc: str) -> Entry:
    def inputs(config: Any) -> Mapping[str, nn.Spec]:
        size = config.image_size
        return {"x": nn.Spec(("batch", 3, size, size), "float32")}

    return Entry(build, config, inputs, doc)


def _mobilenet(width: float) -> Entry:
    config = mobilenet_v1.MobileNetV1Config(width=width)
    return _image_classifier(
        mobilenet_v1.MobileNetV1, config, f"MobileNetV1, {width} of the channels"
    )


def _resnet(depth: int) -> Entry:
    return _image_classifier(resnet.ResNet, resnet.CONFIGS[depth], f"ResNet-{depth}, v1.5")


def _inverted(config: inverted_residual.InvertedConfig, doc: str) -> Entry:
    return _image_classifier(inverted_residual.InvertedResidualNet, config, doc)


def _bert(config: bert.BertConfig, doc: str) -> Entry:
    return Entry(bert.Bert, config, bert.inputs, doc, bert.limits, bert.ranges)


MODELS: dict[str, Entry] = {
    "mobilenet_v1": _mobilenet(1.0),
    "mobilenet_v1_050": _mobilenet(0.5),
    "mobilenet_v1_025": _mobilenet(0.25),
    "mobilenet_v2": _inverted(inverted_residual.MOBILENET_V2, "MobileNetV2"),
    "mobilenet_v3_small": _inverted(inverted_residual.MOBILENET_V3_SMALL, "MobileNetV3-small"),
    "efficientnet_b0": _inverted(inverted_residual.EFFICIENTNET_B0, "EfficientNet-B0"),
    "vit_tiny": _image_classifier(vit.Vit, vit.VitConfig(), "ViT-tiny, patches of 16 x 16"),
    **{f"resnet{depth}": _resnet(depth) for depth in resnet.CONFIGS},
    "bert_base": _bert(bert.BASE, "BERT-base, uncased vocabulary"),
    "bert_small": _bert(bert.SMALL, "BERT with 4 layers of width 512 (Turc et al., 2019)"),
    "bert_tiny": _bert(bert.TINY, "BERT with 2 layers of width 128 (Turc et al., 2019)"),
    "lstm_classifier": Entry(
        text_classifier.TextClassifier,
        text_classifier.TextClassifierConfig(),
        text_classifier.inputs,
        "Text classifier: embedding, bidirectional LSTM, linear",
        text_classifier.limits,
        text_classifier.ranges,
    ),
    "lstm_stack": Entry(
        tagger.LstmStack,
        tagger.StackConfig(),
        tagger.stack_inputs,
        "Two LSTM layers of width 256",
        ranges=tagger.ranges,
    ),
    "bigru_tagger": Entry(
        tagger.Tagger,
        tagger.TaggerConfig(),
        tagger.tagger_inputs,
        "Tagger: embedding, bidirectional GRU, linear",
        tagger.tagger_limits,
        tagger.ranges,
    ),
}


def names() -> list[str]:
    """Names of all models."""
    return sorted(MODELS)


def find(name: str) -> Entry:
    """The entry of this name. Raises BM6002."""
    if name not in MODELS:
        near = get_close_matches(name, MODELS, 3) or names()
        raise BiremeError("BM6002", f"the zoo has no {name!r}", hint=f"try {', '.join(near)}")
    return MODELS[name]


def configure(name: str, overrides: Mapping[str, Any]) -> Any:
    """The model's configuration with some fields replaced. Raises BM6002 for an unknown field."""
    config = find(name).config
    fields = [f.name for f in dataclasses.fields(config)]
    unknown = [key for key in overrides if key not in fields]
    if unknown:
        hint = f"fields are {', '.join(fields)}"
        raise BiremeError("BM6002", f"{name} has no option {', '.join(unknown)}", hint=hint)
    return dataclasses.replace(config, **overrides)


def create(name: str, *, seed: int = 0, **overrides: Any) -> nn.Module:
    """The model with random weights; `overrides` replace fields of its configuration.

    The same name, seed and overrides give the same weights. Raises BM6002.
    """
    config = configure(name, overrides)
    with nn.seed(seed):
        module = find(name).build(config)
    spread_constants(module)
    return module


def specs(name: str, **overrides: Any) -> dict[str, nn.Spec]:
    """What the model takes: a spec for each input, in order."""
    return dict(find(name).inputs(configure(name, overrides)))


def trace(
    name: str, *, seed: int = 0, sizes: Mapping[str, int] | None = None, **overrides: Any
) -> Graph:
    """The model's graph; `sizes` fixes symbols of its inputs, such as `{"batch": 1}`."""
    inputs = {
        key: dataclasses.replace(
            spec, shape=tuple((sizes or {}).get(str(d), d) for d in spec.shape)
        )
        for key, spec in specs(name, **overrides).items()
    }
    module = create(name, seed=seed, **overrides)
    ranges = find(name).ranges(configure(name, overrides))
    return nn.trace(module, inputs, ranges, name)


def example(
    name: str, sizes: Mapping[str, int], *, seed: int = 0, **overrides: Any
) -> dict[str, Array]:
    """Random inputs: standard normal floats, integers in range. `sizes` gives every symbol."""
    config = configure(name, overrides)
    limits = find(name).limits(config)
    rng = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    for key, spec in find(name).inputs(config).items():
        kind = spec.type
        shape = tuple(evaluate(d, sizes) for d in kind.shape)
        if kind.dtype.is_float:
            arrays[key] = rng.standard_normal(shape, np.float32).astype(kind.dtype.numpy)
        else:
            arrays[key] = rng.integers(0, limits[key], shape).astype(kind.dtype.numpy)
    return arrays
