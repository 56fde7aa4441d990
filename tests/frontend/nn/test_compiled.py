"""Modules compiled: layers that the zoo's models lack, and control flow, against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bireme
from bireme.frontend import nn
from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.ir import reference
from tests.frontend.nn.test_control import Cell, Collatz, Conditional


class Layers(nn.Module):
    """One network of many kinds of layers: pictures to sequences to scores."""

    def __init__(self) -> None:
        self.up = nn.ConvTranspose2d(3, 8, 3, stride=2, padding=1)
        self.groups = nn.GroupNorm(2, 8)
        self.mix = nn.Conv1d(8, 8, 3, padding="same")
        self.norm = nn.BatchNorm1d(8)
        self.gru = nn.GRU(8, 6, bidirectional=True, batch_first=True)
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)
        self.rms = nn.RMSNorm(12)
        self.out = nn.Linear(12, 5)

    def forward(self, x: nn.Tensor) -> dict[str, nn.Tensor]:
        x = F.hardswish(self.groups(self.up(x)))
        x = F.interpolate(F.avg_pool2d(x, 2), size=(4, 6), mode="bilinear")
        x = F.gelu(self.norm(self.mix(x.flatten(2)))).permute(0, 2, 1)
        y, _ = self.gru(x)
        z, weights = self.attention(y, y, y, is_causal=True)
        scores = self.out(self.rms(y + z)[:, -1])
        best, places = F.topk(scores, 2)
        return {
            "best": best,
            "places": places,
            "weights": F.einsum("bls,bs->bl", weights, y[..., 0]),
        }


def compare(module: nn.Module, arrays: dict[str, Any], specs: dict[str, nn.Spec]) -> None:
    """Within float32 rounding of sums in another order, relative to the largest value."""
    wanted = reference.run(nn.trace(module, specs), arrays)
    found = bireme.compile(nn.trace(module, specs))(arrays)
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert found[key].dtype == value.dtype
        np.testing.assert_allclose(found[key], value, rtol=0, atol=1e-5 * np.abs(value).max())


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def test_layers() -> None:
    with nn.seed(0):
        module = Layers()
    compare(module, {"x": normal(2, 3, 8, 10)}, {"x": nn.Spec(("batch", 3, 8, 10))})


@pytest.mark.parametrize("sign", [1, -1])
def test_cond(sign: int) -> None:
    x = sign * np.abs(normal(2, 4))
    compare(Conditional(), {"x": x}, {"x": nn.Spec(("n", 4))})


def test_while_loop() -> None:
    compare(Collatz(), {"n": np.array(27, np.int64)}, {"n": nn.Spec((), "int64")})


@pytest.mark.parametrize("reverse", [False, True])
def test_scan(reverse: bool) -> None:
    arrays = {"xs": normal(5, 2, 3), "h": normal(2, 3)}
    compare(Cell(reverse), arrays, {"xs": nn.Spec(("steps", "n", 3)), "h": nn.Spec(("n", 3))})
