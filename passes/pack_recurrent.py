"""Packs the weights of recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bireme.ir import Builder, Dim, DType, Graph, Op, Value, ceildiv
from bireme.passes.manager import Outcome, Pass, count
from bireme.passes.rewrite import Rule, apply
from bireme.targets.description import Description

GATES = {"lstm": 4, "gru": 3, "rnn": 1}


@dataclass(frozen=True)
class PackRecurrent(Pass):
    """Lays the weights of lstm, gru and rnn out in blocks of hidden units, as the kernels read
    them.

    Before::

        %0, %1 = gru(%x, %w, %r, %b, %h)                // %r [2, 768, 256]

    After, with blocks of 16::

        %0, %1 = gru(%x, %w, %r, %b, %h) {block = 16}   // %r [2, 16, 256, 3, 16]

    The gates of a block of units stand together, and for each of them the weights of one input
    after the other, so that a step reads its weights front to back. Biases that are always added
    up become one. Packing is ordinary ops, which fold when the weights are constants.
    """

    name: ClassVar[str] = "pack-recurrent"

    def run(self, graph: Graph, description: Description, /) -> Outcome:
        block = description.channel_block

        def pack(op: Op, b: Builder) -> Sequence[Value] | None:
            if op.attrs["block"] > 1:
                return None
            x, w, r, bias, *rest = op.operands
            gates, hidden = GATES[op.name], r.type.shape[2]
            linear = bool(op.attrs.get("linear_before_reset"))
            packed = (
                _blocks(w, gates, hidden, block, (0, 2, 1, 4, 3), b),
                _blocks(r, gates, hidden, block, (0, 2, 4, 1, 3), b),
                _biases(bias, gates, hidden, block, linear, b),
            )
            made = b.op(op.name, [x, *packed, *rest], **{**op.attrs, "block": block})
            return list(made.results)

        used = apply(graph, [Rule(tuple(GATES), pack)])
        if not used:
            return Outcome(False)
        return Outcome(True, f"packed {count(sum(used.values()), 'recurrent layer')}")


def _blocks(
    matrix: Value, gates: int, hidden: Dim, block: int, perm: tuple[int, ...], b: Builder
) -> Value:
    """`[D, gates * hidden, K]` as `[D, gates, blocks, block, K]`, in another order of axes; units
    that do not exist are 0.
    """
    directions, _, depth = matrix.type.shape
    blocks = ceildiv(hidden, block)
    value: Value = b.reshape(matrix, shape=(directions, gates, hidden, depth))
    missing = blocks * block - hidden
    if missing != 0:
        value = b.pad(value, before=(0, 0, 0, 0), after=(0, 0, missing, 0))
    value = b.reshape(value, shape=(directions, gates, blocks, block, depth))
    result: Value = b.transpose(value, perm=perm)
    return result


def _biases(bias: Value, gates: int, hidden: Dim, block: int, linear: bool, b: Builder) -> Value:
    """`[D, 2 * gates * hidden]` as `[D, blocks, gates, block]`, both biases of a gate added up; the
    recurrent bias of the last gate apart when `linear`. Of 16-bit floats the sums are float32.
    """
    directions = bias.type.shape[0]
    if bias.type.dtype.bits == 16:
        bias = b.cast(bias, dtype=DType.F32)
    half = gates * hidden

    def part(start: Dim, size: Dim) -> Value:
        result: Value = b.slice(bias, starts=(0, start), sizes=(directions, size), steps=(1, 1))
        return result

    added = gates - linear
    total: Value = b.add(part(0, added * hidden), part(half, added * hidden))
    if linear:
        total = b.concat(
            total, part(added * hidden, hidden), part(half + added * hidden, hidden), axis=1
        )
    rows = gates + linear
    flat: Value = b.reshape(total, shape=(directions, rows * hidden, 1))
    packed = _blocks(flat, rows, hidden, block, (0, 2, 1, 3, 4), b)
    result: Value = b.reshape(packed, shape=packed.type.shape[:-1])
    return result
