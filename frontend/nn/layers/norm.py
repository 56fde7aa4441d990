"""Normalisations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.frontend.nn import init
from bireme.frontend.nn.dispatch import place
from bireme.frontend.nn.module import Layer
from bireme.frontend.nn.tensor import Tensor
from bireme.frontend.nn.variable import Buffer, Parameter, shape_or_none
from bireme.ir import BiremeError

Shape = int | Sequence[int]


class _BatchNorm(Layer):
    """Normalises each channel by running statistics, then scales and shifts.

    `num_batches_tracked` is there for PyTorch's state dicts; nothing reads it.
    """

    ranks: ClassVar[tuple[int, ...]]

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        self.num_features, self.eps = num_features, eps
        self.weight = Parameter((num_features,), init.ONES)
        self.bias = Parameter((num_features,), init.ZEROS)
        self.running_mean = Buffer((num_features,), init.ZEROS)
        self.running_var = Buffer((num_features,), init.ONES)
        self.num_batches_tracked = Buffer(np.array(0, np.int64))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in self.ranks:
            ranks = " or ".join(map(str, self.ranks))
            detail = f"{type(self).__name__} takes {ranks} axes; found {x.type}"
            raise BiremeError("BM2004", detail, where=place())
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.eps
        )

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}"


class BatchNorm1d(_BatchNorm):
    """Over [N, C] or [N, C, L]."""

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Over [N, C, H, W]."""

    ranks = (4,)


class LayerNorm(Layer):
    """Normalises over the last axes, whose sizes are `normalized_shape`."""

    def __init__(
        self,
        normalized_shape: Shape,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        self.normalized_shape = _shape(normalized_shape)
        self.eps = eps
        self.weight = shape_or_none(elementwise_affine, self.normalized_shape, init.ONES)
        self.bias = shape_or_none(elementwise_affine and bias, self.normalized_shape, init.ZEROS)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"


class RMSNorm(Layer):
    """Divides by the root mean square over the last axes; the default eps is that of float32."""

    def __init__(
        self, normalized_shape: Shape, eps: float | None = None, elementwise_affine: bool = True
    ) -> None:
        self.normalized_shape = _shape(normalized_shape)
        self.eps = float(np.finfo(np.float32).eps) if eps is None else eps
        self.weight = shape_or_none(elementwise_affine, self.normalized_shape, init.ONES)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"


class GroupNorm(Layer):
    """Normalises each of `num_groups` groups of the channels of [N, C, *S]."""

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5) -> None:
        if num_channels % num_groups:
            detail = f"num_channels={num_channels} cannot be cut into num_groups={num_groups}"
            raise BiremeError("BM1006", detail, where=f"GroupNorm ({place()})")
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = Parameter((num_channels,), init.ONES)
        self.bias = Parameter((num_channels,), init.ZEROS)

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}"


def _shape(shape: Shape) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)
