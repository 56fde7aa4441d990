"""MobileNetV1: Howard et al., "MobileNets: Efficient Convolutional Neural Networks", 2017, table 1.

Rectifiers are ReLU6, as in the published weights; names are timm's.
"""

from __future__ import annotations

from dataclasses import dataclass

from bireme.frontend import nn
from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name

# Stages of separable blocks: (channels at width 1, stride of the first block, number of blocks).
STAGES = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 2, 6), (1024, 2, 2))


@dataclass(frozen=True)
class MobileNetV1Config:
    """`width` multiplies the channels of every layer; the stem has 32 at width 1."""

    width: float = 1.0
    num_classes: int = 1000
    in_channels: int = 3
    image_size: int = 224
    stem: int = 32

    def channels(self, base: int) -> int:
        """`base` channels at this width: a multiple of 8, never below 90 % of what is asked."""
        wanted = base * self.width
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * wanted else rounded


class SeparableBlock(nn.Module):
    """A 3x3 convolution of each channel, then a 1x1 convolution over channels."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        self.conv_dw = nn.Conv2d(
            channels, channels, 3, stride, padding=1, groups=channels, bias=False
        )
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv_pw = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """[N, C, H, W] → [N, out_channels, H / stride, W / stride]."""
        x = F.relu6(self.bn1(self.conv_dw(x)))
        return F.relu6(self.bn2(self.conv_pw(x)))


class MobileNetV1(nn.Module):
    """[N, 3, H, W] → scores [N, num_classes]."""

    def __init__(self, config: MobileNetV1Config) -> None:
        width = config.channels(config.stem)
        self.conv_stem = nn.Conv2d(config.in_channels, width, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        stages: list[nn.Module] = []
        for base, stride, count in STAGES:
            blocks: list[nn.Module] = []
            for index in range(count):
                out = config.channels(base)
                blocks.append(SeparableBlock(width, out, stride if index == 0 else 1))
                width = out
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.classifier = nn.Linear(width, config.num_classes)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """[N, 3, H, W] → [N, num_classes]."""
        x = F.relu6(self.bn1(self.conv_stem(x)))
        x = self.blocks(x)
        return self.classifier(x.mean((2, 3)))
