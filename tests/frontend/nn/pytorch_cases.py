"""What is compared with PyTorch: one expression for each, and the inputs it is given.

Modules are built by an expression over `nn`, functions over `F` and tensors `x`, `y`, `z`; one text
serves both libraries unless PyTorch spells it differently. `pytorch_values.py` writes PyTorch's
results to `pytorch_values.npz`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Case:
    """`ours` and `theirs` on normal inputs of these shapes; `masks` are extra arguments by name."""

    ours: str
    inputs: Shapes
    theirs: str = ""
    masks: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def pytorch(self) -> str:
        return self.theirs or self.ours


ACTIVATIONS = (
    "ELU",
    "GELU",
    "Hardsigmoid",
    "Hardswish",
    "LeakyReLU",
    "Mish",
    "ReLU",
    "ReLU6",
    "Sigmoid",
    "SiLU",
    "Softplus",
    "Tanh",
)

MODULES = (
    Case("Linear(5, 7)", ((2, 3, 5),)),
    Case("Linear(5, 7, bias=False)", ((5,),)),
    Case("Conv1d(4, 6, 3, stride=2, padding=1)", ((2, 4, 9),)),
    Case(
        "Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2)",
        ((2, 4, 9, 8),),
    ),
    Case("Conv2d(4, 6, 4, padding='same')", ((2, 4, 9, 8),)),
    Case("Conv2d(4, 6, 3, padding='valid', bias=False)", ((2, 4, 9, 8),)),
    Case("Conv3d(2, 4, 3, padding=1)", ((1, 2, 4, 5, 6),)),
    Case(
        "ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2)",
        ((2, 4, 5, 6),),
    ),
    Case(
        "ConvTranspose2d(4, 2, (3, 2), stride=(2, 3), padding=(1, 0), dilation=2)", ((2, 4, 5, 6),)
    ),
    Case("BatchNorm1d(4)", ((3, 4),)),
    Case("BatchNorm1d(4)", ((3, 4, 5),)),
    Case("BatchNorm2d(4, eps=1e-3)", ((3, 4, 5, 2),)),
    Case("LayerNorm(6)", ((2, 3, 6),)),
    Case("LayerNorm((3, 6), eps=1e-3)", ((2, 3, 6),)),
    Case("LayerNorm(6, elementwise_affine=False)", ((2, 6),)),
    Case("LayerNorm(6, bias=False)", ((2, 6),)),
    Case("RMSNorm(6)", ((2, 3, 6),)),
    Case("RMSNorm((3, 6), eps=1e-2)", ((2, 3, 6),)),
    Case("GroupNorm(2, 6)", ((2, 6, 3, 4),)),
    Case("MaxPool2d(3, stride=2, padding=1)", ((1, 2, 8, 7),)),
    Case("MaxPool2d(2, ceil_mode=True)", ((1, 2, 7, 5),)),
    Case("MaxPool2d(2, stride=3, padding=1, ceil_mode=True)", ((1, 2, 6, 6),)),
    Case("MaxPool2d((3, 2), dilation=2)", ((1, 2, 9, 9),)),
    Case("AvgPool2d(3, stride=2, padding=1)", ((1, 2, 8, 7),)),
    Case("AvgPool2d(3, stride=2, padding=1, ceil_mode=True)", ((1, 2, 8, 8),)),
    Case(
        "AvgPool2d(3, stride=2, padding=1, count_include_pad=False, ceil_mode=True)",
        ((1, 2, 8, 8),),
    ),
    Case("AdaptiveAvgPool2d(1)", ((1, 2, 7, 5),)),
    Case("AdaptiveAvgPool2d((3, 2))", ((1, 2, 9, 8),)),
    Case("Flatten()", ((2, 3, 4),)),
    Case("Flatten(0, 1)", ((2, 3, 4),)),
    Case("Dropout(0.3)", ((2, 3),)),
    Case("Identity()", ((2, 3),)),
    *(Case(f"{name}()", ((3, 20),)) for name in ACTIVATIONS),
    Case("ELU(0.5)", ((9,),)),
    Case("GELU(approximate='tanh')", ((9,),)),
    Case("LeakyReLU(0.2)", ((9,),)),
    Case("Softmax(1)", ((2, 5, 3),)),
    Case("LogSoftmax(-1)", ((2, 5, 3),)),
    Case("LSTM(5, 4)", ((6, 3, 5),)),
    Case("LSTM(5, 4, bias=False)", ((6, 3, 5),)),
    Case("LSTM(5, 4, num_layers=2, bidirectional=True, batch_first=True)", ((3, 6, 5),)),
    Case("GRU(5, 4)", ((6, 3, 5),)),
    Case("GRU(5, 4, bias=False)", ((6, 3, 5),)),
    Case("GRU(5, 4, num_layers=2, bidirectional=True, batch_first=True)", ((3, 6, 5),)),
    Case("GRU(5, 4, num_layers=2)", ((6, 3, 5), (2, 3, 4))),
    Case("MultiheadAttention(8, 2)", ((5, 3, 8), (7, 3, 8), (7, 3, 8))),
    Case(
        "MultiheadAttention(8, 4, batch_first=True, bias=False)", ((3, 5, 8), (3, 7, 8), (3, 7, 8))
    ),
    Case(
        "MultiheadAttention(8, 4)",
        ((5, 3, 8), (7, 3, 8), (7, 3, 8)),
        masks=(("key_padding_mask", (3, 7)), ("attn_mask", (5, 7))),
    ),
    Case(
        "MultiheadAttention(8, 2, batch_first=True)",
        ((3, 5, 8), (3, 7, 8), (3, 7, 8)),
        masks=(("attn_mask", (6, 5, 7)),),
    ),
)

FUNCTIONS = (
    Case("F.selu(x)", ((9,),)),
    Case("F.softsign(x)", ((9,),)),
    Case("F.hardtanh(x, -0.5, 0.7)", ((9,),)),
    Case("F.log_sigmoid(x)", ((9,),), "F.logsigmoid(x)"),
    Case("F.glu(x, 1)", ((3, 8, 2),)),
    Case("F.prelu(x, y)", ((2, 3, 4), (3,))),
    Case("F.log2(abs(x))", ((9,),), "torch.log2(abs(x))"),
    Case("F.pixel_shuffle(x, 2)", ((1, 8, 3, 2),)),
    Case("F.interpolate(x, scale_factor=2)", ((1, 2, 3, 4),)),
    Case("F.interpolate(x, size=(7, 5))", ((1, 2, 3, 4),)),
    Case("F.interpolate(x, size=(7, 3), mode='bilinear')", ((1, 2, 4, 5),)),
    Case("F.interpolate(x, size=(7, 9), mode='bilinear', align_corners=True)", ((1, 2, 4, 5),)),
    Case("F.interpolate(x, size=(7, 3), mode='bicubic')", ((1, 2, 4, 5),)),
    Case("F.scaled_dot_product_attention(x, y, z)", ((2, 5, 4), (2, 6, 4), (2, 6, 4))),
    Case(
        "F.scaled_dot_product_attention(x, y, z, is_causal=True)",
        ((2, 2, 5, 4), (2, 2, 5, 4), (2, 2, 5, 4)),
    ),
    Case(
        "F.scaled_dot_product_attention(x, y, z, attn_mask=x[..., :1] < 9, scale=0.3)",
        ((2, 5, 4), (2, 5, 4), (2, 5, 4)),
    ),
    Case("F.split(x, 3, 1)[1]", ((2, 7),), "torch.split(x, 3, 1)[1]"),
    Case("F.chunk(x, 3, 1)[2]", ((2, 7),), "torch.chunk(x, 3, 1)[2]"),
    Case("F.stack([x, y], -1)", ((2, 3), (2, 3)), "torch.stack([x, y], -1)"),
    Case("F.cat([x, y], -1)", ((2, 3), (2, 4)), "torch.cat([x, y], -1)"),
    Case("F.flip(x, 1)", ((2, 5),), "torch.flip(x, (1,))"),
    Case("F.cumsum(x, 1)", ((2, 5),), "torch.cumsum(x, 1)"),
    Case("F.topk(x, 3)[0]", ((2, 7),), "torch.topk(x, 3)[0]"),
    Case("F.topk(x, 2, 0, largest=False)[1]", ((7, 2),), "torch.topk(x, 2, 0, largest=False)[1]"),
    Case("F.conv(x, y, z, 2, 1)", ((1, 2, 6, 7), (3, 2, 3, 3), (3,)), "F.conv2d(x, y, z, 2, 1)"),
    Case("x // y", ((20,), (20,))),
    Case("x % y", ((20,), (20,))),
    Case("(x * 9).astype('int32') // 4", ((20,),), "(x * 9).int() // 4"),
    Case("(x * 9).astype('int32') / 4", ((20,),), "(x * 9).int() / 4"),
    Case("(x > 0) & ~(y > 0) | (x == y)", ((9,), (9,))),
    Case("2.0 ** x + (1 - x) / (3.0 - y)", ((9,), (9,))),
    Case("x @ y", ((4,), (2, 4, 3))),
    Case("x @ y", ((2, 3, 4), (4,))),
)


def arrays(case: Case, number: int) -> list[np.ndarray[Any, Any]]:
    """The inputs of a case: the same for both libraries."""
    rng = np.random.default_rng(number)
    return [2 * rng.standard_normal(shape, np.float32) for shape in case.inputs]


def masks(case: Case, number: int) -> dict[str, np.ndarray[Any, Any]]:
    """Bool masks with True here and there, never over a whole row."""
    rng = np.random.default_rng(number + 1)
    found = {}
    for name, shape in case.masks:
        mask = rng.random(shape) < 0.3
        mask[..., 0] = False
        found[name] = mask
    return found


def state(shapes: dict[str, tuple[int, ...]], number: int) -> dict[str, np.ndarray[Any, Any]]:
    """Values for a state dict; variances are positive, counters 0."""
    rng = np.random.default_rng(number + 2)
    values: dict[str, np.ndarray[Any, Any]] = {}
    for name in sorted(shapes):
        array = 0.4 * rng.standard_normal(shapes[name], np.float32)
        values[name] = np.abs(array) + np.float32(0.1) if "var" in name else array
        if name.endswith("num_batches_tracked"):
            values[name] = np.array(0, np.int64)
    return values
