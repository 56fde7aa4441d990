"""What an op or a kernel costs: operations, and an estimate of its time."""

from __future__ import annotations

from bireme.ir import Dim, Op, product

CONTRACTIONS = frozenset({"matmul", "conv", "conv_transpose"})
RECURRENT = frozenset({"lstm", "gru", "rnn"})

# Rough speed of one core, to tell launches that are worth waking a thread for from those that are
# not.
_FLOPS_PER_NS = 40
_BYTES_PER_NS = 8


def nanoseconds(kernel: Op) -> Dim:
    """Estimated nanoseconds of a kernel on one core."""
    tensors = [v.type for v in (*kernel.operands, *kernel.results)]
    moved: Dim = 0
    for tensor in tensors:
        moved = moved + tensor.bytes
    work: Dim = 0
    (block,) = kernel.blocks
    for op in block.ops:
        if op.name in CONTRACTIONS:
            work = work + multiply_adds(op) * 2
        elif op.name in RECURRENT:
            x, w, r = (v.type for v in op.operands[:3])
            work = work + product(x.shape[:2]) * (w.elements + r.elements) * 2
        elif op.results:
            work = work + op.results[0].type.elements
    return work // _FLOPS_PER_NS + moved // _BYTES_PER_NS


def multiply_adds(op: Op) -> Dim:
    """Multiply-adds of a contraction, counted as direct convolution."""
    x, w = (v.type for v in op.operands[:2])
    if op.name == "matmul":
        return op.result.type.elements * x.shape[-1]
    if op.name == "conv_transpose":
        return x.elements * product(w.shape[1:])
    block: int = op.attrs["out_block"]
    filters = op.result.type.shape[1] * block
    return op.result.type.elements * (w.elements // filters)
