"""Operators that exporters of language models write: rotary positions and grouped attention."""

from __future__ import annotations

from bireme.frontend.onnx.emit import Tensor, scalar, sizes
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.elementwise import cast
from bireme.frontend.onnx.ops.gather import index
from bireme.frontend.onnx.ops.microsoft_attention import heads_of, line, scale_of, unset
from bireme.frontend.onnx.ops.shape import cut, expand, pad, reshape, transpose
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, Dim, DType
from bireme.ir.dims import floordiv


def _rotated(
    n: Node, x: Tensor, positions: Tensor, cosines: Tensor, sines: Tensor, interleaved: bool
) -> Tensor:
    """`x [N, heads, S, size]` turned by the angles of its `positions [N, S]`.

    The caches are `[positions, half]`; of each head `2 * half` elements turn in pairs, an element
    with its neighbour if `interleaved`, else one of the first half with one of the second.
    """
    b, half = n.b, cosines.shape[1]
    width = half * 2
    turned, rest = cut(b, x, 3, 0, width), cut(b, x, 3, width, x.shape[3] - width)
    pairs = (*x.shape[:3], half, 2) if interleaved else (*x.shape[:3], 2, half)
    axis = 4 if interleaved else 3
    split = reshape(b, turned, pairs)
    first, second = (reshape(b, cut(b, split, axis, i, 1), (*x.shape[:3], half)) for i in (0, 1))
    cosine, sine = (
        reshape(b, b.gather(c, positions, axis=0), (*positions.shape[:1], 1, x.shape[2], half))
        for c in (cosines, sines)
    )
    both = (
        b.sub(b.mul(first, cosine), b.mul(second, sine)),
        b.add(b.mul(first, sine), b.mul(second, cosine)),
    )
    shape = (*x.shape[:3], half, 1) if interleaved else (*x.shape[:3], 1, half)
    joined = reshape(b, b.concat(*(reshape(b, t, shape) for t in both), axis=axis), turned.shape)
    result: Tensor = joined if rest.shape[3] == 0 else b.concat(joined, rest, axis=3)
    return result


def _rotary_embedding(n: Node) -> Tensor:
    if n.flag("is_packed_batching"):
        raise BiremeError("BM1003", "attribute 'is_packed_batching' = 1 is not supported")
    x, positions, cosines, sines = n[0], index(n, n[1]), n[2], n[3]
    heads, width = n.integer("num_heads", 0), n.integer("rotary_embedding_dim", 0)
    if n.number("scale", 1.0) != 1.0:
        raise BiremeError("BM1003", "attribute 'scale' other than 1 is not supported")
    split = x
    if x.rank == 3:
        # Without either attribute a head is as wide as both caches together.
        size = floordiv(x.shape[2], heads) if heads and width else cosines.shape[1] * 2
        split = heads_of(n, x, _whole(floordiv(x.shape[2], size)))
    if positions.shape in ((), (1,)):
        start = reshape(n.b, positions, (1, 1))
        positions = n.b.add(start, reshape(n.b, line(n, split.shape[2], 1), (1, split.shape[2])))
    turned = _rotated(n, split, positions, cosines, sines, n.flag("interleaved"))
    return turned if x.rank == 4 else reshape(n.b, transpose(n.b, turned, (0, 2, 1, 3)), x.shape)


def _whole(size: Dim) -> int:
    if not isinstance(size, int):
        raise BiremeError("BM1007", f"the number {size} of heads is not known")
    return size


def _grouped_query(n: Node) -> list[Tensor]:
    """Attention of `num_heads` queries that share `kv_num_heads` keys and values, with a cache.

    `past [N, kv heads, P, size]` holds the earlier tokens of each sequence, `seqlens_k [N]` says
    how many tokens it has now, less one; its new ones are put behind the earlier ones.
    """
    heads, shared = n.integer("num_heads"), n.integer("kv_num_heads")
    _refuse_quantized(n)
    if n.get(16) is not None:
        raise BiremeError("BM1003", f"{n.label(16)} is not supported")
    unset(n, "qk_output", "sliding_window_cache")
    if not n.flag("causal", True):
        raise BiremeError("BM1003", "attribute 'causal' = 0 is not supported")
    interleaved = n.flag("rotary_interleaved")
    q, k, v = _operands(n, heads, shared)
    q, k = _normalised(n, q, 14, "q_norm_epsilon"), _normalised(n, k, 15, "k_norm_epsilon")
    steps = q.shape[2]
    counts = cast(n, reshape(n.b, n[5], (q.shape[0], 1)), DType.I64)
    before = n.b.maximum(n.b.sub(n.b.add(counts, 1), reshape(n.b, sizes([steps]), ())), 0)
    places = n.b.add(before, reshape(n.b, line(n, steps, 1), (1, steps)))
    if n.flag("do_rotary"):
        positions = places if n.get(9) is None else index(n, n[9])
        q = _rotated(n, q, positions, n[7], n[8], interleaved)
        k = _rotated(n, k, positions, n[7], n[8], interleaved)
    k, v = (_appended(n, n.get(i), t, before) for i, t in ((3, k), (4, v)))
    return [_shared_attention(n, q, k, v, places), k, v]


def _refuse_quantized(n: Node) -> None:
    """Raises BM1003 for a cache of integers."""
    hint = "export the model with a cache of float16 or float32"
    for name in ("k_quant_type", "v_quant_type"):
        kind = n.text(name, "NONE")
        if kind != "NONE":
            what = f"a quantised cache (attribute {name!r} = {kind!r}) is not supported"
            raise BiremeError("BM1003", what, hint=hint)
    width = n.integer("kv_cache_bit_width", 0)
    if width > 0:
        what = f"a quantised cache (attribute 'kv_cache_bit_width' = {width}) is not supported"
        raise BiremeError("BM1003", what, hint=hint)
    for place in (12, 13):
        if n.get(place) is not None:
            what = f"a quantised cache ({n.label(place)}) is not supported"
            raise BiremeError("BM1003", what, hint=hint)


def _normalised(n: Node, x: Tensor, place: int, epsilon: str) -> Tensor:
    """Heads `x [N, heads, S, size]` divided by their root mean square, if they have weights."""
    most = n.number(epsilon, n.number("qk_norm_epsilon", 1e-6))
    weights = n.get(place)
    return x if weights is None else n.b.rms_norm(x, weights, axis=3, epsilon=most)


def _operands(n: Node, heads: int, shared: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values split into heads; they may come in one tensor."""
    if n.get(1) is not None:
        return heads_of(n, n[0], heads), heads_of(n, n[1], shared), heads_of(n, n[2], shared)
    size = floordiv(n[0].shape[2], heads + 2 * shared)
    packed = heads_of(n, n[0], heads + 2 * shared)
    if packed.shape[3] != size:
        raise BiremeError("BM1006", f"{heads} and twice {shared} heads in {n[0].type}")
    starts = ((0, heads), (heads, shared), (heads + shared, shared))
    q, k, v = (cut(n.b, packed, 1, start, count) for start, count in starts)
    return q, k, v


def _appended(n: Node, past: Tensor | None, new: Tensor, before: Tensor) -> Tensor:
    """The cache with each sequence's new rows behind the `before [N, 1]` ones that it has."""
    b, steps = n.b, new.shape[2]
    held: Dim = 0 if past is None else past.shape[2]
    total = n.dims(6)[0] if n[6].dims is not None else held + steps
    # A cache longer than the sequences stays as long as it is.
    if b.bounds.less(total, held):
        total = held
    if past is None or held == 0:
        if total == steps:
            return new
        return pad(b, new, [0] * 4, [0, 0, total - steps, 0])
    both = b.concat(past, new, axis=2)
    place = reshape(b, line(n, total, 1), (1, total))
    fresh = b.minimum(b.sub(place, before), reshape(b, sizes([steps - 1]), ()))
    behind = b.add(b.maximum(fresh, 0), reshape(b, sizes([held]), ()))
    rows = b.where(b.less(place, before), place, behind)
    rows = reshape(b, rows, (new.shape[0], 1, total, 1))
    result: Tensor = b.gather_elements(
        both, expand(b, rows, (new.shape[0], new.shape[1], total, new.shape[3])), axis=2
    )
    return result


def _shared_attention(n: Node, q: Tensor, k: Tensor, v: Tensor, places: Tensor) -> Tensor:
    """softmax(q kᵀ) v in which query i of a sequence sees the keys up to `places[:, i]`."""
    b, (batch, shared, total, size) = n.b, k.shape
    group, steps = floordiv(q.shape[1], shared), q.shape[2]
    queries = reshape(b, q, (batch, shared, group, steps, size))
    keys = reshape(b, transpose(b, k, (0, 1, 3, 2)), (batch, shared, 1, size, total))
    scores = b.mul(b.matmul(queries, keys), scale_of(n, size))
    cap, window = n.number("softcap", 0.0), n.integer("local_window_size", -1)
    if cap:
        scores = b.mul(b.tanh(b.div(scores, cap)), cap)
    if n.get(10) is not None:
        bias = expand(b, n[10], (n[10].shape[0], q.shape[1], steps, n[10].shape[3]))
        shape = (bias.shape[0], shared, group, steps, bias.shape[3])
        scores = b.add(scores, reshape(b, bias, shape))
    last = reshape(b, places, (places.shape[0], 1, 1, steps, 1))
    columns = line(n, total, 1)
    seen = b.less_equal(columns, last)
    if window >= 0:
        seen = b.logical_and(seen, b.greater(columns, b.sub(last, window)))
    scores = b.where(seen, scores, scalar(float("-inf"), scores.dtype))
    values = reshape(b, v, (batch, shared, 1, total, v.shape[3]))
    mixed = b.matmul(_softmax(n, scores), values)
    mixed = reshape(b, mixed, (batch, q.shape[1], steps, v.shape[3]))
    return reshape(b, transpose(b, mixed, (0, 2, 1, 3)), (batch, steps, q.shape[1] * v.shape[3]))


def _softmax(n: Node, scores: Tensor) -> Tensor:
    """Of `scores [N, kv heads, group, S, keys]`, each row of which may have a further score, the
    sink: it takes its share and is dropped. A smooth softmax is that with a sink of 0.
    """
    b, (batch, shared, group, steps, total) = n.b, scores.shape
    sink, smooth = n.get(11), n.flag("smooth_softmax")
    if sink is not None:
        sink = reshape(b, cast(n, sink, scores.dtype), (1, shared, group, 1, 1))
    elif smooth:
        sink = scalar(0.0, scores.dtype)
    else:
        result: Tensor = b.softmax(scores, axis=4)
        return result
    column = expand(b, sink, (batch, shared, group, steps, 1))
    return cut(b, b.softmax(b.concat(scores, column, axis=4), axis=4), 4, 0, total)


TABLE: Table = {
    "GroupQueryAttention": _grouped_query,
    "RotaryEmbedding": _rotary_embedding,
}
