"""What ops and kernels cost: arithmetic operations, bytes moved, and an estimate of the time.

All are expressions of the model's symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from bireme.ir import Dim, Fusion, Op, Value, product
from bireme.ir.winograd import TAPS

CONTRACTIONS = frozenset({"matmul", "conv", "conv_transpose"})
RECURRENT = frozenset({"lstm", "gru", "rnn"})

# Rough speed of one core of a server with its data in cache, to tell launches that are worth waking
# a thread for from those that are not.
_FLOPS_PER_NS = 100
_BYTES_PER_NS = 50

# These read only as much of their first operand as they write.
_SELECTING = frozenset({"slice", "gather", "gather_elements", "gather_nd"})


def nanoseconds(kernel: Op) -> Dim:
    """Estimated nanoseconds of a kernel on one core."""
    return operations(kernel) // _FLOPS_PER_NS + bytes_moved(kernel) // _BYTES_PER_NS


def operations(op: Op) -> Dim:
    """Arithmetic operations of an op or a kernel; a multiply-add is two, moving data is none.

    Of a function such as `exp` an element is one operation. Ops in the regions of control flow are
    not part of it.
    """
    if op.name == "kernel":
        return _sum(operations(inner) for inner in op.blocks[0].ops)
    if op.name in _OPERATIONS:
        return _OPERATIONS[op.name](op)
    return _BY_FUSION.get(op.definition.fusion, _none)(op)


def bytes_moved(op: Op) -> Dim:
    """Bytes that an op or a kernel reads and writes, each tensor once.

    What lies between the ops of a kernel stays in registers.
    """
    if op.definition.fusion in (Fusion.VIEW, Fusion.CONSTANT):
        return 0
    written = _sum(v.type.bytes for v in op.results)
    if op.name == "kernel":
        (block,) = op.blocks
        return written + _sum(_bytes_read(v) for v in block.arguments)
    operands = op.operands
    if op.name in _SELECTING:
        return written * 2 + _sum(v.type.bytes for v in operands[1:])
    return written + _sum(v.type.bytes for v in operands)


def multiply_adds(op: Op) -> Dim:
    """Multiply-adds of a contraction, counted as direct convolution."""
    x, w = (v.type for v in op.operands[:2])
    if op.name == "matmul":
        return op.result.type.elements * x.shape[-1]
    if op.name == "conv_transpose":
        return x.elements * product(w.shape[1:])
    block: int = op.attrs["out_block"]
    filters = op.result.type.shape[1] * block
    taps, tile = w.elements // filters, op.attrs["winograd"]
    if tile:
        taps = taps // (tile + TAPS - 1) ** 2 * TAPS**2
    return op.result.type.elements * taps


def _sum(terms: Iterable[Dim]) -> Dim:
    total: Dim = 0
    for term in terms:
        total = total + term
    return total


def _bytes_read(argument: Value) -> Dim:
    """Bytes of a kernel's argument that its ops read."""
    uses = argument.uses
    if uses and all(user.name in _SELECTING and number == 0 for user, number in uses):
        return _sum(user.result.type.bytes for user, _ in uses)
    return argument.type.bytes


def _contraction(op: Op) -> Dim:
    return multiply_adds(op) * 2


def _recurrence(op: Op) -> Dim:
    """Two products a step, with the weights of the input and of the state."""
    x, w, r = (v.type for v in op.operands[:3])
    return product(x.shape[:2]) * (w.elements + r.elements) * 2


def _pooling(op: Op) -> Dim:
    window: Dim = product(op.attrs["kernel"])
    return op.results[0].type.elements * window


def _result(op: Op) -> Dim:
    return op.results[0].type.elements


def _operand(op: Op) -> Dim:
    return op.operands[0].type.elements


def _none(_: Op) -> Dim:
    return 0


_OPERATIONS: Mapping[str, Callable[[Op], Dim]] = {
    **dict.fromkeys(CONTRACTIONS, _contraction),
    **dict.fromkeys(RECURRENT, _recurrence),
    **dict.fromkeys(("max_pool", "avg_pool", "lp_pool"), _pooling),
    **dict.fromkeys(("resize", "grid_sample", "roi_align"), _result),
}
_BY_FUSION: Mapping[Fusion, Callable[[Op], Dim]] = {
    Fusion.POINTWISE: _result,
    Fusion.REDUCTION: _operand,
}
