"""Control flow: If and Scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import GraphProto

from bireme.frontend.onnx.emit import Emitter, Tensor, scalar, sizes
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.shape import (
    axis_first,
    cut,
    pad,
    prefix_along,
    reshape,
    transpose,
)
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, Block, Dim, DType, TensorType, maximum
from bireme.ir.capacity import Capacity


def _arguments(block: Block) -> list[Tensor]:
    return [Tensor(v.type, v) for v in block.arguments]


def _if(n: Node) -> list[Tensor]:
    condition = reshape(n.b, n[0], ())
    branches = (n.graph("then_branch"), n.graph("else_branch"))
    if condition.array is not None:
        chosen = branches[0] if bool(condition.array) else branches[1]
        return n.scope.run(chosen, [], n.b, n.name)
    arms = []
    before = len(n.scope.importer.reports)
    for branch in branches:
        block = n.b.block()
        inner = n.b.inner(block, n.name)
        arms.append(_Arm(block, inner, n.scope.run(branch, [], inner, n.name)))
    n.b.at(n.name)
    ranks = [[t.rank for t in arm.results] for arm in arms]
    if ranks[0] == ranks[1]:
        return _joined(n, condition, arms)
    if [node.op_type for node in branches[0].node if node.op_type != "Constant"] != ["Squeeze"]:
        raise BiremeError(
            "BM1007",
            "which branch is taken is not known, and their results differ in rank",
            hint="give the sizes that decide it with --dim NAME=SIZE",
        )
    # How exporters write a squeeze of an axis whose size they do not know. Squeezing is checked
    # when the model runs: an axis that is not 1 is then an error.
    del n.scope.importer.reports[before:]
    return n.scope.run(branches[0], [], n.b, n.name)


@dataclass
class _Arm:
    """A branch of an If, imported but not ended."""

    block: Block
    inner: Emitter
    results: list[Tensor]


def _joined(n: Node, condition: Tensor, arms: Sequence[_Arm]) -> list[Tensor]:
    """An If whose branches give tensors of one rank. Where their sizes differ, both fill part of
    what holds either, and say how much.
    """
    b = n.b
    hidden = set[str]().union(*(arm.inner.known_sizes for arm in arms)) - b.known_sizes
    capacity = Capacity({name: b.bounds.data_sizes[name] for name in hidden}, b.bounds.equalities)
    cuts: list[tuple[int, int]] = []  # (result, axis)
    counts: list[list[Tensor]] = [[] for _ in arms]
    for number, pair in enumerate(zip(*(arm.results for arm in arms), strict=True)):
        for axis, ends in enumerate(zip(*(t.shape for t in pair), strict=True)):
            if not _differ(n, *ends) and not any(capacity.depends(d) for d in ends):
                continue
            most = maximum(*map(capacity.most, ends))
            cuts.append((number, axis))
            for arm, count, size in zip(arms, counts, ends, strict=True):
                count.append(reshape(arm.inner, sizes([size]), ()))
                x = arm.results[number]
                after = [most - size if i == axis else 0 for i in range(x.rank)]
                arm.results[number] = pad(arm.inner, x, [0] * x.rank, after)
    for arm, count in zip(arms, counts, strict=True):
        arm.inner.end([*arm.results, *count])
    made = b.region("if", [condition], [arm.block for arm in arms])
    results = made[: len(made) - len(cuts)]
    for (number, axis), taken in zip(cuts, made[len(results) :], strict=True):
        results[number] = prefix_along(b, results[number], axis, taken)
    return results


def _differ(n: Node, a: Dim, b: Dim) -> bool:
    """Whether sizes are meant to differ; others are equal or checked to be when the model runs."""
    plain = isinstance(a, int) or isinstance(b, int)
    return a != b and (plain or n.b.bounds.equal(a, b) is False)


def _scan(n: Node) -> list[Tensor]:
    body: GraphProto = n.graph("body")
    count = n.integer("num_scan_inputs")
    carries = len(n.inputs) - count
    rows = len(body.output) - carries
    if not 0 < count <= len(n.inputs) or rows < 0:
        raise BiremeError("BM1006", f"num_scan_inputs is {count} with {len(n.inputs)} inputs")
    axes = n.integers("scan_input_axes", [0] * count)
    backward = n.integers("scan_input_directions", [0] * count)
    row_axes = n.integers("scan_output_axes", [0] * rows)
    row_backward = n.integers("scan_output_directions", [0] * rows)
    sequences = []
    for i in range(count):
        x = n[carries + i]
        axis = n.axis(axes[i], x.rank)
        x = transpose(n.b, x, axis_first(x, axis))
        sequences.append(_flipped(n.b, x, 0) if backward[i] else x)
    carried = [n[i] for i in range(carries)]
    slices = [x.type.with_shape(x.shape[1:]) for x in sequences]
    block = n.b.block([*(t.type for t in carried), *slices])
    inner = n.b.inner(block, n.name)
    inner.end(n.scope.run(body, _arguments(block), inner, n.name))
    made = n.b.at(n.name).region("scan", [*carried, *sequences], [block], carries=carries)
    results = made[:carries]
    for i, x in enumerate(made[carries:]):
        x = _flipped(n.b, x, 0) if row_backward[i] else x
        axis = n.axis(row_axes[i], x.rank)
        order = list(range(1, x.rank))
        order.insert(axis, 0)
        results.append(transpose(n.b, x, order))
    return results


def _batched_scan(n: Node) -> list[Tensor]:
    """Scan-8: a scan over each element of a batch, written as a scan over the batch."""
    body: GraphProto = n.graph("body")
    count = n.integer("num_scan_inputs")
    backward = n.integers("directions", [0] * count)
    lengths, operands = n.get(0), [n[i] for i in range(1, len(n.inputs))]
    carries = len(operands) - count
    if not 0 < count <= len(operands) or any(x.rank < 2 for x in operands[carries:]):
        raise BiremeError("BM1006", f"num_scan_inputs is {count} with {len(operands)} inputs")
    if lengths is not None and any(backward):
        raise BiremeError("BM1003", "sequences of their own lengths that are read backwards")
    for i in range(count):
        if backward[i]:
            operands[carries + i] = _flipped(n.b, operands[carries + i], 1)
    if lengths is not None:
        operands.append(n.b.cast(lengths, dtype=DType.I64))
    outer = n.b.block([TensorType(DType.I64, ())])
    one = n.b.inner(outer, n.name)
    (number,) = _arguments(outer)
    # Gathered, not sliced by the outer scan: a scan cannot step through a slice of another one.
    given = [one.gather(x, number, axis=0) for x in operands]
    length = given.pop() if lengths is not None else None
    one.end(_scan_of_one(n, one, body, given, carries, length))
    batch = n.b.at(n.name).iota(shape=operands[0].shape[:1], axis=0, dtype=DType.I64)
    return n.b.region("scan", [batch], [outer], carries=0)


def _scan_of_one(
    n: Node, b: Emitter, body: GraphProto, given: list[Tensor], carries: int, length: Tensor | None
) -> list[Tensor]:
    """States and rows of the scan over one sequence, of which `length` steps count."""
    steps = given[carries].shape[0]
    sequences = [*given[carries:], b.iota(shape=(steps,), axis=0, dtype=DType.I64)]
    slices = [x.type.with_shape(x.shape[1:]) for x in sequences]
    block = b.block([*(t.type for t in given[:carries]), *slices])
    inner = b.inner(block, n.name)
    *arguments, step = _arguments(block)
    results = n.scope.run(body, arguments, inner, n.name)
    if length is not None:
        going = inner.at(n.name).less(step, length)
        for i in range(carries):
            results[i] = inner.where(going, results[i], arguments[i])
    inner.end(results)
    return b.at(n.name).region("scan", [*given[:carries], *sequences], [block], carries=carries)


def _flipped(b: Emitter, x: Tensor, axis: int) -> Tensor:
    return cut(b, x, axis, x.shape[axis] - 1, x.shape[axis], -1)


def _has_element(n: Node) -> Tensor:
    """Of a tensor, which is all that an input can be here: whether it is there at all."""
    return scalar(n.get(0) is not None, DType.BOOL)


TABLE: Table = {
    "OptionalGetElement": lambda n: n[0],
    "OptionalHasElement": _has_element,
    "If": _if,
    "Scan": ((8, _batched_scan), (9, _scan)),
}
