"""Networks of inverted residual blocks: MobileNetV2, MobileNetV3-small, EfficientNet-B0.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018, table 2; Howard et
al., "Searching for MobileNetV3", 2019, table 2; Tan & Le, "EfficientNet: Rethinking Model Scaling
for Convolutional Neural Networks", 2019, table 1. Names are timm's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bireme.frontend import nn
from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.frontend.nn import init
from bireme.zoo.initial import residual_scale

Activation = Callable[[nn.Tensor], nn.Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "hardswish": F.hardswish,
    "silu": F.silu,
    "sigmoid": F.sigmoid,
    "hardsigmoid": F.hardsigmoid,
}

# Where gates start: open for the most part, so that a signal passes many of them.
OPEN = init.Constant(2.0)


@dataclass(frozen=True)
class Stage:
    """Some blocks of one shape; the first carries the stride.

    `expand` says how many times more channels than its input a block has inside. `squeeze` is the
    share of the block's channels that the squeeze-and-excitation has, 0 for none: of those inside
    or, in EfficientNet, of the input's.
    """

    channels: int
    kernel: int
    stride: int
    count: int = 1
    expand: float = 6.0
    squeeze: float = 0.0
    activation: str = ""  # the network's, unless given


@dataclass(frozen=True)
class InvertedConfig:
    """`stem` and `head` are channels of the first and last convolution.

    `pooled` is the width of MobileNetV3's layer behind the pooling, which the others have not.
    """

    stages: tuple[tuple[Stage, ...], ...]
    stem: int
    head: int
    activation: str
    pooled: int = 0
    gate: str = "sigmoid"
    squeeze_inside: bool = False
    num_classes: int = 1000
    in_channels: int = 3
    image_size: int = 224


MOBILENET_V2 = InvertedConfig(
    stages=(
        (Stage(16, 3, 1, expand=1),),
        (Stage(24, 3, 2, 2),),
        (Stage(32, 3, 2, 3),),
        (Stage(64, 3, 2, 4),),
        (Stage(96, 3, 1, 3),),
        (Stage(160, 3, 2, 3),),
        (Stage(320, 3, 1),),
    ),
    stem=32,
    head=1280,
    activation="relu6",
)
MOBILENET_V3_SMALL = InvertedConfig(
    stages=(
        (Stage(16, 3, 2, expand=1, squeeze=0.25, activation="relu"),),
        (
            Stage(24, 3, 2, expand=4.5, activation="relu"),
            Stage(24, 3, 1, expand=3.67, activation="relu"),
        ),
        (Stage(40, 5, 2, expand=4, squeeze=0.25), Stage(40, 5, 1, 2, squeeze=0.25)),
        (Stage(48, 5, 1, 2, expand=3, squeeze=0.25),),
        (Stage(96, 5, 2, 3, squeeze=0.25),),
    ),
    stem=16,
    head=576,
    pooled=1024,
    activation="hardswish",
    gate="hardsigmoid",
    squeeze_inside=True,
)
EFFICIENTNET_B0 = InvertedConfig(
    stages=(
        (Stage(16, 3, 1, expand=1, squeeze=0.25),),
        (Stage(24, 3, 2, 2, squeeze=0.25),),
        (Stage(40, 5, 2, 2, squeeze=0.25),),
        (Stage(80, 3, 2, 3, squeeze=0.25),),
        (Stage(112, 5, 1, 3, squeeze=0.25),),
        (Stage(192, 5, 2, 4, squeeze=0.25),),
        (Stage(320, 3, 1, squeeze=0.25),),
    ),
    stem=32,
    head=1280,
    activation="silu",
)


def divisible(channels: float) -> int:
    """The nearest multiple of 8, never below 90 % of what is asked."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _linear_conv(channels: int, out: int) -> nn.Conv2d:
    """A 1x1 convolution that no rectifier follows: its weights keep the variance."""
    conv = nn.Conv2d(channels, out, 1, bias=False)
    conv.weight.initializer = init.Kaiming(slope=1.0)
    return conv


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from all channels' means (Hu et al., 2017)."""

    def __init__(self, channels: int, reduced: int, activation: str, gate: str) -> None:
        self.conv_reduce = nn.Conv2d(channels, reduced, 1)
        self.conv_expand = nn.Conv2d(reduced, channels, 1)
        if self.conv_expand.bias is not None:
            self.conv_expand.bias.initializer = OPEN
        self.activation, self.gate = activation, gate

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """[N, C, H, W] → the same shape."""
        y = self.conv_reduce(x.mean((2, 3), keepdims=True))
        y = self.conv_expand(ACTIVATIONS[self.activation](y))
        return x * ACTIVATIONS[self.gate](y)


def _depthwise(channels: int, stage: Stage, stride: int) -> nn.Conv2d:
    """A convolution of each channel by itself; odd kernels keep the size at stride 1."""
    kernel = stage.kernel
    return nn.Conv2d(
        channels, channels, kernel, stride, padding=kernel // 2, groups=channels, bias=False
    )


def _squeeze(channels: int, inside: int, stage: Stage, config: InvertedConfig) -> nn.Module | None:
    """The block's squeeze-and-excitation, if it has one; MobileNetV3's is always rectified."""
    if not stage.squeeze:
        return None
    if config.squeeze_inside:
        return SqueezeExcite(inside, divisible(inside * stage.squeeze), "relu", config.gate)
    activation = stage.activation or config.activation
    return SqueezeExcite(inside, round(channels * stage.squeeze), activation, config.gate)


class SeparableBlock(nn.Module):
    """A block without expansion: depthwise, then 1x1 convolution."""

    def __init__(self, channels: int, stage: Stage, stride: int, config: InvertedConfig) -> None:
        self.activation = stage.activation or config.activation
        self.shortcut = stride == 1 and channels == stage.channels
        self.conv_dw = _depthwise(channels, stage, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.se = _squeeze(channels, channels, stage, config)
        self.conv_pw = _linear_conv(channels, stage.channels)
        self.bn2 = nn.BatchNorm2d(stage.channels)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """[N, channels, H, W] → [N, stage.channels, H / stride, W / stride]."""
        y = ACTIVATIONS[self.activation](self.bn1(self.conv_dw(x)))
        y = self.se(y) if self.se else y
        y = self.bn2(self.conv_pw(y))
        return y + x if self.shortcut else y


class InvertedResidual(nn.Module):
    """1x1 convolution to more channels, depthwise convolution, 1x1 convolution to fewer."""

    def __init__(
        self, channels: int, stage: Stage, stride: int, config: InvertedConfig, scale: init.Constant
    ) -> None:
        inside = divisible(channels * stage.expand)
        self.activation = stage.activation or config.activation
        self.shortcut = stride == 1 and channels == stage.channels
        self.conv_pw = nn.Conv2d(channels, inside, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv_dw = _depthwise(inside, stage, stride)
        self.bn2 = nn.BatchNorm2d(inside)
        self.se = _squeeze(channels, inside, stage, config)
        self.conv_pwl = _linear_conv(inside, stage.channels)
        self.bn3 = nn.BatchNorm2d(stage.channels)
        if self.shortcut:
            self.bn3.weight.initializer = scale

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """[N, channels, H, W] → [N, stage.channels, H / stride, W / stride]."""
        activate = ACTIVATIONS[self.activation]
        y = activate(self.bn1(self.conv_pw(x)))
        y = activate(self.bn2(self.conv_dw(y)))
        y = self.se(y) if self.se else y
        y = self.bn3(self.conv_pwl(y))
        return y + x if self.shortcut else y


class ConvBlock(nn.Module):
    """MobileNetV3's last convolution, which timm counts among the blocks."""

    def __init__(self, channels: int, out: int, activation: str) -> None:
        self.activation = activation
        self.conv = nn.Conv2d(channels, out, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """[N, channels, H, W] → [N, out, H, W]."""
        return ACTIVATIONS[self.activation](self.bn1(self.conv(x)))


def _blocks(config: InvertedConfig) -> tuple[list[nn.Module], int]:
    """All stages, and the channels of the last."""
    depth = sum(stage.count for group in config.stages for stage in group)
    scale = residual_scale(depth)
    channels = config.stem
    groups: list[nn.Module] = []
    for group in config.stages:
        blocks: list[nn.Module] = []
        for stage in group:
            for position in range(stage.count):
                stride = stage.stride if position == 0 else 1
                blocks.append(
                    SeparableBlock(channels, stage, stride, config)
                    if stage.expand == 1
                    else InvertedResidual(channels, stage, stride, config, scale)
                )
                channels = stage.channels
        groups.append(nn.Sequential(*blocks))
    return groups, channels


class InvertedResidualNet(nn.Module):
    """[N, 3, H, W] → scores [N, num_classes]."""

    def __init__(self, config: InvertedConfig) -> None:
        self.activation, self.pooled = config.activation, config.pooled
        self.conv_stem = nn.Conv2d(
            config.in_channels, config.stem, 3, stride=2, padding=1, bias=False
        )
        self.bn1 = nn.BatchNorm2d(config.stem)
        groups, channels = _blocks(config)
        if config.pooled:
            groups.append(nn.Sequential(ConvBlock(channels, config.head, config.activation)))
            self.conv_head = nn.Conv2d(config.head, config.pooled, 1)
            self.bn2: nn.Module | None = None
        else:
            self.conv_head = nn.Conv2d(channels, config.head, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(config.head)
        self.blocks = nn.Sequential(*groups)
        self.classifier = nn.Linear(config.pooled or config.head, config.num_classes)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        """[N, 3, H, W] → [N, num_classes]."""
        activate = ACTIVATIONS[self.activation]
        x = self.blocks(activate(self.bn1(self.conv_stem(x))))
        if self.bn2:
            x = activate(self.bn2(self.conv_head(x))).mean((2, 3))
        else:
            x = activate(self.conv_head(x.mean((2, 3), keepdims=True))).flatten(1)
        return self.classifier(x)
