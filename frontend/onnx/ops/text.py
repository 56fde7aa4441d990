"""Counting n-grams of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bireme.frontend.onnx.emit import Tensor, data, scalar
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.shape import reshape
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import Array, BiremeError, DType


def _tf_idf(n: Node) -> Tensor:
    """For each n-gram of the pool how often it occurs, weighted (TfIdfVectorizer-9)."""
    if n.has("pool_strings"):
        raise BiremeError("BM1003", "a pool of strings")
    least, most = n.integer("min_gram_length"), n.integer("max_gram_length")
    skips = n.integer("max_skip_count")
    mode = n.choice("mode", "", ("TF", "IDF", "TFIDF"))
    starts, columns = n.integers("ngram_counts"), n.integers("ngram_indexes")
    weights = n.numbers("weights", [1.0] * len(columns))
    pool = n.integers("pool_int64s")
    if n[0].rank not in (1, 2) or not n[0].dtype.is_integer:
        raise BiremeError("BM1006", f"expected integers [length] or [N, length]; found {n[0].type}")
    x = n[0] if n[0].rank == 2 else reshape(n.b, n[0], (1, *n[0].shape))
    length = x.shape[1]
    if not isinstance(length, int):
        raise BiremeError("BM1007", f"the number of tokens {length} is not known")
    grams = _grams(pool, starts)
    if len(grams) != len(columns) or len(weights) != len(columns) or min(columns, default=0) < 0:
        raise BiremeError("BM1006", "the pool, ngram_indexes and weights differ in length")
    tokens = n.b.cast(x, dtype=DType.I64)
    counts = [
        _count(n, tokens, length, gram, skips)
        if least <= len(gram) <= most
        else n.b.expand(scalar(0, DType.F32), shape=(x.shape[0], 1))
        for gram in grams
    ]
    result = _arranged(n, counts, columns, weights, mode)
    return result if n[0].rank == 2 else reshape(n.b, result, (result.shape[1],))


def _grams(pool: Sequence[int], starts: Sequence[int]) -> list[Array]:
    """The n-grams of a pool that lists those of one token, then those of two, and so on."""
    grams = []
    for size, start in enumerate(starts, 1):
        end = starts[size] if size < len(starts) else len(pool)
        if not 0 <= start <= end <= len(pool) or (end - start) % size:
            raise BiremeError("BM1006", f"ngram_counts {list(starts)} for {len(pool)} tokens")
        grams += np.array(pool[start:end], np.int64).reshape(-1, size).tolist()
    return [np.array(g, np.int64) for g in grams]


def _count(n: Node, tokens: Tensor, length: int, gram: Array, skips: int) -> Tensor:
    """`[N, 1]`: how often the n-gram occurs, its tokens up to `skips` others apart."""
    size, total = len(gram), scalar(0, DType.F32)
    for step in range(1, skips + 2 if size > 1 else 2):
        windows = length - (size - 1) * step
        if windows <= 0:
            break
        places = np.add.outer(np.arange(windows), np.arange(size) * step).astype(np.int64)
        same = n.b.equal(n.b.gather(tokens, data(places), axis=1), data(gram))
        whole = n.b.reduce_min(same, axes=(2,), keepdims=False)
        found = n.b.cast(whole, dtype=DType.F32)
        total = n.b.add(total, n.b.reduce_sum(found, axes=(1,), keepdims=True))
    if total.rank == 0:
        total = n.b.expand(total, shape=(tokens.shape[0], 1))
    return total


def _arranged(
    n: Node, counts: list[Tensor], columns: Sequence[int], weights: Sequence[float], mode: str
) -> Tensor:
    """The counts in the columns that the model gives them, as `mode` wants them."""
    width = max(columns, default=-1) + 1
    if not counts or width > 1 << 20:
        raise BiremeError("BM1006", f"{len(counts)} n-grams in {width} columns")
    joined = n.b.concat(*counts, axis=1) if len(counts) > 1 else counts[0]
    if mode in ("IDF", "TFIDF"):
        if mode == "IDF":
            joined = n.b.minimum(joined, 1.0)
        joined = n.b.mul(joined, data(np.array(weights, np.float32)))
    chosen = np.zeros((len(counts), width), np.float32)
    chosen[np.arange(len(counts)), list(columns)] = 1
    return n.b.matmul(joined, data(chosen))


TABLE: Table = {"TfIdfVectorizer": _tf_idf}
