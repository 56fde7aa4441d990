"""Makers of products, convolutions, pools, interpolation and recurrent layers."""

from __future__ import annotations

from typing import Any

from bireme.ir import OPS, Dim, DType
from tests.random.example import Fill
from tests.random.net import DTYPES, Held, Net

_FLOATS = (DType.F32, DType.F64, DType.F16, DType.BF16)
_NUMBERS = tuple(t for t in DTYPES if t is not DType.BOOL)


def matmul(net: Net, name: str) -> list[Held]:
    """By a new right operand, by one at hand, or by the own transpose."""
    a = net.ranked(_NUMBERS, 2)
    inner = a.shape[-1]
    kind = net.choose(["new", "held", "own", "batched"])
    b = None
    if kind == "own":
        perm = list(range(a.type.rank))
        perm[-2:] = perm[:-3:-1]
        (b,) = net.emit("transpose", [a], perm=perm)
    elif kind == "held":
        b = net.pick([a.dtype], lambda t: t.rank == 2 and t.shape[0] == inner)
    if b is None:
        batch = a.shape[:-2] if kind == "batched" else ()
        b = net.leaf(a.dtype, (*batch, inner, net.choose([1, 3, 8, 5, 17, 32])))
    return net.emit(name, [a, b])


def _window(net: Net, sizes: tuple[Dim, ...]) -> dict[str, Any] | None:
    """Attributes of a window that fits at every size that is run, and its kernel."""
    kernel, strides, dilations, before, after = [], [], [], [], []
    for size in sizes:
        b, a = net.number(0, 2), net.number(0, 2)
        room = net.least(size) + b + a
        taps = net.number(1, max(min(4, room), 1))
        dilation = net.choose([d for d in (1, 2) if (taps - 1) * d + 1 <= room] or [0])
        if not dilation:
            return None
        kernel.append(taps)
        strides.append(net.number(1, 3))
        dilations.append(dilation)
        before.append(b)
        after.append(a)
    return {"kernel": kernel, "strides": strides, "dilations": dilations, "pads": before + after}


def _channels(x: Held) -> int | None:
    channels = x.shape[1]
    return channels if isinstance(channels, int) and channels else None


def conv(net: Net, name: str) -> list[Held]:
    x = net.ranked(_NUMBERS, 3, 4)
    channels = _channels(x)
    window = _window(net, x.shape[2:])
    if channels is None or window is None:
        return []
    kernel = window.pop("kernel")
    groups = net.choose([g for g in (1, 2, 3, channels) if channels % g == 0])
    each = net.choose([1, 2, 8, 3, 17])
    if name == "conv":
        shape = (each * groups, channels // groups, *kernel)
    else:
        shape = (channels, each, *kernel)
        window["output_padding"] = [net.number(0, s - 1) for s in window["strides"]]
        window["pads"] = [min(p, 1) for p in window["pads"]]
        grown = zip(x.shape[2:], kernel, window["strides"], strict=True)
        if any((net.least(n) - 1) * s + k < 2 for n, k, s in grown):
            return []
    return net.emit(name, [x, net.leaf(x.dtype, shape)], groups=groups, **window)


def pool(net: Net, name: str) -> list[Held]:
    x = net.ranked([t for t in _NUMBERS if t in OPS[name].operands[0].dtypes], 3, 4)
    window = _window(net, x.shape[2:])
    if window is None:
        return []
    for axis, taps in enumerate(window["kernel"]):  # every window has an element
        for place in (axis, axis + len(window["kernel"])):
            window["pads"][place] = min(window["pads"][place], taps - 1)
        if net.least(x.shape[2 + axis]) < taps * window["dilations"][axis]:
            return []
    attrs: dict[str, Any] = {"ceil_mode": net.flag()}
    if name == "avg_pool":
        attrs["count_include_pad"] = net.flag()
    if name == "max_pool" and x.exact:
        attrs["indices"] = net.flag()
    return net.emit(name, [x], **window, **attrs)


def resize(net: Net, name: str) -> list[Held]:
    x = net.ranked(_FLOATS, 3, 4)
    mode = net.choose(["nearest", "linear", "cubic"])
    if any(net.least(d) == 0 for d in x.shape[2:]):
        return []
    shape = [*x.shape[:2], *(net.choose([2 * d, 3, d, 7, d + 1]) for d in x.shape[2:])]
    if net.elements(shape) > 4096:
        return []
    attrs: dict[str, Any] = {"shape": shape, "scales": (0.0,) * x.type.rank, "mode": mode}
    attrs["coordinate"] = net.choose(["half_pixel", "asymmetric", "align_corners"])
    if mode == "nearest":
        attrs["nearest"] = net.choose(["round_prefer_floor", "floor", "ceil", "round_prefer_ceil"])
    return net.emit(name, [x], exact=x.exact and mode == "nearest", **attrs)


def grid_sample(net: Net, name: str) -> list[Held]:
    x = net.ranked(_FLOATS, 4, 4)
    mode = net.choose(["linear", "nearest", "cubic"])
    if any(net.least(d) == 0 for d in x.shape[2:]):
        return []
    grid = net.leaf(x.dtype, (x.shape[0], *net.shape(2, 2), 2))
    padding = net.choose(["zeros", "border", "reflection"])
    return net.emit(name, [x, grid], mode=mode, padding=padding, align_corners=net.flag())


def roi_align(net: Net, name: str) -> list[Held]:
    x = net.ranked(_FLOATS, 4, 4)
    if any(net.least(d) == 0 for d in (x.shape[0], *x.shape[2:])):
        return []
    count = net.number(0, 3)
    rois = net.leaf(x.dtype, (count, 4))
    images = net.leaf(DType.I64, (count,), Fill("range", 0, net.least(x.shape[0])))
    size = {"output_height": net.number(1, 3), "output_width": net.number(1, 3)}
    return net.emit(name, [x, rois, images], mode=net.choose(["avg", "max"]),
                    sampling_ratio=net.number(1, 2), **size)  # fmt: skip


_GATES = {"lstm": 4, "gru": 3, "rnn": 1}
_ACTIVATIONS = {"lstm": ("sigmoid", "tanh", "tanh"), "gru": ("sigmoid", "tanh"), "rnn": ("tanh",)}


def recurrent(net: Net, name: str) -> list[Held]:
    """An `lstm`, `gru` or `rnn`."""
    x = net.ranked(_FLOATS, 3, 3)
    _, batch, inputs = x.shape
    if not isinstance(inputs, int):
        return []
    direction = net.choose(["forward", "reverse", "bidirectional"])
    count, gates, hidden = 1 + (direction == "bidirectional"), _GATES[name], net.number(1, 9)
    shapes: list[tuple[Dim, ...]] = [
        (count, gates * hidden, inputs),
        (count, gates * hidden, hidden),
        (count, 2 * gates * hidden),
        (count, batch, hidden),
    ]
    shapes += [shapes[-1]] if name == "lstm" else []
    operands = [x, *(net.leaf(x.dtype, s) for s in shapes)]
    if net.flag():
        operands.append(net.leaf(DType.I32, (batch,), Fill("range", 0, net.least(x.shape[0]) + 1)))
    return net.emit(name, operands, direction=direction, activations=_ACTIVATIONS[name] * count)


MAKERS = {
    "matmul": matmul,
    "conv": conv,
    "conv_transpose": conv,
    **dict.fromkeys(("max_pool", "avg_pool", "lp_pool"), pool),
    "resize": resize,
    "grid_sample": grid_sample,
    "roi_align": roi_align,
    **dict.fromkeys(_GATES, recurrent),
}
