"""Convolutions over [N, C, *S]."""

from __future__ import annotations

from typing import ClassVar

from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.frontend.nn import init
from bireme.frontend.nn.dispatch import place
from bireme.frontend.nn.functional.network import Padding, Sizes, per_axis
from bireme.frontend.nn.module import Layer
from bireme.frontend.nn.tensor import Tensor
from bireme.frontend.nn.variable import Parameter, shape_or_none
from bireme.ir import BiremeError


class _ConvBase(Layer):
    """Arguments, parameters and text that all convolutions share."""

    rank: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        padding: Padding,
        dilation: Sizes,
        groups: int,
        bias: bool,
    ) -> None:
        for what, count in (("in_channels", in_channels), ("out_channels", out_channels)):
            if count % groups:
                detail = f"{what}={count} cannot be cut into groups={groups}"
                raise BiremeError("BM1006", detail, where=f"{type(self).__name__} ({place()})")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = per_axis(kernel_size, self.rank, "kernel_size")
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.weight = Parameter(self._weight_shape(), init.Kaiming())
        fan_in = init.fans(self.weight.type.static_shape)[0]
        self.bias = shape_or_none(bias, (out_channels,), init.fan_in_uniform(fan_in))

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1)):
            value = getattr(self, name)
            parts += [f"{name}={value}"] if value != default else []
        parts += ["bias=False"] if self.bias is None else []
        return ", ".join(parts)


class _Conv(_ConvBase):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Padding = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.conv(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class Conv1d(_Conv):
    """[N, C, L] → [N, O, L']."""

    rank = 1


class Conv2d(_Conv):
    """[N, C, H, W] → [N, O, H', W']."""

    rank = 2


class Conv3d(_Conv):
    """[N, C, D, H, W] → [N, O, D', H', W']."""

    rank = 3


class ConvTranspose2d(_ConvBase):
    """[N, C, H, W] → [N, O, H', W'], larger by the stride; weight [C, O/groups, kH, kW]."""

    rank = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        )
        self.sides = padding
        self.output_padding = output_padding

    def _weight_shape(self) -> tuple[int, ...]:
        return (self.in_channels, self.out_channels // self.groups, *self.kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.sides,
            self.output_padding,
            self.groups,
            self.dilation,
        )
