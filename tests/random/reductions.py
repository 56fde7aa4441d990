"""Makers of reductions and normalisations."""

from __future__ import annotations

from typing import Any

from bireme.ir import OPS, Dim, DType
from tests.random.example import Fill
from tests.random.net import DTYPES, Held, Net

_FLOATS = (DType.F32, DType.F64, DType.F16, DType.BF16)


def reduce(net: Net, name: str) -> list[Held]:
    dtypes = [t for t in DTYPES if t in OPS[name].operands[0].dtypes]
    x = net.ranked(dtypes, 1)
    axes = [a for a in range(x.type.rank) if net.flag()] or [x.type.rank - 1]
    return net.emit(name, [x], axes=axes, keepdims=net.flag())


def arg(net: Net, name: str) -> list[Held]:
    """Along an axis that has elements."""
    x = net.ranked([t for t in DTYPES if t is not DType.BOOL], 1, exact=True)
    axes = [a for a, d in enumerate(x.shape) if net.least(d)]
    if not axes:
        return []
    return net.emit(name, [x], axis=net.choose(axes), keepdims=net.flag(), last=net.flag())


def cumsum(net: Net, name: str) -> list[Held]:
    x = net.ranked([t for t in DTYPES if t is not DType.BOOL], 1)
    axis = net.number(0, x.type.rank - 1)
    return net.emit(name, [x], axis=axis, exclusive=net.flag(), reverse=net.flag())


def topk(net: Net, name: str) -> list[Held]:
    x = net.ranked([t for t in DTYPES if t is not DType.BOOL], 1, exact=True)
    axis = net.number(0, x.type.rank - 1)
    k = net.number(0, net.least(x.shape[axis]))
    return net.emit(name, [x], k=(k,), axis=axis, largest=net.flag())


def softmax(net: Net, name: str) -> list[Held]:
    x = net.ranked(_FLOATS, 1)
    return net.emit(name, [x], axis=net.number(-x.type.rank, x.type.rank - 1))


def layer_norm(net: Net, name: str) -> list[Held]:
    """And `rms_norm`, which has no bias."""
    x = net.ranked(_FLOATS, 1)
    axis = net.number(0, x.type.rank - 1)
    operands = [x]
    for _ in OPS[name].operands[1:]:
        if not net.flag():
            break
        operands.append(net.leaf(x.dtype, x.shape[net.number(axis, x.type.rank - 1) :]))
    return net.emit(name, operands, axis=axis)


def channel_norm(net: Net, name: str) -> list[Held]:
    """Norms with parameters for each channel, axis 1."""
    x = net.ranked(_FLOATS, 2 if name == "batch_norm" else 3)
    channels: Dim = x.shape[1]
    attrs: dict[str, Any] = {}
    if name == "group_norm":
        if not isinstance(channels, int) or not channels:
            return []
        attrs["groups"] = net.choose([g for g in (1, 2, 3, 4) if channels % g == 0])
    fills = {"variance": Fill("positive"), "scale": Fill("positive")}
    parameters = [net.leaf(x.dtype, (channels,), fills.get(o.name)) for o in OPS[name].operands[1:]]
    return net.emit(name, [x, *parameters], **attrs)


def lrn(net: Net, name: str) -> list[Held]:
    return net.emit(name, [net.ranked(_FLOATS, 3)], size=net.number(1, 5))


MAKERS = {
    **dict.fromkeys(("reduce_sum", "reduce_mean", "reduce_prod"), reduce),
    **dict.fromkeys(("reduce_max", "reduce_min"), reduce),
    **dict.fromkeys(("argmax", "argmin"), arg),
    "cumsum": cumsum,
    "topk": topk,
    **dict.fromkeys(("softmax", "log_softmax"), softmax),
    **dict.fromkeys(("layer_norm", "rms_norm"), layer_norm),
    **dict.fromkeys(("batch_norm", "instance_norm", "group_norm"), channel_norm),
    "lrn": lrn,
}  # fmt: skip
