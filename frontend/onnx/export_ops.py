"""How each op of the dialect is written in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bireme.frontend.onnx.dtypes import TO_ONNX
from bireme.frontend.onnx.export import OpWriter, Writer
from bireme.frontend.onnx.export_control import CONTROL
from bireme.ir import BiremeError, DType, Op, product


def operands(w: Writer, op: Op) -> list[str]:
    """Names of an op's operands."""
    return [w.name(v) for v in op.operands]


def _same(kind: str, **attrs: Any) -> OpWriter:
    """A node that takes the op's operands as they are, and fixed attributes."""
    return lambda w, op: [w.one(kind, *operands(w, op), **attrs)]


def _with(kind: str, **names: str) -> OpWriter:
    """A node with attributes taken from the op's: ONNX's name = the dialect's name."""

    def write(w: Writer, op: Op) -> Sequence[str]:
        attrs = op.attrs
        given = {k: _plain(attrs[v]) for k, v in names.items()}
        return w.node(kind, operands(w, op), len(op.results), **given)

    return write


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return TO_ONNX[value] if isinstance(value, DType) else list(value) if isinstance(
        value, tuple
    ) else value  # fmt: skip


def _reduction(kind: str) -> OpWriter:
    def write(w: Writer, op: Op) -> Sequence[str]:
        axes = w.ints(op.attrs["axes"])
        return [w.one(kind, *operands(w, op), axes, keepdims=int(op.attrs["keepdims"]))]

    return write


def _arg(kind: str) -> OpWriter:
    return _with(kind, axis="axis", keepdims="keepdims", select_last_index="last")


def _constant(w: Writer, op: Op) -> Sequence[str]:
    return [w.data(op.result.constant, op.attrs["name"])]


def _rsqrt(w: Writer, op: Op) -> Sequence[str]:
    return [w.one("Reciprocal", w.one("Sqrt", *operands(w, op)))]


def _gelu(w: Writer, op: Op) -> Sequence[str]:
    return [
        w.one("Gelu", *operands(w, op), approximate="tanh" if op.attrs["approximate"] else "none")
    ]


def _not_equal(w: Writer, op: Op) -> Sequence[str]:
    return [w.one("Not", w.one("Equal", *operands(w, op)))]


def _mod(w: Writer, op: Op) -> Sequence[str]:
    x, y = operands(w, op)
    if op.attrs["fmod"] or not op.result.type.dtype.is_float:
        return [w.one("Mod", x, y, fmod=int(op.attrs["fmod"]))]
    # fmod has the dividend's sign; the result must have the divisor's.
    rest, zero = w.one("Mod", x, y, fmod=1), w.number(0, op.result.type.dtype)
    signs = w.one("Xor", w.one("Less", rest, zero), w.one("Less", y, zero))
    wrong = w.one("And", signs, w.one("Not", w.one("Equal", rest, zero)))
    return [w.one("Where", wrong, w.one("Add", rest, y), rest)]


def _reshape(w: Writer, op: Op) -> Sequence[str]:
    shape = w.sizes(op.attrs["shape"])
    return [w.one("Reshape", *operands(w, op), shape, allowzero=1)]


def _slice(w: Writer, op: Op) -> Sequence[str]:
    starts, steps = op.attrs["starts"], op.attrs["steps"]
    ends = [s + n * k for s, n, k in zip(starts, op.attrs["sizes"], steps, strict=True)]
    for i, (end, step) in enumerate(zip(ends, steps, strict=True)):
        if step < 0 and not isinstance(end, int):
            raise BiremeError("BM1003", f"a backward slice that ends at {end}", where=op.node)
        if step < 0 and end < 0:  # before the first element, which no index names
            ends[i] = -(1 << 62)
    vectors = [w.sizes(starts), w.sizes(ends), w.ints(range(len(steps))), w.ints(steps)]
    return [w.one("Slice", *operands(w, op), *vectors)]


def _pad(w: Writer, op: Op) -> Sequence[str]:
    x, *value = operands(w, op)
    pads = w.sizes((*op.attrs["before"], *op.attrs["after"]))
    return [w.one("Pad", x, pads, *value, mode=op.attrs["mode"])]


def _cast(w: Writer, op: Op) -> Sequence[str]:
    dtype, options = op.attrs["dtype"], dict[str, Any]()
    if dtype is DType.F8E8M0FNU:
        options["round_mode"] = op.attrs["round_mode"]
    if not op.attrs["saturate"]:
        options["saturate"] = 0
    return [w.one("Cast", *operands(w, op), to=TO_ONNX[dtype], **options)]


def _bitcast(w: Writer, op: Op) -> Sequence[str]:
    w.need(26)
    return [w.one("BitCast", *operands(w, op), to=TO_ONNX[op.attrs["dtype"]])]


def _sized(kind: str, attr: str) -> OpWriter:
    return lambda w, op: [w.one(kind, *operands(w, op), w.sizes(op.attrs[attr]))]


def _iota(w: Writer, op: Op) -> Sequence[str]:
    shape, axis, dtype = op.attrs["shape"], op.attrs["axis"], op.attrs["dtype"]
    empty, count = w.ints([]), product(shape) if axis is None else shape[axis]
    line = w.one("Range", *(w.one("Reshape", w.size(d), empty) for d in (0, count, 1)))
    if axis is None:
        whole = w.one("Reshape", line, w.sizes(shape), allowzero=1)
        return [w.one("Cast", whole, to=TO_ONNX[dtype])]
    column = w.one("Reshape", line, w.ints([-1 if i == axis else 1 for i in range(len(shape))]))
    full = w.one("Expand", column, w.sizes(shape))
    return [w.one("Cast", full, to=TO_ONNX[dtype])]


def _resize(w: Writer, op: Op) -> Sequence[str]:
    a = op.attrs
    options: dict[str, Any] = {
        "mode": a["mode"],
        "coordinate_transformation_mode": a["coordinate"],
        "nearest_mode": a["nearest"],
        "cubic_coeff_a": a["cubic_a"],
        "exclude_outside": int(a["exclude_outside"]),
        "antialias": int(a["antialias"]),
        "extrapolation_value": a["extrapolation"],
    }
    x = operands(w, op)[0]
    roi = w.data(np.array(a["roi"], np.float32), "roi") if a["roi"] else ""
    sizes = op.operands[0].type.shape
    scaled = [
        isinstance(d, int) and int(np.float32(s) * d) == r
        for d, s, r in zip(sizes, a["scales"], a["shape"], strict=True)
    ]
    if all(scaled):
        return [w.one("Resize", x, roi, w.data(np.array(a["scales"], np.float32)), **options)]
    return [w.one("Resize", x, roi, "", w.sizes(a["shape"]), **options)]


def _topk(w: Writer, op: Op) -> Sequence[str]:
    a = op.attrs
    k = w.sizes(a["k"])
    options = {"axis": a["axis"], "largest": int(a["largest"]), "sorted": int(a["sorted"])}
    return w.node("TopK", [*operands(w, op), k], 2, **options)


def _cumsum(w: Writer, op: Op) -> Sequence[str]:
    a = op.attrs
    axis = w.number(a["axis"], DType.I64)
    options = {"exclusive": int(a["exclusive"]), "reverse": int(a["reverse"])}
    return [w.one("CumSum", *operands(w, op), axis, **options)]


def _layer_norm(w: Writer, op: Op) -> Sequence[str]:
    x, *parameters = operands(w, op)
    axis, tensor = op.attrs["axis"], op.result.type
    if not parameters:
        ones = w.number(1, tensor.dtype)
        parameters = [w.one("Expand", ones, w.sizes(tensor.shape[axis % tensor.rank :]))]
    return [w.one("LayerNormalization", x, *parameters, axis=axis, epsilon=op.attrs["epsilon"])]


def _rms_norm(w: Writer, op: Op) -> Sequence[str]:
    x, *scale = operands(w, op)
    tensor = op.result.type
    axes = w.ints(range(op.attrs["axis"] % tensor.rank, tensor.rank))
    mean = w.one("ReduceMean", w.one("Mul", x, x), axes, keepdims=1)
    root = w.one("Sqrt", w.one("Add", mean, w.number(op.attrs["epsilon"], tensor.dtype)))
    result = w.one("Div", x, root)
    return [w.one("Mul", result, *scale)] if scale else [result]


def _conv(w: Writer, op: Op) -> Sequence[str]:
    a = op.attrs
    if a["out_block"] > 1:
        raise BiremeError("BM1003", "a channel-blocked convolution", where=op.node)
    options = {k: list(a[k]) for k in ("strides", "pads", "dilations")}
    return [w.one("Conv", *operands(w, op), group=a["groups"], **options)]


def _conv_transpose(w: Writer, op: Op) -> Sequence[str]:
    a = op.attrs
    options = {k: list(a[k]) for k in ("strides", "pads", "dilations", "output_padding")}
    return [w.one("ConvTranspose", *operands(w, op), group=a["groups"], **options)]


def _pool(kind: str, **more: str) -> OpWriter:
    def write(w: Writer, op: Op) -> Sequence[str]:
        a = op.attrs
        if a["block"] > 1:
            raise BiremeError("BM1003", "a channel-blocked pool", where=op.node)
        options = {k: list(a[k]) for k in ("strides", "pads", "dilations")}
        options |= {k: _plain(a[v]) for k, v in more.items()}
        return w.node(
            kind,
            operands(w, op),
            len(op.results),
            kernel_shape=list(a["kernel"]),
            ceil_mode=int(a["ceil_mode"]),
            **options,
        )

    return write


_ACTIVATIONS = {
    name.lower(): name
    for name in ("Sigmoid", "Tanh", "Relu", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh",
                 "HardSigmoid", "Elu", "Softsign", "Softplus")
}  # fmt: skip


def _recurrent(kind: str, *more: str) -> OpWriter:
    """LSTM, GRU, RNN; the dialect gives the state first and the lengths after it."""

    def write(w: Writer, op: Op) -> Sequence[str]:
        a, names = op.attrs, operands(w, op)
        x, weights, recurrent, bias, state, *rest = names
        cell = [rest.pop(0)] if kind == "LSTM" else []
        lengths, peephole = rest[:1] or [""], rest[1:]
        hidden = op.operands[2].type.shape[2]
        options = {k: _plain(a[k]) for k in more}
        if a["alphas"]:
            options["activation_alpha"] = list(a["alphas"])
        if a["betas"]:
            options["activation_beta"] = list(a["betas"])
        if a["clip"]:
            options["clip"] = a["clip"]
        return w.node(
            kind,
            [x, weights, recurrent, bias, *lengths, state, *cell, *peephole],
            len(op.results),
            direction=a["direction"],
            hidden_size=hidden,
            activations=[_ACTIVATIONS[name] for name in a["activations"]],
            **options,
        )

    return write


def _roi_align(w: Writer, op: Op) -> Sequence[str]:
    options = {k: v for k, v in op.attrs.items() if k != "coordinate"}
    coordinate = op.attrs["coordinate"]
    options["coordinate_transformation_mode"] = coordinate
    return [w.one("RoiAlign", *operands(w, op), **options)]


def _grid_sample(w: Writer, op: Op) -> Sequence[str]:
    a = op.attrs
    corners = int(a["align_corners"])
    return [
        w.one("GridSample", *operands(w, op), mode=a["mode"], padding_mode=a["padding"],
              align_corners=corners)
    ]  # fmt: skip


_UNARY = {
    "neg": "Neg", "abs": "Abs", "sign": "Sign", "relu": "Relu", "exp": "Exp", "log": "Log",
    "sqrt": "Sqrt", "reciprocal": "Reciprocal", "sin": "Sin", "cos": "Cos", "tan": "Tan",
    "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "tanh": "Tanh",
    "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh", "erf": "Erf", "sigmoid": "Sigmoid",
    "ceil": "Ceil", "floor": "Floor", "round": "Round", "logical_not": "Not",
    "bitwise_not": "BitwiseNot", "is_nan": "IsNaN",
}  # fmt: skip

_BINARY = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "pow": "Pow", "minimum": "Min",
    "maximum": "Max", "logical_and": "And", "logical_or": "Or", "logical_xor": "Xor",
    "bitwise_and": "BitwiseAnd", "bitwise_or": "BitwiseOr", "bitwise_xor": "BitwiseXor",
    "equal": "Equal", "less": "Less", "less_equal": "LessOrEqual", "greater": "Greater",
    "greater_equal": "GreaterOrEqual", "where": "Where", "matmul": "MatMul",
}  # fmt: skip

EXPORTS: dict[str, OpWriter] = {
    **{name: _same(kind) for name, kind in (_UNARY | _BINARY).items()},
    **CONTROL,
    "argmax": _arg("ArgMax"),
    "argmin": _arg("ArgMin"),
    "avg_pool": _pool("AveragePool", count_include_pad="count_include_pad"),
    "batch_norm": _with("BatchNormalization", epsilon="epsilon"),
    "bitcast": _bitcast,
    "cast": _cast,
    "concat": _with("Concat", axis="axis"),
    "constant": _constant,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "cumsum": _cumsum,
    "dequantize": _with("DequantizeLinear", axis="axis"),
    "dim_values": lambda w, op: [w.sizes(op.attrs["values"])],
    "expand": _sized("Expand", "shape"),
    "gather": _with("Gather", axis="axis"),
    "gather_elements": _with("GatherElements", axis="axis"),
    "gather_nd": _with("GatherND", batch_dims="batch_dims"),
    "gelu": _gelu,
    "grid_sample": _grid_sample,
    "group_norm": _with("GroupNormalization", num_groups="groups", epsilon="epsilon"),
    "gru": _recurrent("GRU", "linear_before_reset"),
    "instance_norm": _with("InstanceNormalization", epsilon="epsilon"),
    "iota": _iota,
    "is_inf": _with("IsInf", detect_positive="positive", detect_negative="negative"),
    "layer_norm": _layer_norm,
    "log_softmax": _with("LogSoftmax", axis="axis"),
    "lp_pool": _pool("LpPool", p="p"),
    "lrn": _with("LRN", size="size", alpha="alpha", beta="beta", bias="bias"),
    "lstm": _recurrent("LSTM", "input_forget"),
    "max_pool": _pool("MaxPool", storage_order="storage_order"),
    "mod": _mod,
    "not_equal": _not_equal,
    "pad": _pad,
    "quantize": _with("QuantizeLinear", axis="axis"),
    "reduce_max": _reduction("ReduceMax"),
    "reduce_mean": _reduction("ReduceMean"),
    "reduce_min": _reduction("ReduceMin"),
    "reduce_prod": _reduction("ReduceProd"),
    "reduce_sum": _reduction("ReduceSum"),
    "reshape": _reshape,
    "resize": _resize,
    "reverse_sequence": _with("ReverseSequence", batch_axis="batch_axis", time_axis="time_axis"),
    "rms_norm": _rms_norm,
    "rnn": _recurrent("RNN"),
    "roi_align": _roi_align,
    "rsqrt": _rsqrt,
    "scatter_elements": _with("ScatterElements", axis="axis", reduction="reduction"),
    "scatter_nd": _with("ScatterND", reduction="reduction"),
    "shift_left": _same("BitShift", direction="LEFT"),
    "shift_right": _same("BitShift", direction="RIGHT"),
    "slice": _slice,
    "softmax": _with("Softmax", axis="axis"),
    "tile": _sized("Tile", "repeats"),
    "topk": _topk,
    "transpose": _with("Transpose", perm="perm"),
}
