"""Makers of element-wise ops: their operands and attributes come from the op table alone."""

from __future__ import annotations

from typing import Any

from bireme.ir import OPS, DType, Fusion
from bireme.ir.dtypes import FLOATS
from bireme.ir.opdef import AttrKind
from tests.random.example import Fill
from tests.random.net import DTYPES, MOVED, Held, Net

# A small difference of the operand can make a large one of the result.
_STEPS = frozenset({
    "sign", "ceil", "floor", "round", "is_nan", "is_inf", "mod", "equal", "not_equal", "less",
    "less_equal", "greater", "greater_equal",
})  # fmt: skip


def pointwise(net: Net, name: str) -> list[Held]:
    """Any op of one or two operands of one type."""
    definition = OPS[name]
    exact = name in _STEPS
    dtypes = [t for t in DTYPES if t in definition.operands[0].dtypes]
    first = net.pick(dtypes, exact=exact)
    assert first is not None
    others = definition.operands[1:]
    operands = [first]
    operands += [net.peer(first.shape, dtype=first.dtype, exact=exact) for _ in others]
    if others and net.flag():
        operands.reverse()
    attrs = {a.name: net.flag() for a in definition.attrs if a.kind is AttrKind.BOOL}
    return net.emit(name, operands, **attrs)


def where(net: Net, name: str) -> list[Held]:
    x = net.pick()
    assert x is not None
    y = net.peer(x.shape, dtype=x.dtype)
    condition = net.peer(x.shape, y.shape, dtype=DType.BOOL)
    return net.emit(name, [condition, x, y])


def shift(net: Net, name: str) -> list[Held]:
    """The distance is not negative."""
    x = net.pick([t for t in DTYPES if t.is_integer])
    assert x is not None
    mask = constant(net, x.dtype, net.choose([7, 3, 127]))
    return [made for y in net.emit("bitwise_and", [net.peer(x.shape, dtype=x.dtype), mask])
            for made in net.emit(name, [x, y])]  # fmt: skip


def cast(net: Net, name: str) -> list[Held]:
    """From floats to integers only inside the range, where the result is defined."""
    target = net.choose(MOVED)
    x = net.pick()
    assert x is not None
    if target.is_narrow or not target.is_float:
        x = net.pick([x.dtype], exact=True)
        assert x is not None
    if not x.dtype.is_float or target.is_float:
        return net.emit(name, [x], dtype=target)
    if net.special or x.dtype.is_narrow or target.is_narrow:
        return []
    if target is not DType.BOOL:
        low = constant(net, x.dtype, -100 if target.is_signed else 0)
        for limited in net.emit("maximum", [x, low]):
            x = limited
        for limited in net.emit("minimum", [x, constant(net, x.dtype, 100)]):
            x = limited
    return net.emit(name, [x], dtype=target)


def bitcast(net: Net, name: str) -> list[Held]:
    """Of integers: a float as bits means nothing in another precision."""
    x = net.pick([t for t in DTYPES if t.is_integer])
    assert x is not None
    same = [t for t in DTYPES if t.is_integer and t.bits == x.dtype.bits]
    return net.emit(name, [x], dtype=net.choose(same))


def quantize(net: Net, name: str) -> list[Held]:
    kinds = [t for t in DTYPES if t in OPS[name].operands[0].dtypes]
    x = net.pick(kinds, exact=True)
    assert x is not None
    if net.special:
        return []
    scale = x.dtype if x.dtype.is_float else DType.F32
    point = net.choose([DType.U8, DType.I8, DType.I16, DType.U16])
    return _scaled(net, name, x, scale, point)


def dequantize(net: Net, name: str) -> list[Held]:
    kinds = [t for t in DTYPES if t in OPS[name].operands[0].dtypes and t.is_integer]
    x = net.pick(kinds)
    assert x is not None
    return _scaled(net, name, x, net.choose([DType.F32, DType.F16]), x.dtype)


def _scaled(net: Net, name: str, x: Held, scale: DType, point: DType) -> list[Held]:
    """With a scale and a zero point for the whole, or for each place along an axis."""
    attrs: dict[str, Any] = {}
    shape: tuple[Any, ...] = ()
    if x.type.rank and net.flag():
        attrs["axis"] = net.number(0, x.type.rank - 1)
        shape = (x.shape[attrs["axis"]],)
    low = 0 if not point.is_signed else -5
    operands = [
        x, net.leaf(scale, shape, Fill("positive")), net.leaf(point, shape, Fill("range", low, 6)),
    ]  # fmt: skip
    return net.emit(name, operands, **attrs)


def random_key(net: Net, name: str) -> list[Held]:
    """Of the session's seed, or of its own; no two of a graph have one stream."""
    if net.flag():
        return net.emit(name, [], stream=0, seed=net.number(0, 1 << 40))
    streams = [op.attrs["stream"] for op in net.graph.walk() if op.name == name]
    return net.emit(name, [], stream=1 + max(streams, default=0))


def drawn(net: Net, name: str) -> list[Held]:
    """At the places of a tensor, or at any others."""
    (key,) = random_key(net, "random_key") if net.flag() else [net.pick([DType.U64])]
    assert key is not None
    places = net.peer(key.shape, dtype=DType.I64)
    shape = list(key.shape or net.shape())
    if net.flag() and all(isinstance(d, int) for d in shape):
        places = next(iter(net.emit("iota", [], shape=shape, dtype=DType.I64)), places)
    return net.emit(name, [places, key], dtype=net.choose(FLOATS))


def constant(net: Net, dtype: DType, number: int) -> Held:
    """A scalar constant."""
    name = f"w{len(net.fills)}"
    fill = net.fills[name] = Fill("full", number, dtype=dtype.label)
    return Held(net.builder.constant(fill.array((), name, 0), name), True)


SPECIAL = {
    "where": where,
    "shift_left": shift,
    "shift_right": shift,
    "cast": cast,
    "bitcast": bitcast,
    "quantize": quantize,
    "dequantize": dequantize,
    "random_uniform": drawn,
    "random_normal": drawn,
}
MAKERS = {
    name: SPECIAL.get(name, pointwise)
    for name, definition in OPS.items()
    if definition.fusion is Fusion.POINTWISE
} | {"random_key": random_key}
