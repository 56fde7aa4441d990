"""Cases of every op of the table: operands and attributes, shapes with zero, one and odd sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bireme.ir import Array, DType
from bireme.ir.opdef import Attrs
from bireme.ir.ops import elementwise


@dataclass(frozen=True)
class Case:
    """One use of an op. `fixed` are (operand, axis) whose size the type rule must know."""

    op: str
    inputs: tuple[Array, ...]
    attrs: Attrs
    fixed: frozenset[tuple[int, int]]

    @property
    def label(self) -> str:
        shapes = " ".join(f"{x.dtype}{list(x.shape)}".replace(" ", "") for x in self.inputs)
        attrs = ",".join(f"{k}={v}" for k, v in self.attrs.items()).replace(" ", "")
        return f"{self.op}({shapes};{attrs})"


_random = np.random.default_rng(7)


def floats(*shape: int) -> Array:
    """Standard normal float32."""
    return _random.standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> Array:
    return np.abs(floats(*shape)) + np.float32(0.1)


def ints(*shape: int, low: int = -9, high: int = 10, dtype: Any = np.int64) -> Array:
    return _random.integers(low, high, shape, dtype)


def bools(*shape: int) -> Array:
    return _random.integers(0, 2, shape).astype(np.bool_)


def case(op: str, *inputs: Array, fixed: tuple[tuple[int, int], ...] = (), **attrs: Any) -> Case:
    return Case(op, inputs, attrs, frozenset(fixed))


_SHAPES = ((), (5,), (2, 3), (0, 3))
_PAIRS = (((), ()), ((2, 3), (3,)), ((2, 1, 4), (3, 1)), ((2, 3), (1, 1, 3)), ((0, 3), (1,)))


def _operand(dtypes: tuple[DType, ...], shape: tuple[int, ...]) -> Array:
    """Data that suits an op which takes these types, floats before integers before bool."""
    if DType.F32 in dtypes:
        return floats(*shape)
    return ints(*shape, dtype=np.int32) if DType.I32 in dtypes else bools(*shape)


def _elementwise() -> list[Case]:
    cases = []
    for definition in elementwise.OPS:
        each_shapes = {1: [(shape,) for shape in _SHAPES], 2: _PAIRS, 3: ()}
        for shapes in each_shapes[len(definition.operands)]:
            operands = zip(definition.operands, shapes, strict=True)
            attrs = {"cast": {"dtype": DType.F16}, "bitcast": {"dtype": DType.I32}}.get(
                definition.name, {}
            )
            data = [_operand(o.dtypes, shape) for o, shape in operands]
            cases.append(case(definition.name, *data, **attrs))
    return cases


_WINDOW_1D = {"strides": (2,), "pads": (1, 0), "dilations": (2,)}
_WINDOW_2D = {"strides": (2, 1), "pads": (1, 0, 2, 1), "dilations": (1, 2)}
_WINDOW_3D = {"strides": (1, 2, 1), "pads": (0, 1, 0, 1, 1, 0), "dilations": (1, 1, 1)}
_UNIT_2D = {"strides": (1, 1), "pads": (0,) * 4, "dilations": (1, 1)}
_POOL_2D = {"kernel": (3, 2), "strides": (2, 2), "pads": (1, 0, 1, 1), "dilations": (1, 1)}


def _moved() -> list[Case]:
    x = floats(2, 3, 4)
    return [
        case("where", bools(2, 1), floats(3), floats(2, 3)),
        case("where", bools(), ints(0, 3), ints(1, 3)),
        case("reshape", x, shape=(4, 6)),
        case("reshape", floats(0, 3), shape=(3, 0, 2)),
        case("reshape", floats(), shape=(1, 1)),
        case("transpose", x, perm=(2, 0, 1)),
        case("transpose", floats(), perm=()),
        case("slice", x, starts=(1, 2, 0), sizes=(1, 3, 2), steps=(1, -1, 3)),
        case("slice", floats(4), starts=(4,), sizes=(0,), steps=(1,)),
        case("pad", floats(3, 4), before=(0, 1), after=(2, 0)),
        case("pad", floats(3, 4), np.float32(7), before=(0, 1), after=(2, 3)),
        case("pad", floats(3, 4), before=(2, 1), after=(1, 3), mode="reflect"),
        case("pad", floats(3, 4), before=(4, 1), after=(0, 5), mode="edge"),
        case("pad", floats(3, 4), before=(3, 1), after=(0, 4), mode="wrap"),
        case("pad", floats(0, 2), before=(1, 0), after=(1, 0)),
        case("pad", bools(3), before=(1,), after=(1,)),
        case("expand", floats(3, 1), shape=(2, 3, 4)),
        case("expand", floats(), shape=(0, 2)),
        case("tile", floats(2, 3), repeats=(2, 3)),
        case("tile", floats(2, 3), repeats=(0, 1)),
        case("concat", floats(2, 3), floats(2, 0), floats(2, 5), axis=1),
        case("concat", floats(2, 3), axis=-1),
        case("pack_channels", floats(2, 5, 3, 2), block=4),
        case("pack_channels", floats(1, 8), block=8),
        case("unpack_channels", floats(2, 2, 3, 4), channels=7, fixed=((0, 3),)),
    ]


def _indexed() -> list[Case]:
    rows = ints(4, 2, low=-3, high=3)
    return [
        case("gather", floats(3, 4), ints(2, 2, low=-3, high=3)),
        case("gather", floats(3, 4), ints(low=-4, high=4), axis=-1),
        case("gather", floats(3, 4), ints(0, dtype=np.int32), axis=1),
        case("gather_elements", floats(3, 4), ints(2, 4, low=-3, high=3), axis=0),
        case("gather_elements", floats(3, 4), ints(3, 7, low=-4, high=4, dtype=np.int32), axis=-1),
        case("gather_nd", floats(3, 4, 2), rows, fixed=((1, 1),)),
        case("gather_nd", floats(3, 4), ints(5, 0), fixed=((1, 1),)),
        case("gather_nd", floats(2, 3, 4), ints(2, 5, 1, low=-3, high=3), batch_dims=1,
             fixed=((1, 2),)),
        case("gather_nd", floats(2, 3, 4), ints(2, 3, 1, low=-4, high=4), batch_dims=2,
             fixed=((1, 2),)),
        case("scatter_elements", floats(3, 4), ints(2, 3, low=-3, high=3), floats(2, 3), axis=0,
             reduction="add"),
        case("scatter_elements", floats(2, 3), np.array([[0, 2], [-2, 0]]), floats(2, 2), axis=1),
        case("scatter_elements", ints(4), ints(6, low=0, high=4), ints(6), axis=0, reduction="mul"),
        case("scatter_nd", floats(3, 4, 2), np.array([[0, 1], [-1, -1]]), floats(2, 2),
             fixed=((1, 1),)),
        case("scatter_nd", floats(3, 4), rows, floats(4), reduction="max", fixed=((1, 1),)),
        case("scatter_nd", floats(3), ints(2, 0), floats(2, 3), reduction="add", fixed=((1, 1),)),
        case("scatter_nd", floats(3), ints(5, 1, low=0, high=3), floats(5), reduction="min",
             fixed=((1, 1),)),
        case("reverse_sequence", floats(4, 3, 2), np.array([0, 4, 9]), batch_axis=1, time_axis=0),
        case("reverse_sequence", floats(2, 4), np.array([3, 1], np.int32), batch_axis=0,
             time_axis=1),
    ]  # fmt: skip


def _reduced() -> list[Case]:
    cases = []
    for name in ("reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod"):
        cases += [
            case(name, floats(2, 3, 4), axes=(0, 2)),
            case(name, floats(2, 3, 4), axes=(1,), keepdims=False),
            case(name, ints(2, 3, dtype=np.int32), axes=(0, 1)),
            case(name, floats(2, 0), axes=(1,)),
        ]
    for name in ("argmax", "argmin"):
        cases += [
            case(name, floats(2, 3, 4), axis=1),
            case(name, ints(2, 9, low=0, high=3), axis=-1, keepdims=False),
            case(name, ints(2, 9, low=0, high=3), axis=-1, keepdims=False, last=True),
        ]
    return [
        *cases,
        case("reduce_max", bools(3, 4), axes=(0,)),
        case("reduce_min", bools(3, 0), axes=(1,)),
        case("cumsum", floats(2, 3, 4), axis=-2),
        case("cumsum", ints(5), axis=0, exclusive=True, reverse=True),
        case("cumsum", floats(0, 2), axis=0, exclusive=True),
        case("topk", floats(3, 6), k=(4,)),
        case("topk", ints(7, 2, low=0, high=3), k=(5,), axis=0, largest=False),
        case("topk", ints(7, 2, low=0, high=3), k=(0,), axis=0),
    ]


def _data_sized() -> list[Case]:
    limits = np.int64(3), np.float32(0.3)
    return [
        case("compact", bools(7)),
        case("compact", bools(0)),
        case("sort_rows", ints(9, 2, low=0, high=2)),
        case("sort_rows", bools(6, 1)),
        case("sort_rows", floats(0, 3)),
        case("suppress", positive(2, 9, 4), floats(2, 3, 9), *limits, kept=(5,)),
        case(
            "suppress",
            positive(1, 4, 4),
            floats(1, 1, 4),
            *limits,
            np.float32(0.1),
            kept=(4,),
            center=True,
        ),
    ]


def _normalised() -> list[Case]:
    x, vector = floats(2, 6, 3, 2), positive(6)
    return [
        case("softmax", floats(2, 5)),
        case("softmax", floats(2, 0)),
        case("softmax", floats(2, 5, 3), axis=1),
        case("log_softmax", floats(2, 5)),
        case("layer_norm", floats(2, 3, 5)),
        case("layer_norm", floats(2, 3, 5), floats(3, 5), floats(3, 5), axis=1),
        case("layer_norm", floats(2, 3, 5), floats(5), axis=-1, epsilon=1e-3),
        case("rms_norm", floats(2, 3, 5)),
        case("rms_norm", floats(2, 3, 5), floats(3, 5), axis=-2, epsilon=1e-6),
        case("instance_norm", x, vector, floats(6)),
        case("group_norm", x, vector, floats(6), groups=3, epsilon=1e-4, fixed=((0, 1),)),
        case("batch_norm", x, vector, floats(6), floats(6), vector),
        case("batch_norm", floats(2, 6), vector, floats(6), floats(6), vector, epsilon=1e-2),
        case("lrn", x, size=3, alpha=0.5, beta=0.6, bias=2.0),
        case("lrn", floats(1, 5, 2), size=4),
    ]


def _contracted() -> list[Case]:
    return [
        case("matmul", floats(3, 4), floats(4, 5)),
        case("matmul", floats(2, 1, 3, 4), floats(5, 4, 2)),
        case("matmul", floats(3, 0), floats(0, 5)),
        case("matmul", ints(3, 4, dtype=np.int8), ints(4, 2, dtype=np.int8)),
        case("matmul", floats(2, 3, 4), floats(2, 4, 8), block=8, columns=13,
             fixed=((1, 0), (1, 2))),
        case("matmul", floats(3, 0), floats(2, 0, 8), block=8, columns=13,
             fixed=((1, 0), (1, 2))),
        case("conv", floats(2, 3, 9), floats(4, 3, 3), **_WINDOW_1D),
        case("conv", floats(2, 4, 7, 8), floats(6, 2, 3, 3), groups=2, **_WINDOW_2D,
             fixed=((1, 0),)),
        case("conv", floats(1, 3, 4, 5, 6), floats(2, 3, 2, 3, 1), **_WINDOW_3D),
        case("conv", floats(1, 4, 5, 5), floats(8, 1, 3, 3), groups=4, **_WINDOW_2D,
             fixed=((1, 0),)),
        case("conv", floats(0, 3, 9), floats(4, 3, 3), **_WINDOW_1D),
        case("conv", floats(2, 3, 7, 8), floats(2, 3, 3, 3, 1, 4), out_block=4, **_WINDOW_2D,
             fixed=((1, 4), (1, 5))),
        case("conv", floats(2, 2, 7, 8, 4), floats(3, 2, 3, 3, 4, 2), in_block=4, out_block=2,
             **_WINDOW_2D, fixed=((0, 4), (1, 4), (1, 5))),
        case("conv", floats(2, 2, 7, 8, 4), floats(4, 1, 3, 3, 4, 4), in_block=4, out_block=4,
             groups=2, **_WINDOW_2D, fixed=((0, 4), (1, 0), (1, 4), (1, 5))),
        case("conv", floats(2, 3, 7, 8, 4), floats(3, 3, 3, 4), in_block=4, out_block=4,
             groups=12, **_WINDOW_2D, fixed=((0, 4), (1, 3))),
        case("conv", floats(2, 2, 7, 8, 4), floats(3, 4, 4, 2, 4, 4), in_block=4, out_block=4,
             winograd=2, **_UNIT_2D, fixed=((0, 4), (1, 1), (1, 2), (1, 4), (1, 5))),
        case("conv", floats(1, 1, 6, 9, 4), floats(2, 6, 6, 1, 4, 2), in_block=4, out_block=2,
             winograd=4, **_UNIT_2D, fixed=((0, 4), (1, 1), (1, 2), (1, 4), (1, 5))),
        case("conv_transpose", floats(2, 4, 5), floats(4, 3, 3), output_padding=(1,), **_WINDOW_1D),
        case("conv_transpose", floats(1, 4, 5, 3), floats(4, 3, 3, 2), output_padding=(0, 0),
             groups=2, **_WINDOW_2D, fixed=((0, 1), (1, 0))),
        case("max_pool", floats(2, 3, 7, 6), **_POOL_2D),
        case("max_pool", floats(2, 3, 7, 6), ceil_mode=True, indices=True, **_POOL_2D),
        case("max_pool", floats(1, 2, 5, 4), indices=True, storage_order=1, **_POOL_2D),
        case("max_pool", ints(1, 2, 9, dtype=np.int8), kernel=(3,), **_WINDOW_1D),
        case("max_pool", floats(1, 2, 7, 6, 4), block=4, **_POOL_2D, fixed=((0, 4),)),
        case("avg_pool", floats(2, 3, 7, 6), **_POOL_2D),
        case("avg_pool", floats(2, 3, 7, 6), ceil_mode=True, count_include_pad=True, **_POOL_2D),
        case("avg_pool", floats(2, 3, 8, 6), ceil_mode=True, **_POOL_2D),
        case("avg_pool", floats(1, 2, 7, 6, 4), block=4, **_POOL_2D, fixed=((0, 4),)),
        case("lp_pool", floats(2, 3, 7, 6), **_POOL_2D),
        case("lp_pool", floats(2, 3, 7, 6), p=3, ceil_mode=True, **_POOL_2D),
    ]  # fmt: skip


def _sampled() -> list[Case]:
    x = floats(1, 2, 5, 6)
    by_ratio = {"shape": (1, 2, 8, 4), "scales": (1.0, 1.0, 0.0, 0.0)}
    by_scale = {"shape": (1, 2, 3, 13), "scales": (1.0, 1.0, 0.7, 2.3)}
    crop = {"roi": (0.0, 0.0, 0.2, -0.1, 1.0, 1.0, 0.9, 1.2), "coordinate": "tf_crop_and_resize"}
    return [
        case("resize", x, **by_ratio),
        case("resize", ints(1, 2, 5, 6, low=0, dtype=np.uint8), **by_scale, coordinate="asymmetric",
             nearest="floor"),
        case("resize", x, **by_scale, mode="linear"),
        case("resize", x, np.array([1, 1, 1.5, 0.7]), **by_ratio, mode="linear"),
        case("resize", x, **by_ratio, mode="linear", coordinate="align_corners"),
        case("resize", x, **by_scale, mode="cubic", exclude_outside=True),
        case("resize", x, **by_ratio, mode="linear", antialias=True),
        case("resize", x, **by_ratio, mode="linear", extrapolation=10.0, **crop),
        case("resize", floats(0, 2, 5, 6), shape=(0, 2, 8, 4), scales=(0.0,) * 4, mode="linear"),
        case("grid_sample", x, floats(1, 3, 4, 2), fixed=((1, 3),)),
        case("grid_sample", x, floats(1, 3, 4, 2), mode="cubic", padding="border",
             fixed=((1, 3),)),
        case("grid_sample", floats(2, 1, 3, 4, 5), floats(2, 2, 3, 1, 3), padding="reflection",
             align_corners=True, fixed=((1, 4),)),
        case("roi_align", floats(2, 3, 8, 8), np.array([[0, 0, 5, 6], [1, 2, 2, 2]], np.float32),
             np.array([1, 0]), output_height=2, output_width=3, sampling_ratio=2),
        case("roi_align", floats(1, 3, 8, 8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64),
             mode="max"),
    ]  # fmt: skip


def _recurrent() -> list[Case]:
    steps, batch, inputs, hidden = 4, 3, 5, 2
    lengths = np.array([4, 0, 2], np.int32)
    usual = ("sigmoid", "tanh", "tanh")

    def operands(gates: int, directions: int) -> tuple[Array, ...]:
        return (
            floats(steps, batch, inputs),
            floats(directions, gates * hidden, inputs),
            floats(directions, gates * hidden, hidden),
            floats(directions, 2 * gates * hidden),
            floats(directions, batch, hidden),
        )

    known = (*((i, 0) for i in range(1, 6)), (7, 0))
    return [
        case("lstm", *operands(4, 1), floats(1, batch, hidden), activations=usual, fixed=known),
        case("lstm", *operands(4, 2), floats(2, batch, hidden), lengths, floats(2, 3 * hidden),
             direction="bidirectional", activations=usual * 2, fixed=known),
        case("lstm", *operands(4, 1), floats(1, batch, hidden), clip=0.5, input_forget=True,
             direction="reverse", activations=("hardsigmoid", "softsign", "relu"), fixed=known),
        case("gru", *operands(3, 1), activations=usual[:2], fixed=known),
        case("gru", *operands(3, 2), lengths, direction="bidirectional", linear_before_reset=True,
             activations=usual[:2] * 2, fixed=known),
        case("rnn", *operands(1, 1), activations=("tanh",), fixed=known),
        case("rnn", *operands(1, 1), lengths, direction="reverse", alphas=(0.3,), betas=(0.1,),
             activations=("affine",), fixed=known),
    ]  # fmt: skip


def _quantised() -> list[Case]:
    return [
        case("quantize", floats(2, 3) * 9, np.float32(0.1), np.uint8(7)),
        case("quantize", floats(2, 3) * 9, positive(3), ints(3, dtype=np.int8)),
        case("quantize", ints(4, 2, dtype=np.int32), positive(4), ints(4, dtype=np.int16), axis=0),
        case("dequantize", ints(2, 3, dtype=np.int8), np.float32(0.1)),
        case("dequantize", ints(2, 3, 2, dtype=np.int8), positive(3), ints(3, dtype=np.int8)),
    ]


def _constant() -> list[Case]:
    return [
        case("iota", shape=(2, 3), axis=1, dtype=DType.F32),
        case("iota", shape=(2, 3), axis=-2, dtype=DType.I64),
        case("iota", shape=(0,), axis=0, dtype=DType.I32),
        case("iota", shape=(2, 0, 3), dtype=DType.F64),
        case("iota", shape=(2, 3, 4), dtype=DType.I16),
        case("dim_values", values=(2, 3, 4)),
    ]


def _drawn() -> list[Case]:
    key, names = np.array(1 << 63 | 5, np.uint64), ("random_uniform", "random_normal")
    return [
        case(name, position, key, dtype=dtype)
        for name in names
        for position in (np.array(-1), ints(3, 5, low=0), ints(0, 2))
        for dtype in (DType.F32, DType.F16, DType.BF16, DType.F64)
    ] + [case(name, ints(3, 1), np.arange(4, dtype=np.uint64), dtype=DType.F32) for name in names]


CASES: tuple[Case, ...] = (
    *_elementwise(),
    *_moved(),
    *_indexed(),
    *_reduced(),
    *_data_sized(),
    *_normalised(),
    *_contracted(),
    *_sampled(),
    *_recurrent(),
    *_quantised(),
    *_constant(),
    *_drawn(),
)
