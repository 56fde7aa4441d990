"""The zoo's table: names, options, specs, examples."""

from __future__ import annotations

import numpy as np
import pytest

from bireme import zoo
from bireme.frontend import nn
from bireme.ir import BiremeError, DType, SymbolRange


def test_every_entry_says_what_it_is_and_builds() -> None:
    assert zoo.list() == sorted(zoo.MODELS)
    for name in zoo.list():
        entry = zoo.find(name)
        assert entry.doc
        assert isinstance(zoo.create(name), nn.Module)
        assert zoo.specs(name)
        assert zoo.example(name, {"batch": 1, "seq": 4}).keys() == zoo.specs(name).keys()


def test_options_replace_fields_of_the_configuration() -> None:
    model = zoo.create("mobilenet_v1", num_classes=7, width=0.25)
    assert model.state_dict()["classifier.weight"].shape == (7, 256)
    assert zoo.specs("resnet50", image_size=96)["x"].shape == ("batch", 3, 96, 96)


@pytest.mark.parametrize(
    ("width", "channels"), [(1.0, 32), (0.75, 24), (0.5, 16), (0.25, 8), (0.3, 16), (1.4, 48)]
)
def test_channels_are_multiples_of_eight_near_the_width(width: float, channels: int) -> None:
    assert zoo.MobileNetV1Config(width=width).channels(32) == channels


def test_unknown_names_and_options() -> None:
    with pytest.raises(BiremeError, match=r"BM6002.*the zoo has no 'resnet51'.*try resnet50"):
        zoo.create("resnet51")
    with pytest.raises(BiremeError, match=r"BM6002.*no option layer.*fields are layers"):
        zoo.create("resnet50", layer=3)
    with pytest.raises(
        BiremeError, match=r"BM6002 at Bert.*hidden_size 128 cannot be cut into 3 heads"
    ):
        zoo.create("bert_tiny", num_heads=3)


def test_sizes_fix_symbols() -> None:
    graph = zoo.trace("mobilenet_v1_025", sizes={"batch": 2}, image_size=32)
    assert str(graph.inputs[0].type) == "float32[2, 3, 32, 32]"
    assert graph.name == "mobilenet_v1_025"
    assert graph.symbols == {}


def test_bert_allows_as_many_tokens_as_it_has_positions() -> None:
    graph = zoo.trace("bert_tiny")
    assert graph.symbols == {"batch": SymbolRange(1, None, 1), "seq": SymbolRange(1, 512, 128)}


def test_the_text_classifier_expects_texts_of_some_length() -> None:
    assert zoo.trace("lstm_classifier", vocab_size=10).symbols["seq"] == SymbolRange(1, None, 64)


def test_examples_are_in_range_and_reproducible() -> None:
    sizes = {"batch": 4, "seq": 50}
    arrays = zoo.example("bert_tiny", sizes)
    assert arrays["input_ids"].shape == (4, 50)
    assert arrays["input_ids"].dtype == np.int64
    assert 0 <= arrays["input_ids"].min() < arrays["input_ids"].max() < 30522
    assert set(np.unique(arrays["token_type_ids"])) == {0, 1}
    again = zoo.example("bert_tiny", sizes)
    other = zoo.example("bert_tiny", sizes, seed=1)
    np.testing.assert_array_equal(arrays["input_ids"], again["input_ids"])
    assert not np.array_equal(arrays["input_ids"], other["input_ids"])


def test_examples_have_the_declared_type() -> None:
    for name in zoo.list():
        arrays = zoo.example(name, {"batch": 2, "seq": 3})
        for key, spec in zoo.specs(name).items():
            assert DType.of(arrays[key]) is spec.type.dtype
