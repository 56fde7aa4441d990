"""Linear, embedding, and layers that only rearrange."""

from __future__ import annotations

import numpy as np

from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.frontend.nn import init
from bireme.frontend.nn.module import Layer
from bireme.frontend.nn.tensor import Tensor
from bireme.frontend.nn.variable import Parameter, shape_or_none
from bireme.ir import Array


class Linear(Layer):
    """x·Wᵀ + b: [..., in_features] → [..., out_features]."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        around = init.fan_in_uniform(in_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter((out_features, in_features), around)
        self.bias = shape_or_none(bias, (out_features,), around)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class _ZeroRow:
    """Gaussian rows with one row of zeros, for a padding token."""

    def __init__(self, row: int) -> None:
        self.row = row

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        values = init.Normal()(rng, shape)
        values[self.row] = 0.0
        return values


class Embedding(Layer):
    """Rows of a table: indices of any shape → [*shape, embedding_dim]."""

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None
    ) -> None:
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        rows: init.Initializer = init.Normal() if padding_idx is None else _ZeroRow(padding_idx)
        self.weight = Parameter((num_embeddings, embedding_dim), rows)

    def forward(self, indices: Tensor) -> Tensor:
        return F.embedding(indices, self.weight)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"


class Flatten(Layer):
    """Joins the axes from `start_dim` to `end_dim`, both included."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Dropout(Layer):
    """The identity: nothing is dropped at inference. Keeps a model's structure and names."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Identity(Layer):
    """Gives back what it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return x
