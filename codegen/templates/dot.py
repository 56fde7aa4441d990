"""What one step of a contraction multiplies: single elements, or pairs of bfloat16.

A *pair* is two neighbours along the sum in 32 bits, the first in the low half. Where a level has
`dot_bf16`, one instruction multiplies a pair of the left operand with the pairs of 16 columns;
elsewhere pairs are taken apart by shifts, and two float32 multiply-adds do the same. Sums are
float32 in both; they differ in the order of rounding, and the instruction takes numbers below the
normal ones for zero.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from bireme.codegen.tir import Buffer, Expr, const, index, match, reinterpret
from bireme.ir import DType
from bireme.targets.description import InstructionSet

# The instructions that templates know, by their names in `InstructionSet.instructions`.
DOT_BF16 = "dot_bf16"


@dataclass(frozen=True)
class Products:
    """How elements are held in scratch memory, and multiplied.

    `split` prepares an element or a vector of them, once for all products that it takes part in.
    `broadcasts` says that multiplying needs no instruction to load the left element.
    """

    dtype: DType = DType.F32
    broadcasts: bool = True

    @property
    def zero(self) -> Expr:
        return const(0.0, "float32")

    def split(self, element: Expr) -> tuple[Expr, ...]:
        return (element,)

    def add(self, total: Expr, left: tuple[Expr, ...], right: tuple[Expr, ...]) -> Expr:
        """The sums `total` plus products of one left element with a vector of right ones."""
        for a, b in zip(left, right, strict=True):
            scalar, column = match(a, b)
            total = total + scalar * column
        return total


SINGLE = Products()
# Elements of 16 bits that are converted when they are loaded.
_CONVERTED = Products(broadcasts=False)


def single_products(dtype: DType) -> Products:
    """Products of single elements of a type."""
    return SINGLE if dtype.bits > 16 else _CONVERTED


@dataclass(frozen=True)
class _Emulated(Products):
    """Pairs as two single elements."""

    @property
    def zero(self) -> Expr:
        return const(0, "uint32")

    def split(self, element: Expr) -> tuple[Expr, ...]:
        bits, shift, mask = match(element, const(16, "uint32"), const(0xFFFF0000, "uint32"))
        return reinterpret(bits << shift, "float32"), reinterpret(bits & mask, "float32")


@dataclass(frozen=True)
class _Instruction(Products):
    """Pairs multiplied by `dot_bf16`."""

    @property
    def zero(self) -> Expr:
        return const(0, "uint32")

    def add(self, total: Expr, left: tuple[Expr, ...], right: tuple[Expr, ...]) -> Expr:
        (pair,), (pairs,) = left, right
        pair, pairs = match(pair, pairs)
        return tirx.call_pure_extern("float32x16", f"bireme_{DOT_BF16}", total, pair, pairs)


def pair_products(level: InstructionSet) -> Products:
    """Products of pairs on a level."""
    return (_Instruction if DOT_BF16 in level.instructions else _Emulated)(DType.U32, False)


def pair(first: Expr, second: Expr) -> Expr:
    """The pair of two elements of bfloat16, given in their compute type."""
    shift, mask = const(16, "uint32"), const(0xFFFF0000, "uint32")
    low, high, shift, mask = match(
        reinterpret(first, "uint32"), reinterpret(second, "uint32"), shift, mask
    )
    return (low >> shift) | (high & mask)


def packed_pairs(buffer: Buffer, at: list[Expr], lanes: int) -> Expr:
    """The pairs of `lanes` columns that stand together in `[..., lanes, 2]`."""
    ramp = tirx.Ramp(buffer.offset([*at, index(0), index(0)]), index(1), 2 * lanes)
    halves = tirx.BufferLoad(buffer.tir, [ramp])
    return tirx.reinterpret(f"uint32x{lanes}", halves)
