"""Einsum as transposes, sums and batched matrix products, two operands at a time."""

from __future__ import annotations

import string
from collections.abc import Sequence

from bireme.frontend.onnx.emit import Tensor
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.shape import reshape, transpose
from bireme.ir import BiremeError, Dim, DType, product

# An operand with one label for each axis.
Labelled = tuple[Tensor, str]


def einsum(n: Node, equation: str) -> Tensor:
    """The product that the equation describes. Raises BM1006 for a malformed one."""
    tensors = [n[i] for i in range(len(n.inputs))]
    terms, result = _parsed(equation, [t.rank for t in tensors])
    operands = [_diagonal(n, t, term) for t, term in zip(tensors, terms, strict=True)]
    current = operands[0]
    for index, operand in enumerate(operands[1:], 1):
        later = set(result).union(*(labels for _, labels in operands[index + 1 :]))
        current = _product(n, current, operand, later)
    current = _summed(n, current, set(result))
    tensor, labels = current
    return transpose(n.b, tensor, [labels.index(c) for c in result])


def _parsed(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Labels of each operand and of the result, with `...` spelled out in spare letters."""
    text = "".join(equation.split())
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise BiremeError("BM1006", f"equation {equation!r} for {len(ranks)} operands")
    spare = [c for c in string.ascii_letters if c not in text]
    lengths = [
        r - len(t.replace("...", "")) for t, r in zip(terms, ranks, strict=True) if "..." in t
    ]
    if any(count < 0 for count in lengths) or max(lengths, default=0) > len(spare):
        raise BiremeError("BM1006", f"equation {equation!r} does not fit ranks {list(ranks)}")
    batch = spare[: max(lengths, default=0)]
    full = []
    for term, rank in zip(terms, ranks, strict=True):
        count = rank - len(term.replace("...", ""))
        term = term.replace("...", "".join(batch[len(batch) - count :]) if count else "")
        if len(term) != rank or not all(c in string.ascii_letters for c in term):
            raise BiremeError("BM1006", f"equation {equation!r} does not fit ranks {list(ranks)}")
        full.append(term)
    everything = "".join(full)
    if arrow:
        result = right.replace("...", "".join(batch))
    else:
        once = sorted(c for c in set(everything) - set(batch) if everything.count(c) == 1)
        result = "".join(batch) + "".join(once)
    if len(set(result)) != len(result) or not set(result) <= set(everything):
        raise BiremeError("BM1006", f"equation {equation!r} has a wrong result")
    return full, result


def _diagonal(n: Node, x: Tensor, labels: str) -> Labelled:
    """Takes the diagonal of axes that have one label."""
    for label in labels:
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            rows = [1] * x.rank
            places = []
            for axis in (first, second):
                shape: list[Dim] = list(rows)
                shape[axis] = x.shape[axis]
                line = n.b.iota(shape=(x.shape[axis],), axis=0, dtype=DType.I64)
                places.append(n.b.reshape(line, shape=tuple(shape)))
            kept = n.b.where(n.b.equal(*places), x, 0)
            x = n.b.reduce_sum(kept, axes=(second,), keepdims=False)
            labels = labels[:second] + labels[second + 1 :]
    return x, labels


def _summed(n: Node, operand: Labelled, kept: set[str]) -> Labelled:
    """Sums over the labels that nothing else needs."""
    tensor, labels = operand
    axes = tuple(i for i, c in enumerate(labels) if c not in kept)
    if not axes:
        return operand
    total = n.b.reduce_sum(tensor, axes=axes, keepdims=False)
    return total, "".join(c for c in labels if c in kept)


def _product(n: Node, a: Labelled, b: Labelled, later: set[str]) -> Labelled:
    """The product of two operands, summed over what neither the result nor a later operand has."""
    a = _summed(n, a, later | set(b[1]))
    b = _summed(n, b, later | set(a[1]))
    (x, left), (y, right) = a, b
    both = [c for c in left if c in right]
    batch = [c for c in both if c in later]
    inner = [c for c in both if c not in later]
    rows = [c for c in left if c not in both]
    columns = [c for c in right if c not in both]
    size = dict(zip(right + left, y.shape + x.shape, strict=True))
    for c, d in zip(right, y.shape, strict=True):  # a size of 1 broadcasts
        size[c] = d if size[c] == 1 else size[c]
    if any(x.shape[left.index(c)] == 1 != y.shape[right.index(c)] for c in inner) or any(
        y.shape[right.index(c)] == 1 != x.shape[left.index(c)] for c in inner
    ):
        raise BiremeError("BM1006", "a summed axis is broadcast")
    x = transpose(n.b, x, [left.index(c) for c in batch + rows + inner])
    y = transpose(n.b, y, [right.index(c) for c in batch + inner + columns])
    few = len(batch)
    x = reshape(n.b, x, (*x.shape[:few], _sizes(rows, size), _sizes(inner, size)))
    y = reshape(n.b, y, (*y.shape[:few], _sizes(inner, size), _sizes(columns, size)))
    result = n.b.matmul(x, y)
    labels = "".join(batch + rows + columns)
    return reshape(n.b, result, [size[c] for c in labels]), labels


def _sizes(labels: Sequence[str], size: dict[str, Dim]) -> Dim:
    return product([size[c] for c in labels])
