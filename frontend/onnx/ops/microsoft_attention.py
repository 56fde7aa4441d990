"""Transformer operators of ONNX Runtime's domain."""

from __future__ import annotations

from collections.abc import Sequence

from bireme.frontend.onnx.emit import Tensor, sizes
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.gather import index
from bireme.frontend.onnx.ops.shape import cut, reshape, transpose
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, Dim, DType
from bireme.ir.dims import floordiv

_MASKED = -10000.0


def _absent(n: Node, inputs: dict[int, str]) -> None:
    """Raises BM1003 for an input that is not supported."""
    for place, what in inputs.items():
        if n.get(place) is not None:
            raise BiremeError("BM1003", f"{n.label(place)}: {what} is not supported")


def unset(n: Node, *names: str) -> None:
    """Raises BM1003 for an attribute that asks for something: one above 0."""
    for name in names:
        value = n.integer(name, 0)
        if value > 0:
            raise BiremeError("BM1003", f"attribute {name!r} = {value} is not supported")


def heads_of(n: Node, x: Tensor, heads: int) -> Tensor:
    """`[N, S, heads * size]` → `[N, heads, S, size]`."""
    if x.rank != 3:
        raise BiremeError("BM1003", f"a packed operand: {x.type}")
    batch, length, width = x.shape
    split = reshape(n.b, x, (batch, length, heads, floordiv(width, heads)))
    return transpose(n.b, split, (0, 2, 1, 3))


def scale_of(n: Node, size: Dim) -> float:
    """The factor of the scores: as given, or 1 / √size of a head."""
    scale = n.number("scale", 0.0)
    if not scale:
        if not isinstance(size, int):
            raise BiremeError("BM1007", f"the size {size} of a head is not known")
        scale = size**-0.5
    return scale


def _attention(n: Node, q: Tensor, k: Tensor, v: Tensor, masks: Sequence[Tensor]) -> Tensor:
    """softmax(q kᵀ / √size + masks) v of `[N, heads, S, size]`, heads joined again."""
    scale = scale_of(n, q.shape[3])
    scores = n.b.mul(n.b.matmul(q, transpose(n.b, k, (0, 1, 3, 2))), scale)
    for mask in masks:
        scores = n.b.add(scores, mask)
    if n.flag("unidirectional"):
        # The last query sees every key: keys of a cache come first.
        rows, columns = (line(n, d, axis) for axis, d in enumerate(scores.shape[2:]))
        ahead = reshape(n.b, sizes([scores.shape[3] - scores.shape[2]]), ())
        scores = n.b.where(n.b.less_equal(columns, n.b.add(rows, ahead)), scores, float("-inf"))
    joined = transpose(n.b, n.b.matmul(n.b.softmax(scores, axis=3), v), (0, 2, 1, 3))
    return reshape(n.b, joined, (q.shape[0], q.shape[2], q.shape[1] * v.shape[3]))


def line(n: Node, size: Dim, axis: int) -> Tensor:
    """Indices along axis 0 or 1 of a matrix of scores, as a column or a row."""
    steps = n.b.iota(shape=(size,), axis=0, dtype=DType.I64)
    return reshape(n.b, steps, (size, 1) if axis == 0 else (1, size))


def _cached(n: Node, past: Tensor | None, new: Tensor) -> Tensor:
    """Keys or values of earlier steps and of this one, `[N, heads, S, size]`."""
    return new if past is None else n.b.concat(past, new, axis=2)


def _padding(n: Node, place: int, x: Tensor, length: Dim) -> list[Tensor]:
    """Numbers to add to the scores of `x`'s batch on `length` keys, for a mask of 1 (kept) and 0
    `[N, T]` or `[N, S, T]`, for the keys `[N]` of each sequence, or where they end and start
    `[2 * N]`.
    """
    mask, masked = n.get(place), n.number("mask_filter_value", _MASKED)
    if mask is None:
        return []
    batch, kept = x.shape[0], mask
    if mask.rank == 1 and mask.shape in ((batch,), (2 * batch,)):
        keys = n.b.iota(shape=(1, length), axis=1, dtype=mask.dtype)
        ends, *starts = (
            reshape(n.b, cut(n.b, mask, 0, start, batch), (batch, 1))
            for start in ([0] if mask.shape == (batch,) else [0, batch])
        )
        kept = n.b.less(keys, ends)
        for start in starts:
            kept = n.b.logical_and(kept, n.b.greater_equal(keys, start))
    elif mask.rank not in (2, 3):
        raise BiremeError("BM1003", f"a mask of shape {mask.type} is not supported")
    rows = kept.shape[1] if kept.rank == 3 else 1
    hidden = n.b.mul(n.b.add(n.b.neg(n.b.cast(kept, dtype=x.dtype)), 1.0), masked)
    return [reshape(n.b, hidden, (kept.shape[0], 1, rows, kept.shape[-1]))]


def _bias(n: Node, place: int) -> list[Tensor]:
    bias = n.get(place)
    return [] if bias is None else [bias]


def _unpacked(n: Node) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values `[N, S, heads * size]`.

    They may come as `[N, S, heads, 3, size]` in one tensor, or keys and values as 2 in one.
    """
    if n.get(2) is not None:
        return n[0], n[1], n[2]
    packed, count = (n[0], 3) if n.get(1) is None else (n[1], 2)
    if packed.rank != 5 or packed.shape[3] != count:
        raise BiremeError("BM1006", f"{packed.type} does not hold {count} tensors side by side")
    batch, length, heads, _, size = packed.shape
    parts = [
        reshape(n.b, cut(n.b, packed, 3, i, 1), (batch, length, heads * size)) for i in range(count)
    ]
    q, k, v = parts if count == 3 else [n[0], *parts]
    return q, k, v


def _multi_head(n: Node) -> list[Tensor]:
    _absent(n, {8: "a cache in a shared buffer", 9: "a beam's cache"})
    heads, bias = n.integer("num_heads"), n.get(3)
    q, k, v = _unpacked(n)
    if bias is not None and (k.rank != 3 or v.rank != 3):
        raise BiremeError("BM1003", f"a bias of keys that are split into heads: {k.type}")
    if bias is not None:
        start: Dim = 0
        parts = []
        for operand in (q, k, v):
            parts.append(n.b.add(operand, cut(n.b, bias, 0, start, operand.shape[2])))
            start = start + operand.shape[2]
        q, k, v = parts
    # Those of cross attention come from its first step, split into heads.
    k, v = (t if t.rank == 4 else heads_of(n, t, heads) for t in (k, v))
    k, v = _cached(n, n.get(6), k), _cached(n, n.get(7), v)
    masks = [*_padding(n, 4, q, k.shape[2]), *_bias(n, 5)]
    return [_attention(n, heads_of(n, q, heads), k, v, masks), k, v]


def _self_attention(n: Node) -> list[Tensor | None]:
    _absent(n, {6: "a cache in a shared buffer"})
    return self_attention(n, n.b.matmul(n[0], n[1]), 3, n.get(4), _bias(n, 5))


def self_attention(
    n: Node, joined: Tensor, mask: int, past: Tensor | None, more: Sequence[Tensor]
) -> list[Tensor | None]:
    """Attention of an input times its weights, which gave queries, keys and values in one tensor.

    `mask` is the place of the input that says which tokens count, `past` a cache, `more` is added
    to the scores.
    """
    unset(n, "do_rotary", "past_present_share_buffer")
    n.integer("rotary_embedding_dim", 0)  # matters to `do_rotary` only
    heads = n.integer("num_heads")
    if n.get(2) is not None:
        joined = n.b.add(joined, n[2])
    width = joined.shape[2]
    widths: list[Dim] = [*n.integers("qkv_hidden_sizes", [])] or [floordiv(width, 3)] * 3
    if len(widths) != 3:
        raise BiremeError("BM1006", f"qkv_hidden_sizes {widths}")
    q = cut(n.b, joined, 2, 0, widths[0])
    k = cut(n.b, joined, 2, widths[0], widths[1])
    v = cut(n.b, joined, 2, widths[0] + widths[1], widths[2])
    q, k, v = (heads_of(n, t, heads) for t in (q, k, v))
    if past is not None:  # [2, N, heads, S, size]
        halves = [reshape(n.b, cut(n.b, past, 0, i, 1), past.shape[1:]) for i in (0, 1)]
        k, v = _cached(n, halves[0], k), _cached(n, halves[1], v)
    present = None
    if n.wants(1):
        present = n.b.concat(*(reshape(n.b, t, (1, *t.shape)) for t in (k, v)), axis=0)
    masks = [*_padding(n, mask, joined, k.shape[2]), *more]
    return [_attention(n, q, k, v, masks), present]


def _embed_layer_norm(n: Node) -> list[Tensor | None]:
    ids, segments = index(n, n[0]), n.get(1)
    words, positions, kinds = n[2], n[3], n.get(4)
    place = n.get(8)
    n.integer("mask_index_type", 0)
    total = n.b.gather(words, ids, axis=0)
    if place is None:
        total = n.b.add(total, cut(n.b, positions, 0, 0, ids.shape[1]))
    else:
        total = n.b.add(total, n.b.gather(positions, index(n, place), axis=0))
    if segments is not None and kinds is not None:
        total = n.b.add(total, n.b.gather(kinds, index(n, segments), axis=0))
    epsilon = n.number("epsilon", 1e-12)
    result = n.b.layer_norm(total, n[5], n[6], axis=2, epsilon=epsilon)
    lengths = None
    if n.get(7) is not None:
        lengths = n.b.reduce_sum(n.b.cast(n[7], dtype=DType.I32), axes=(1,), keepdims=False)
    return [result, lengths, total]


TABLE: Table = {
    "Attention": _self_attention,
    "EmbedLayerNormalization": _embed_layer_norm,
    "MultiHeadAttention": _multi_head,
}
