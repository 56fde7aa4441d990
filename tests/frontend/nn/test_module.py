"""Modules: registration, names, state dicts, printing, initial values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bireme.frontend import nn
from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.frontend.nn import init
from bireme.ir import BiremeError, DType


class Block(nn.Module):
    def __init__(self) -> None:
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.scale = nn.Parameter(np.ones(4, np.float32))
        self.steps = nn.Buffer(np.arange(3), persistent=False)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        return F.relu(self.bn(self.conv(x)))


class Net(nn.Module):
    def __init__(self) -> None:
        self.body = nn.Sequential(Block(), nn.ReLU())
        self.heads = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 3)])

    def forward(self, x: nn.Tensor) -> list[nn.Tensor]:
        pooled = self.body(x).mean((2, 3))
        return [head(pooled) for head in self.heads]


BLOCK_STATE = [
    "scale",
    "conv.weight",
    "bn.weight",
    "bn.bias",
    "bn.running_mean",
    "bn.running_var",
    "bn.num_batches_tracked",
]


def test_names_of_state_parameters_and_buffers() -> None:
    block = Block()
    assert list(block.state_dict()) == BLOCK_STATE
    assert [k for k, _ in block.named_parameters()] == [
        "scale",
        "conv.weight",
        "bn.weight",
        "bn.bias",
    ]
    assert [k for k, _ in block.named_buffers()] == ["steps", *BLOCK_STATE[4:]]
    assert block.parameter_count() == 4 + 4 * 3 * 9 + 4 + 4


def test_names_of_modules_go_by_attribute_and_position() -> None:
    assert [k for k, _ in Net().named_modules()] == [
        "",
        "body",
        "body.0",
        "body.0.conv",
        "body.0.bn",
        "body.1",
        "heads",
        "heads.0",
        "heads.1",
    ]


def test_a_shared_parameter_counts_once_and_keeps_both_names() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.embed = nn.Embedding(5, 3)
            self.out = nn.Linear(3, 5, bias=False)
            self.out.weight = self.embed.weight

    tied = Tied()
    assert tied.parameter_count() == 15
    assert [k for k, _ in tied.named_parameters()] == ["embed.weight"]
    state = tied.state_dict()
    assert state["embed.weight"] is state["out.weight"]


def test_a_plain_list_of_modules_is_refused() -> None:
    class Wrong(nn.Module):
        def __init__(self) -> None:
            self.layers = [nn.Linear(1, 1)]

    with pytest.raises(BiremeError, match=r"BM1008.*'layers' is a plain list.*nn\.ModuleList"):
        Wrong()


def test_load_gives_back_what_state_dict_gave() -> None:
    with nn.seed(1):
        first = Net()
    with nn.seed(2):
        second = Net()
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 5), np.float32)
    before = [y.numpy() for y in first(x)]
    assert not np.array_equal(before[0], second(x)[0].numpy())
    second.load_state_dict(first.state_dict())
    for a, b in zip(before, second(x), strict=True):
        np.testing.assert_array_equal(a, b.numpy())


def test_load_lists_every_fault_and_changes_nothing() -> None:
    block = Block()
    before = {k: v.copy() for k, v in block.state_dict().items()}
    wrong: dict[str, Any] = {k: v + 1 for k, v in before.items()}
    del wrong["bn.bias"]
    wrong["fc.weight"] = np.zeros(3, np.float32)
    wrong["conv.weight"] = np.zeros((4, 3, 1, 1), np.float32)
    wrong["scale"] = np.zeros(4, np.int32)
    with pytest.raises(BiremeError) as caught:
        block.load_state_dict(wrong)
    assert caught.value.code == "BM1009"
    assert caught.value.where == "Block"
    assert caught.value.detail.strip().split("\n  ") == [
        "missing: bn.bias (float32[4])",
        "unexpected: fc.weight",
        "mis-shaped: scale expected float32[4]; found int32[4]",
        "mis-shaped: conv.weight expected float32[4, 3, 3, 3]; found float32[4, 3, 1, 1]",
    ]
    for key, value in block.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_load_without_strict_takes_what_fits_by_name() -> None:
    block = Block()
    block.load_state_dict(
        {"scale": np.full(4, 7.0, np.float32), "other": np.zeros(1)}, strict=False
    )
    np.testing.assert_array_equal(block.scale.data, np.full(4, 7.0))
    with pytest.raises(BiremeError, match="mis-shaped: scale"):
        block.load_state_dict({"scale": np.zeros(5, np.float32)}, strict=False)


def test_load_takes_arrays_without_copying_and_casts_floats() -> None:
    block = Block()
    given = {"scale": np.zeros(4, np.float32), "bn.bias": np.ones(4, np.float16)}
    block.load_state_dict(given, strict=False)
    assert block.scale.data is given["scale"]
    assert block.bn.bias.data.dtype == np.float32


def test_astype_casts_floats_only() -> None:
    block = Block().astype("float16")
    kinds = {k: v.dtype for k, v in block.named_variables()}
    assert kinds["conv.weight"] is DType.F16
    assert kinds["bn.num_batches_tracked"] is DType.I64
    assert block(np.ones((1, 3, 4, 4), np.float16)).dtype is DType.F16


def test_a_parameter_keeps_its_type() -> None:
    weight = nn.Parameter(np.zeros((2, 3), np.float32))
    with pytest.raises(
        BiremeError, match=r"BM1009.*expected float32\[2, 3\]; found float32\[3, 2\]"
    ):
        weight.data = np.zeros((3, 2), np.float32)


def test_text_shows_the_tree() -> None:
    assert repr(nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU()))) == (
        "Sequential(\n  (0): Linear(2, 3, bias=True)\n  (1): Sequential(\n    (0): ReLU()\n  )\n)"
    )
    assert repr(nn.Conv2d(3, 4, 3, stride=2, bias=False)) == (
        "Conv2d(3, 4, kernel_size=(3, 3), stride=2, bias=False)"
    )


def test_sequential_takes_names() -> None:
    net = nn.Sequential({"fc": nn.Linear(2, 2), "act": nn.ReLU()})
    assert list(net.state_dict()) == ["fc.weight", "fc.bias"]
    assert len(net) == 2
    assert isinstance(net[-1], nn.ReLU)


def test_values_depend_on_the_seed_and_not_on_who_reads_first() -> None:
    def weights(seed: int, *, backwards: bool) -> list[np.ndarray[Any, Any]]:
        with nn.seed(seed):
            net = Net()
        variables = [v for _, v in net.named_parameters()]
        for variable in reversed(variables) if backwards else variables:
            assert variable.data.shape == variable.shape
        return [v.data for v in variables]

    for a, b in zip(weights(3, backwards=False), weights(3, backwards=True), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(weights(3, backwards=False)[1], weights(4, backwards=False)[1])


def test_a_new_initializer_draws_anew() -> None:
    weight = nn.Linear(2, 3).weight
    before = weight.data
    weight.initializer = init.Constant(2.0)
    np.testing.assert_array_equal(weight.data, np.full_like(before, 2.0))


def test_a_negative_seed() -> None:
    with pytest.raises(BiremeError, match=r"BM6002 at seed.*0 or more; found -1"), nn.seed(-1):
        pass


@pytest.mark.parametrize(
    ("initializer", "shape", "std"),
    [
        (init.Normal(0.5), (400, 300), 0.5),
        # Var of a normal cut at 2 deviations is 0.774 (the truncated normal's formula).
        (init.Normal(1.0, cut=2.0), (400, 300), 0.774**0.5),
        (init.Uniform(-1.0, 1.0), (400, 300), 1 / 3**0.5),
        (init.Kaiming(), (64, 32, 3, 3), (2 / (32 * 9)) ** 0.5),
        (init.Kaiming(uniform=True, slope=1.0), (400, 300), (1 / 300) ** 0.5),
        (init.Xavier(), (400, 300), (2 / 700) ** 0.5),
        (init.Xavier(uniform=False, gain=2.0), (400, 300), 2 * (2 / 700) ** 0.5),
    ],
)
def test_spread_of_initial_values(
    initializer: init.Initializer, shape: tuple[int, ...], std: float
) -> None:
    values = initializer(np.random.default_rng(0), shape)
    assert values.dtype == np.float32
    assert values.shape == shape
    # The deviation of n samples is known to about 1/sqrt(2n); n is at least 18,000 here.
    assert values.std() == pytest.approx(std, rel=0.03)
    assert abs(values.mean()) < 4 * std / values.size**0.5


def test_the_padding_row_of_an_embedding_starts_at_zero() -> None:
    rows = nn.Embedding(4, 8, padding_idx=2).weight.data
    assert np.flatnonzero(~rows.any(axis=1)).tolist() == [2]


@pytest.mark.parametrize(
    ("make", "detail"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "in_channels=3 cannot be cut into groups=2"),
        (lambda: nn.Conv2d(4, 5, 3, groups=2), "out_channels=5 cannot be cut into groups=2"),
        (lambda: nn.Conv2d(4, 4, (3, 3, 3)), r"kernel_size \(3, 3, 3\) for 2 spatial axes"),
        (lambda: nn.GroupNorm(3, 8), "num_channels=8 cannot be cut into num_groups=3"),
        (lambda: nn.MultiheadAttention(8, 3), "embed_dim=8 cannot be cut into num_heads=3"),
    ],
)
def test_impossible_layers_are_refused_when_made(make: Any, detail: str) -> None:
    with pytest.raises(BiremeError, match=rf"BM1006 at .*test_module\.py:\d+.*{detail}"):
        make()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_attention_that_may_look_nowhere_gives_a_mean(dtype: str) -> None:
    q, k, v = np.random.default_rng(0).standard_normal((3, 1, 4, 2)).astype(dtype)
    nowhere = np.zeros((4, 4), np.bool_)
    y = F.scaled_dot_product_attention(q, k, v, nowhere, is_causal=True).numpy()
    np.testing.assert_allclose(y, np.broadcast_to(v.mean(1, keepdims=True), y.shape), rtol=2e-3)
