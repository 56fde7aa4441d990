"""The zoo's networks are the published ones: sizes, names, values of other implementations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bireme import zoo
from bireme.frontend import nn
from bireme.frontend.nn.tree import named_leaves
from bireme.ir import reference
from tests.zoo.peer_values import CASES, Case, inputs

PEERS: dict[str, Any] = dict(np.load(Path(__file__).parent / "peer_values.npz"))

# Numbers of learnt values: timm (MobileNetV1, ViT), torchvision (ResNet, MobileNetV2 and V3,
# EfficientNet), transformers (BERT); the text classifier's is vocabulary x width + two LSTM
# directions + a linear layer, and so on.
COUNTS = {
    "bert_base": 109_482_240,
    "bert_small": 28_763_648,
    "bert_tiny": 4_385_920,
    "bigru_tagger": 10_000 * 256 + 2 * (2 * 3 * 256 * 256 + 2 * 3 * 256) + 512 * 50 + 50,
    "efficientnet_b0": 5_288_548,
    "lstm_classifier": 20_000 * 128 + 2 * (2 * 4 * 128 * 128 + 2 * 4 * 128) + 256 * 4 + 4,
    "lstm_stack": 2 * (2 * 4 * 256 * 256 + 2 * 4 * 256),
    "mobilenet_v1": 4_231_976,
    "mobilenet_v1_025": 470_072,
    "mobilenet_v1_050": 1_331_592,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3_small": 2_542_856,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "vit_tiny": 5_717_416,
}


@pytest.mark.parametrize("name", zoo.list())
def test_parameter_count(name: str) -> None:
    assert zoo.create(name).parameter_count() == COUNTS[name]


def flat(result: Any) -> dict[str, np.ndarray[Any, Any]]:
    return {k or "output": v.numpy() for k, v in named_leaves(result)}


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_values_of_another_implementation(case: Case) -> None:
    """Same weights and inputs; float32 sums in another order differ by 1e-6 of the largest."""
    found = flat(zoo.create(case.name, **case.options)(**inputs(case)))
    wanted = {k: v for k, v in PEERS.items() if k.startswith(f"{case.name}/")}
    assert {f"{case.name}/{k}" for k in found} == wanted.keys()
    for key, value in found.items():
        peer = wanted[f"{case.name}/{key}"]
        np.testing.assert_allclose(value, peer, rtol=0, atol=5e-6 * np.abs(peer).max())


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_traced_equals_eager(case: Case) -> None:
    """One graph with symbolic sizes, and one with all sizes fixed."""
    arrays = inputs(case)
    eager = flat(zoo.create(case.name, **case.options)(**arrays))
    for sizes in ({}, case.sizes):
        graph = zoo.trace(case.name, sizes=sizes, **case.options)
        assert set(graph.symbols) == set(case.sizes) - set(sizes)
        traced = reference.run(graph, arrays)
        assert traced.keys() == eager.keys()
        for key, value in eager.items():
            np.testing.assert_array_equal(traced[key], value)


@pytest.mark.parametrize("name", ["bert_tiny", "lstm_classifier", "mobilenet_v1_025", "resnet18"])
def test_one_graph_serves_all_sizes(name: str) -> None:
    options = {} if name in ("bert_tiny", "lstm_classifier") else {"image_size": 32}
    graph = zoo.trace(name, **options)
    module = zoo.create(name, **options)
    for batch, seq in ((1, 1), (3, 7)):
        arrays = zoo.example(name, {"batch": batch, "seq": seq}, **options)
        traced, eager = reference.run(graph, arrays), flat(module(**arrays))
        for key, value in eager.items():
            np.testing.assert_array_equal(traced[key], value)


def test_pictures_of_any_size() -> None:
    """Heights and widths are symbols, odd ones too; nothing is left for run time to check."""
    model = zoo.create("resnet18")
    graph = nn.trace(model, {"x": nn.Spec(("batch", 3, "height", "width"))})
    assert [c for op in graph.walk() for c in op.constraints] == []
    for size in ((64, 64), (65, 47), (33, 80)):
        x = np.random.default_rng(0).standard_normal((1, 3, *size), np.float32)
        traced = reference.run(graph, {"x": x})["output"]
        np.testing.assert_array_equal(traced, model(x).numpy())


def test_padding_does_not_change_what_bert_says_of_real_tokens() -> None:
    model = zoo.create("bert_tiny")
    arrays = zoo.example("bert_tiny", {"batch": 1, "seq": 6})
    arrays["attention_mask"][:] = 1
    short = model(**arrays)["last_hidden_state"].numpy()
    padded = {k: np.pad(v, [(0, 0), (0, 4)]) for k, v in arrays.items()}
    long = model(**padded)["last_hidden_state"].numpy()
    np.testing.assert_allclose(long[:, :6], short, atol=1e-5)


def test_bert_fills_in_masks_and_types() -> None:
    model = zoo.create("bert_tiny")
    arrays = zoo.example("bert_tiny", {"batch": 2, "seq": 5})
    arrays |= {
        "attention_mask": np.ones((2, 5), np.int64),
        "token_type_ids": np.zeros((2, 5), np.int64),
    }
    full = flat(model(**arrays))
    for key, value in flat(model(arrays["input_ids"])).items():
        np.testing.assert_array_equal(value, full[key])


def test_lengths_end_texts_early() -> None:
    model = zoo.create("lstm_classifier")
    tokens = zoo.example("lstm_classifier", {"batch": 2, "seq": 9})["tokens"]
    scores = model(tokens, np.array([9, 4], np.int32)).numpy()
    np.testing.assert_allclose(scores[0], model(tokens[:1]).numpy()[0], atol=1e-6)
    np.testing.assert_allclose(scores[1], model(tokens[1:, :4]).numpy()[0], atol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v1",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "efficientnet_b0",
        "vit_tiny",
        "resnet18",
        "resnet50",
        "resnet101",
        "bert_small",
    ],
)
def test_random_weights_keep_activations_in_range(name: str) -> None:
    """No activation dies out or explodes on the way, and inputs still make a difference."""
    sizes = {"batch": 2, "seq": 16}
    options = {} if name.startswith("bert") else {"image_size": 64}
    seen: dict[str, float] = {}

    def note(value: Any, array: np.ndarray[Any, Any]) -> None:
        if value.owner is not None and value.owner.name in ("conv", "matmul", "add"):
            seen[value.owner.node] = float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))

    arrays = zoo.example(name, sizes, **options)
    outputs = reference.run(zoo.trace(name, **options), arrays, trace=note)
    assert len(seen) > 15
    assert min(seen.values()) > 1e-3
    assert max(seen.values()) < 100
    first = next(iter(outputs.values()))
    assert np.abs(first[0] - first[1]).max() > 0.05 * first.std()


def test_no_term_of_a_random_model_is_invisible() -> None:
    """Every bias and statistic differs from what would make it drop out."""
    for name in ("resnet18", "bert_tiny", "mobilenet_v1_025", "mobilenet_v3_small", "vit_tiny"):
        state = zoo.create(name).state_dict()
        plain = [k for k, v in state.items() if v.size > 1 and np.unique(v).size < v.size / 2]
        assert plain == []


@pytest.mark.parametrize("name", ["mobilenet_v1", "resnet50", "bert_base", "lstm_classifier"])
def test_weights_come_from_the_seed(name: str) -> None:
    def values(seed: int) -> np.ndarray[Any, Any]:
        last = list(zoo.create(name, seed=seed).parameters())[-1]
        return last.data

    np.testing.assert_array_equal(values(0), values(0))
    assert not np.array_equal(values(0), values(1))


def test_state_dicts_move_through_files(tmp_path: Path) -> None:
    first = zoo.create("resnet18", seed=1, num_classes=10)
    second = zoo.create("resnet18", seed=2, num_classes=10)
    nn.save_safetensors(first, tmp_path / "resnet18.safetensors")
    nn.load_safetensors(second, tmp_path / "resnet18.safetensors")
    for key, value in first.state_dict().items():
        np.testing.assert_array_equal(second.state_dict()[key], value)
