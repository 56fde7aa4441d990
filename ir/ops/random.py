"""Random numbers: pure functions of a position and a key, and the op that gives keys.

Everything is element-wise: the number at a position depends on nothing but its index and the key.
Moved, fused, computed twice or on another chip, it is the same. Normal, uniform and all other
distributions, in the shape of a tensor, are made of these by element-wise ops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bireme.ir.dtypes import FLOATS, DType
from bireme.ir.opdef import Array, Attr, AttrKind, Attrs, Fusion, OpDef, Operand, Typing
from bireme.ir.philox import philox, words
from bireme.ir.types import TensorType

# Bits of a float's significand, the leading one included: as many as a uniform number has.
SIGNIFICAND = {DType.F16: 11, DType.BF16: 8, DType.F32: 24, DType.F64: 53}


def _key_type(t: Typing) -> Sequence[TensorType]:
    for name in ("stream", "seed"):
        if t.attrs[name] < 0:
            raise t.fail(f"{name} {t.attrs[name]} is negative", "BM2002")
    return [TensorType(DType.U64, ())]


def _key_reference(_inputs: Sequence[Array], _attrs: Attrs) -> Sequence[Array]:
    raise NotImplementedError("the interpreter knows the run and counts the draws")


def _number_type(t: Typing) -> Sequence[TensorType]:
    position, key = t.types
    dtype = t.attrs["dtype"]
    if dtype not in FLOATS:
        wanted = ", ".join(f.label for f in FLOATS)
        raise t.fail(f"random numbers are {wanted}, not {dtype.label}", "BM2003")
    return [TensorType(dtype, t.broadcast(position.shape, key.shape))]


def _random(
    distribution: Callable[[tuple[Array, ...], DType], Array],
) -> Callable[..., list[Array]]:
    """The reference of an op whose numbers come from the four words at each position."""

    def reference(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
        position, key = np.broadcast_arrays(*inputs)
        zero = np.zeros((), np.uint32)
        drawn = philox((*words(position), zero, zero), words(key))
        return [distribution(drawn, attrs["dtype"]).astype(attrs["dtype"].numpy)]

    return reference


def _wide(low: Array, high: Array) -> Array:
    return high.astype(np.uint64) << np.uint64(32) | low.astype(np.uint64)


def _uniform(drawn: tuple[Array, ...], dtype: DType) -> Array:
    """The highest bits of the first two words, as many as the type holds."""
    bits = SIGNIFICAND[dtype]
    top = _wide(drawn[1], drawn[0]) >> np.uint64(64 - bits)
    return top.astype(np.float64) * 2.0**-bits


def _normal(drawn: tuple[Array, ...], dtype: DType) -> Array:
    """The method of G. Box and M. Muller, "A note on the generation of random normal deviates",
    1958: the radius from the first two words, the angle, in turns, from the others.
    """
    if dtype is DType.F64:
        first = (_wide(drawn[1], drawn[0]) >> np.uint64(11)).astype(np.float64)
        radius = np.sqrt(-2 * np.log((first + 0.5) * 2.0**-53))
        turns = (_wide(drawn[3], drawn[2]) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return np.asarray(radius * np.cos(2 * np.pi * turns))
    one = (drawn[0] >> np.uint32(1)).astype(np.float32) + np.float32(0.5)
    radius = np.sqrt(np.float32(-2) * np.log(one * np.float32(2.0**-31)))
    # The angle has 24 bits, so that this is its cosine rounded once.
    turns = (drawn[2] >> np.uint32(8)).astype(np.float64) * 2.0**-24
    return np.asarray(radius * np.cos(2 * np.pi * turns).astype(np.float32))


_OPERANDS = (Operand("position", (DType.I64,)), Operand("key", (DType.U64,)))
_DTYPE = (Attr("dtype", AttrKind.DTYPE, doc="element type of the result, a float"),)

OPS = (
    OpDef(
        name="random_key",
        operands=(),
        attrs=(
            Attr(
                "stream",
                AttrKind.INT,
                doc="number of the stream, another for every op; 0: keys depend on `seed` alone",
            ),
            Attr("seed", AttrKind.INT, 0, "for stream 0: the seed, instead of the session's"),
        ),
        infer=_key_type,
        reference=_key_reference,
        fusion=Fusion.STATE,
        doc="A key to draw random numbers with, another one each time the op is executed: the "
        "first two words of Philox4x32-10 for the counter (draw, stream, run: two words) and the "
        "seed as key. `draw` counts the executions in a run from 0, `run` the runs of the session "
        "since it got its seed. In stream 0 the seed is the attribute and `run` is 0: every run of "
        "every session has the same keys.",
    ),
    OpDef(
        name="random_uniform",
        operands=_OPERANDS,
        attrs=_DTYPE,
        infer=_number_type,
        reference=_random(_uniform),
        fusion=Fusion.POINTWISE,
        doc="Uniformly distributed in [0, 1): Philox4x32-10 with the position as counter; of its "
        "first two words, as one number, as many high bits as the type's significand has. Exactly "
        "these bits on every target. The operands broadcast as in NumPy.",
    ),
    OpDef(
        name="random_normal",
        operands=_OPERANDS,
        attrs=_DTYPE,
        infer=_number_type,
        reference=_random(_normal),
        fusion=Fusion.POINTWISE,
        doc="Normally distributed, mean 0 and standard deviation 1, by the method of Box and "
        "Muller from the four words of Philox4x32-10 with the position as counter: "
        "`sqrt(-2 log u) cos(2 pi v)`. float32 takes 31 bits for u and 24 for v, so that no number "
        "exceeds 6.7; float64 takes 53 each; 16-bit floats are the rounded float32. Numbers of one "
        "position and key differ between element types by rounding only. The operands broadcast as "
        "in NumPy.",
    ),
)
