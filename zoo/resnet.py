"""ResNet: He et al., "Deep Residual Learning for Image Recognition", 2015.

In the "v1.5" form, where the 3x3 convolution of a bottleneck carries the stride. Names are those of
torchvision and timm.
"""

from __future__ import annotations

from dataclasses import dataclass

from bireme.frontend import nn
from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.frontend.nn import init
from bireme.zoo.initial import residual_scale

STEM = 64


@dataclass(frozen=True)
class ResNetConfig:
    """`layers` counts the blocks of each stage; bottleneck blocks widen their output four times."""

    layers: tuple[int, ...]
    bottleneck: bool
    num_classes: int = 1000
    in_channels: int = 3
    image_size: int = 224

    @property
    def expansion(self) -> int:
        return 4 if self.bottleneck else 1


CONFIGS = {
    18: ResNetConfig((2, 2, 2, 2), bottleneck=False),
    34: ResNetConfig((3, 4, 6, 3), bottleneck=False),
    50: ResNetConfig((3, 4, 6, 3), bottleneck=True),
    101: ResNetConfig((3, 4, 23, 3), bottleneck=True),
}


def _norm(channels: int, start: init.Constant) -> nn.BatchNorm2d:
    """A batch normalisation whose scale starts at `start`."""
    norm = nn.BatchNorm2d(channels)
    norm.weight.initializer = start
    return norm


def _shortcut(channels: int, out: int, stride: int) -> nn.Module | None:
    """A 1x1 convolution where the block changes the shape, else None: the input itself."""
    if stride == 1 and channels == out:
        return None
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int, width: int, stride: int, last_scale: init.Constant) -> None:
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = _norm(width, last_scale)
        self.downsample = _shortcut(channels, width, stride)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """[N, channels, H, W] → [N, width, H / stride, W / stride]."""
        shortcut = self.downsample(x) if self.downsample else x
        x = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut."""

    def __init__(self, channels: int, width: int, stride: int, last_scale: init.Constant) -> None:
        out = 4 * width
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = _norm(out, last_scale)
        self.downsample = _shortcut(channels, out, stride)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """[N, channels, H, W] → [N, 4 · width, H / stride, W / stride]."""
        shortcut = self.downsample(x) if self.downsample else x
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet(nn.Module):
    """[N, 3, H, W] → scores [N, num_classes]."""

    def __init__(self, config: ResNetConfig) -> None:
        self.conv1 = nn.Conv2d(config.in_channels, STEM, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = [f"layer{i + 1}" for i in range(len(config.layers))]
        block = Bottleneck if config.bottleneck else BasicBlock
        last_scale = residual_scale(sum(config.layers))
        channels = STEM
        for index, (name, count) in enumerate(zip(self.stages, config.layers, strict=True)):
            blocks: list[nn.Module] = []
            for position in range(count):
                stride = 2 if index > 0 and position == 0 else 1
                blocks.append(block(channels, STEM << index, stride, last_scale))
                channels = (STEM << index) * config.expansion
            setattr(self, name, nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, config.num_classes)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """[N, 3, H, W] → [N, num_classes]."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        for name in self.stages:
            x = getattr(self, name)(x)
        return self.fc(x.mean((2, 3)))
