"""How ops work on channel-blocked tensors: one rule for each kind of op.

A blocked tensor `[N, ceil(C / b), *S, b]` stands for `[N, C, *S]`. Where C is not a multiple of
b the last block has *spare lanes*. A convolution reads them and multiplies by zero weights, so they
must be finite numbers. A rule therefore says what the spare lanes of its results may hold, given
those of its operands (which are zero when an operand was packed from a plain tensor); an op that
could put an infinity or NaN there, or something that nobody can foresee, stays plain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from bireme.ir import Builder, Dim, DType, Fusion, Op, TensorType, Value
from bireme.ir.opdef import Array
from bireme.ir.reference import run_op
from bireme.passes.values import uniform

# Values that spare lanes may hold. None: anything, so the op stays plain unless there are no such
# lanes.
Lanes = frozenset[float]
ZERO: Lanes = frozenset({0.0})
MOST_LANE_VALUES = 16
# Element types of convolutions that have kernels for blocks.
BLOCKED = (DType.F32, DType.F16, DType.BF16)
# Of tensors with one to three spatial axes.
_RANKS = (3, 4, 5)

# Gives the blocked form of an operand; `fill` is what the spare lanes of a constant hold.
Pack = Callable[[Value, float], Value]


@dataclass(frozen=True)
class BlockRule:
    """How an op works on blocked tensors.

    `fits` says whether it can with this block; `lanes` gives the spare lanes of its result from
    those of its operands; `rewrite` makes the blocked result.
    """

    fits: Callable[[Op, int], bool]
    lanes: Callable[[Op, Sequence[Lanes]], Lanes | None]
    rewrite: Callable[[Op, Pack, Builder], Value]


def channels(tensor: TensorType) -> int | None:
    """C of a tensor `[N, C, *S]` that may be blocked, else None."""
    if tensor.rank not in _RANKS or tensor.dtype not in (*BLOCKED, DType.BOOL):
        return None
    size = tensor.shape[1]
    return size if isinstance(size, int) and size > 1 else None


def pack_constant(array: Array, rank: int, block: int, fill: float) -> Array:
    """A constant that broadcasts to `rank` axes `[N, C, *S]`, blocked; axes of size 1 keep
    broadcasting.
    """
    full = array.reshape((1,) * (rank - array.ndim) + array.shape)
    batch, count, *spatial = full.shape
    if count == 1:
        return full[..., None]
    spare = [(0, 0), (0, -count % block), *[(0, 0)] * len(spatial)]
    padded = np.pad(full, spare, constant_values=fill)
    blocked = padded.reshape(batch, -1, block, *spatial)
    return np.ascontiguousarray(np.moveaxis(blocked, 2, -1))


def _channel_size(tensor: TensorType, rank: int) -> Dim:
    """Size on the channel axis of a tensor that broadcasts to `rank` axes."""
    return tensor.shape[1 - rank] if tensor.rank >= rank - 1 else 1


# --- pointwise ------------------------------------------------------------------------------------


def _fill(op: Op, index: int) -> float:
    """What to put into the spare lanes of a constant operand."""
    return 1.0 if op.name in ("div", "mod") and index == 1 else 0.0


def _pointwise_fits(op: Op, _block: int) -> bool:
    return channels(op.result.type) is not None and all(
        _broadcasts(v, op.result.type) for v in op.operands
    )


def _broadcasts(value: Value, result: TensorType) -> bool:
    """Whether a pointwise op can read the value's blocked form."""
    if value.type.elements == 1:
        return True
    size = _channel_size(value.type, result.rank)
    if value.constant is not None:
        return size in (1, result.shape[1])
    return value.type.rank == result.rank and (size == 1 or channels(value.type) == result.shape[1])


def _pointwise_lanes(op: Op, lanes: Sequence[Lanes]) -> Lanes | None:
    dtypes = [v.type.dtype.numpy for v in op.operands]
    found: set[float] = set()
    for combination in product(*lanes):
        inputs = [np.asarray(x, t) for x, t in zip(combination, dtypes, strict=True)]
        found.add(float(run_op(op.name, inputs, op.attrs)[0]))
    return frozenset(found)


def _pointwise(op: Op, pack: Pack, b: Builder) -> Value:
    operands = [pack(v, _fill(op, i)) for i, v in enumerate(op.operands)]
    return b.op(op.name, operands, **op.attrs).result


# --- ops on the spatial axes ----------------------------------------------------------------------


def _same_lanes(_op: Op, lanes: Sequence[Lanes]) -> Lanes | None:
    return lanes[0]


def _zero_lanes(_op: Op, lanes: Sequence[Lanes]) -> Lanes | None:
    """Sums and averages with padding keep zeros; of other values they make new ones."""
    return ZERO if lanes[0] == ZERO else None


def _pool_fits(op: Op, _block: int) -> bool:
    return channels(op.operands[0].type) is not None and len(op.results) == 1


def _pool(op: Op, pack: Pack, b: Builder) -> Value:
    x = pack(op.operands[0], 0.0)
    return b.op(op.name, [x], **{**op.attrs, "block": x.type.shape[-1]}).result


def _reduce_fits(op: Op, _block: int) -> bool:
    return channels(op.operands[0].type) is not None and _all_spatial(op) == op.attrs["axes"]


def _reduce(op: Op, pack: Pack, b: Builder) -> Value:
    """Over all spatial axes; they stay, and a reshape behind takes them away where that was
    asked.
    """
    x = pack(op.operands[0], 0.0)
    return b.op(op.name, [x], axes=_all_spatial(op), keepdims=True).result


def _all_spatial(op: Op) -> tuple[int, ...]:
    return tuple(range(2, op.operands[0].type.rank))


def _pad_fits(op: Op, _block: int) -> bool:
    outer = (*op.attrs["before"][:2], *op.attrs["after"][:2])
    return channels(op.result.type) is not None and all(d == 0 for d in outer)


def _pad_lanes(op: Op, lanes: Sequence[Lanes]) -> Lanes | None:
    if op.attrs["mode"] != "constant":
        return lanes[0]
    value = uniform(op.operands[1]) if len(op.operands) > 1 else 0.0
    return None if value is None else lanes[0] | {float(value)}


def _pad(op: Op, pack: Pack, b: Builder) -> Value:
    attrs = op.attrs
    widths = {side: (*attrs[side], 0) for side in ("before", "after")}
    operands = [pack(op.operands[0], 0.0), *op.operands[1:]]
    return b.op("pad", operands, mode=attrs["mode"], **widths).result


def _resize_fits(op: Op, _block: int) -> bool:
    x, y = op.operands[0].type, op.result.type
    plain = not op.attrs["roi"] and op.attrs["mode"] in ("nearest", "linear")
    plain = plain and len(op.operands) == 1
    fixed = op.attrs["scales"][:2] in ((1.0, 1.0), (0.0, 0.0))
    return channels(x) is not None and x.shape[:2] == y.shape[:2] and plain and fixed


def _resize(op: Op, pack: Pack, b: Builder) -> Value:
    x, attrs = pack(op.operands[0], 0.0), op.attrs
    batch, blocks, *_, block = x.type.shape
    shape = (batch, blocks, *attrs["shape"][2:], block)
    scales = (*attrs["scales"], attrs["scales"][0])
    return b.op("resize", [x], **{**attrs, "shape": shape, "scales": scales}).result


def _slice_fits(op: Op, block: int) -> bool:
    """The whole batch, and channels in whole blocks."""
    x, y, attrs = op.operands[0].type, op.result.type, op.attrs
    if channels(x) is None or channels(y) is None or attrs["steps"][:2] != (1, 1):
        return False
    start, size, end = attrs["starts"][1], attrs["sizes"][1], x.shape[1]
    if not isinstance(start, int) or start % block:
        return False
    return bool(x.shape[0] == y.shape[0] and (size % block == 0 or start + size == end))


def _slice(op: Op, pack: Pack, b: Builder) -> Value:
    x, attrs = pack(op.operands[0], 0.0), op.attrs
    block = x.type.shape[-1]
    batch, count, *spatial = attrs["sizes"]
    starts = (attrs["starts"][0], attrs["starts"][1] // block, *attrs["starts"][2:], 0)
    sizes = (batch, -(-count // block), *spatial, block)
    return b.op("slice", [x], starts=starts, sizes=sizes, steps=(*attrs["steps"], 1)).result


def _concat_fits(op: Op, block: int) -> bool:
    counts = [channels(v.type) for v in op.operands]
    if None in counts or op.attrs["axis"] == 0:
        return False
    return op.attrs["axis"] != 1 or all(c is not None and c % block == 0 for c in counts[:-1])


def _concat_lanes(op: Op, lanes: Sequence[Lanes]) -> Lanes | None:
    return lanes[-1] if op.attrs["axis"] == 1 else ZERO.union(*lanes)


def _concat(op: Op, pack: Pack, b: Builder) -> Value:
    return b.op("concat", [pack(v, 0.0) for v in op.operands], axis=op.attrs["axis"]).result


# --- the table ------------------------------------------------------------------------------------

_POINTWISE = BlockRule(_pointwise_fits, _pointwise_lanes, _pointwise)

_BY_NAME = {
    "max_pool": BlockRule(_pool_fits, _same_lanes, _pool),
    "avg_pool": BlockRule(_pool_fits, _zero_lanes, _pool),
    "lp_pool": BlockRule(_pool_fits, _zero_lanes, _pool),
    "reduce_mean": BlockRule(_reduce_fits, _zero_lanes, _reduce),
    "reduce_sum": BlockRule(_reduce_fits, _zero_lanes, _reduce),
    "reduce_max": BlockRule(_reduce_fits, _same_lanes, _reduce),
    "reduce_min": BlockRule(_reduce_fits, _same_lanes, _reduce),
    "pad": BlockRule(_pad_fits, _pad_lanes, _pad),
    "resize": BlockRule(_resize_fits, _same_lanes, _resize),
    "slice": BlockRule(_slice_fits, _same_lanes, _slice),
    "concat": BlockRule(_concat_fits, _concat_lanes, _concat),
}


def rule_for(op: Op) -> BlockRule | None:
    """How the op works on blocked tensors; None when it does not."""
    if op.name in _BY_NAME:
        return _BY_NAME[op.name]
    return _POINTWISE if op.definition.fusion is Fusion.POINTWISE else None


def spare_lanes(op: Op, operands: Sequence[Lanes | None]) -> Lanes | None:
    """Spare lanes of the blocked result; None when a convolution must not read them."""
    rule = rule_for(op)
    known = [lanes for lanes in operands if lanes is not None]
    if rule is None or len(known) < len(operands):
        return None
    if prod(map(len, known)) > MOST_LANE_VALUES:
        return None
    found = rule.lanes(op, known)
    return found if found is not None and all(np.isfinite(x) for x in found) else None


def constant_lanes(op: Op, index: int) -> Lanes | None:
    """Spare lanes of an operand that is a constant; None when they are not known."""
    value = op.operands[index]
    if _channel_size(value.type, op.result.type.rank) != 1:
        return frozenset({_fill(op, index)})
    number = uniform(value)
    return None if number is None else frozenset({float(number)})
