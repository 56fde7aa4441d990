"""Packs the constant right operand of matrix products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bireme.ir import Builder, DType, Graph, Op, Value
from bireme.ir.opdef import Array
from bireme.passes.manager import Outcome, Pass, count
from bireme.passes.rewrite import Rule, apply
from bireme.passes.values import weight_name
from bireme.targets.description import Description

_DTYPES = (DType.F32, DType.F16, DType.BF16)


@dataclass(frozen=True)
class PackMatmul(Pass):
    """Lays the columns of a constant right operand out in blocks, as the kernels read them.

    Before::

        %0 = matmul(%x, %w)                                   // %w [768, 1000], a constant

    After, with blocks of 16::

        %0 = matmul(%x, %w) {block = 16, columns = 1000}      // %w [63, 768, 16]

    The last block is filled up with zeros. Of bfloat16, two rows stand together, [63, 384, 16, 2],
    as instructions for it multiply them. Operands with batch axes, or of types that have no
    packed kernel, stay as they are.
    """

    name: ClassVar[str] = "pack-matmul"

    def run(self, graph: Graph, description: Description, /) -> Outcome:
        block = description.channel_block

        def pack_right_operand(op: Op, b: Builder) -> Value | None:
            right = op.operands[1]
            data = right.constant
            packable = data is not None and data.ndim == 2 and right.type.dtype in _DTYPES
            if op.attrs["block"] > 1 or not packable or data is None:
                return None
            columns, pair = data.shape[1], 2 if right.type.dtype is DType.BF16 else 1
            blocks = pack_columns(data, block)
            name = f"{weight_name(right)}.packed"
            packed = b.constant(pack_pairs(blocks) if pair == 2 else blocks, name)
            result: Value = b.matmul(
                op.operands[0], packed, block=block, columns=columns, pair=pair
            )
            return result

        used = apply(graph, [Rule(("matmul",), pack_right_operand)])
        if not used:
            return Outcome(False)
        return Outcome(True, f"packed {count(sum(used.values()), 'right operand')}")


def pack_columns(matrix: Array, block: int) -> Array:
    """`[K, N]` → `[ceil(N / block), K, block]`, zeros in the columns that do not exist."""
    rows, columns = matrix.shape
    blocks = -(-columns // block)
    padded = np.zeros((rows, blocks * block), matrix.dtype)
    padded[:, :columns] = matrix
    return np.ascontiguousarray(padded.reshape(rows, blocks, block).transpose(1, 0, 2))


def pack_pairs(weights: Array) -> Array:
    """`[..., inner, block]` as `[..., ceil(inner / 2), block, 2]`, a zero behind an odd end."""
    *outer, inner, block = weights.shape
    if inner % 2:
        weights = np.concatenate([weights, np.zeros((*outer, 1, block), weights.dtype)], axis=-2)
    return np.moveaxis(weights.reshape(*outer, -1, 2, block), -2, -1)
